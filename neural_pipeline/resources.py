"""The database and the embedder as ops and sensors see them. Thin: what they do stands in `store` and `models`."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property, lru_cache

import dagster as dg
from pydantic import PrivateAttr
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.contracts.retries import RetryPolicy
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store import settlement
from neural_pipeline.store.batches import Token
from neural_pipeline.store.database import engine_for, wait_briefly
from neural_pipeline.store.lease_keeper import LeaseKeeper
from neural_pipeline.store.settlement import RunEnd


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
        """The bounds of batches."""
        settings = self.settings
        return Limits(
            settings.capture_max_batch,
            settings.capture_max_batch_bytes,
            settings.max_open_batches,
            settings.isolating_losses,
        )

    @property
    def retries(self) -> RetryPolicy:
        """How often, and after which pauses, a failed capture is tried again."""
        settings = self.settings
        return RetryPolicy(settings.capture_retries, settings.retry_base_seconds, settings.retry_max_seconds)

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

    def embedder(self) -> Embedder:
        """Return the embedder of observations: offline, without a model."""
        return HashingEmbedder(self.settings.embedding_dimension)
