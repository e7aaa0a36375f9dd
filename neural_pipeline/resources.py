"""The database and the embedder as ops and sensors see them. Thin: what they do stands in `store` and `models`."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, lru_cache

import dagster as dg
from pydantic import PrivateAttr
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from neural_pipeline.contracts.batching import Limits, events_within
from neural_pipeline.contracts.debounce import Period
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.integrations import EmbeddingSettings
from neural_pipeline.contracts.retries import RetryPolicy
from neural_pipeline.models.configured import (
    Asking,
    configured_embedder,
    configured_language_model,
    is_embedding_offline,
    is_offline,
)
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.language import LanguageModel
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store import settlement
from neural_pipeline.store.batches import Token
from neural_pipeline.store.database import engine_for, wait_briefly
from neural_pipeline.store.lease_keeper import LeaseKeeper
from neural_pipeline.store.settlement import RunEnd

ASKED_BY: dict[Asking, FunctionId] = {
    "classify": FunctionId.OBSERVATION_CAPTURE,
    "summary": FunctionId.CLUSTER_SUMMARY,
    "extraction": FunctionId.LLM_ENTITY_EXTRACTION,
}
_ASKING: dict[FunctionId, Asking] = {function_id: asking for asking, function_id in ASKED_BY.items()}
_PREFIX = {
    FunctionId.OBSERVATION_CAPTURE: "capture",
    FunctionId.PROFILE_UPDATE: "profile",
    FunctionId.CLUSTER_SUMMARY: "summary",
    FunctionId.LLM_ENTITY_EXTRACTION: "extraction",
}
"""How the settings of a function begin."""

_EVENTS_PER_CALL = 32
"""Events that one call of an embedding model takes: three texts each."""

_SPARE_SECONDS = 15.0
"""What a run needs after its last answer to store it."""


@lru_cache(maxsize=8)
def _url_of(settings: Settings) -> URL:
    """Return the database of the settings, looked for once: as root that starts a process, and sensors tick often."""
    return resolve_database(settings).url


class Pipeline(dg.ConfigurableResource["Pipeline"]):
    """The settings of this process and the database they name; connects on first use."""

    _keepers: list[LeaseKeeper] = PrivateAttr(default_factory=list[LeaseKeeper])

    @cached_property
    def settings(self) -> Settings:
        """The settings as the environment has them."""
        return Settings.load()

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        return engine_for(_url_of(self.settings))  # pyright: ignore[reportArgumentType] - frozen models have a hash

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Open a transaction: committed at the end, rolled back on an error."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def brief_transaction(self) -> Generator[Connection]:
        """Open a transaction that waits for no lock longer than ten seconds: one batch must not hold up all others."""
        with self.transaction() as connection:
            wait_briefly(connection)
            yield connection

    @property
    def limits(self) -> Limits:
        """The bounds of batches where no model is asked."""
        settings = self.settings
        return Limits(
            settings.capture_max_batch,
            settings.capture_max_batch_bytes,
            settings.max_open_batches,
            settings.isolating_losses,
        )

    def limits_of(self, function_id: FunctionId) -> Limits:
        """Return the bounds of a function's batches; where a model is asked, no more than a run has time to ask."""
        settings, workflow = self.settings, _ASKING.get(function_id)
        seconds, per_call = self.working_seconds(function_id), settings.model_seconds_per_call
        bounds = [self.limits.max_events]
        if workflow is not None and not is_offline(settings, workflow):
            bounds.append(events_within(seconds, per_call=per_call, concurrency=self.concurrency_of(workflow)))
        if function_id is FunctionId.OBSERVATION_CAPTURE:
            if is_embedding_offline(settings):
                return replace(self.limits, max_events=min(bounds))
            bounds.append(events_within(seconds, per_call=per_call, concurrency=_EVENTS_PER_CALL))
            return replace(self.limits, max_events=min(bounds))
        # dagster.yaml has one run of a child at once: a second batch would wait in its queue, and take no news.
        return replace(self.limits, max_events=min(bounds), max_open=1)

    def working_seconds(self, function_id: FunctionId) -> float:
        """Return the seconds after which a run begins nothing new; a call begun then must end before its time-out."""
        timeout = self.timeout_of(function_id)
        spare = timeout - self.settings.model_timeout_seconds - _SPARE_SECONDS
        return min(self.settings.run_max_seconds, timeout / 2, max(spare, timeout / 10))

    def timeout_of(self, function_id: FunctionId) -> float:
        """Return the seconds that a run of a function may take."""
        return float(getattr(self.settings, f"{_PREFIX[function_id]}_timeout_seconds"))

    def retries_of(self, function_id: FunctionId) -> RetryPolicy:
        """Return how often, and after which pauses, a failed execution of a function is tried again."""
        settings = self.settings
        extra = int(getattr(settings, f"{_PREFIX[function_id]}_retries"))
        return RetryPolicy(extra, settings.retry_base_seconds, settings.retry_max_seconds)

    def debounce_periods(self) -> dict[FunctionId, Period]:
        """Return how long each child waits for news."""
        return {
            function_id: Period(
                getattr(self.settings, f"{prefix}_debounce_seconds"),
                getattr(self.settings, f"{prefix}_max_debounce_seconds"),
            )
            for function_id, prefix in _PREFIX.items()
            if function_id is not FunctionId.OBSERVATION_CAPTURE
        }

    def concurrency_of(self, workflow: Asking) -> int:
        """Return how many calls of a model may be under way at once for one workspace."""
        return int(getattr(self.settings, f"{workflow}_concurrency"))

    def language_model(self, workflow: Asking) -> LanguageModel:
        """Return the model that a workflow asks; raises ModelMisconfigured."""
        return configured_language_model(self.settings, workflow)

    def keep_lease(self, token: Token) -> None:
        """Keep a batch for this run until the run ends or its time is over."""

        def give_up() -> None:
            with self.transaction() as connection:
                settlement.settle(
                    connection,
                    token.batch_id,
                    run_id=token.run_id,
                    end=RunEnd.TIMEOUT,
                    isolating_losses=self.limits.isolating_losses,
                )

        keeper = LeaseKeeper(self.engine, token, seconds=self.settings.lease_seconds, on_overdue=give_up)
        self._keepers.append(keeper)
        keeper.start()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End what the run has started, however the run ended."""
        while self._keepers:
            self._keepers.pop().stop()

    def embedder_of(self, chosen: EmbeddingSettings) -> Embedder:
        """Return the embedder that a workspace has chosen; raises ModelMisconfigured."""
        return configured_embedder(self.settings, chosen)
