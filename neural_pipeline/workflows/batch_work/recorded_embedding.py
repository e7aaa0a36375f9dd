"""Embedding by a provider's model: calls keep to the day's budget and are recorded, like those of language models."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.language import ModelFailed, Trouble, Usage
from neural_pipeline.store import model_calls
from neural_pipeline.store.model_calls import BudgetExhausted, NewCall
from neural_pipeline.workflows.batch_work.call_records import patiently
from neural_pipeline.workflows.batch_work.questions import UNPAID, without_keys

STEP = "embed"
TEXTS_PER_CALL = 96
_SENT_BYTES = 8_000
"""What a provider is sent of a text at most."""

_BYTES_PER_TOKEN = 2
"""Hashes and other scripts take a token for two or three bytes; vectors have no answer whose reserve covers that."""


class Embedded(Protocol):
    """Unit vectors, shape (n, dimension), and the tokens that they took."""

    @property
    def vectors(self) -> NDArray[np.float32]: ...  # noqa: D102 - the class docstring says it

    @property
    def usage(self) -> Usage: ...  # noqa: D102


@runtime_checkable
class Metered(Embedder, Protocol):
    """An embedder whose calls cost tokens."""

    def embed_with_usage(self, texts: Sequence[str]) -> Embedded:
        """Embed texts and tell the tokens; raises ModelFailed."""
        ...


@dataclass(slots=True, eq=False)
class RecordedEmbedder:
    """Embeds for one workspace, call by call; `budget` is in tokens per day (UTC), None without a limit.

    `calls` and `tokens` count what this object has asked; `unrecorded` are calls whose end the database did not take.
    """

    inner: Metered
    engine: Engine
    workspace_id: str
    function_id: str
    budget: int | None
    calls: int = 0
    tokens: int = 0
    unrecorded: int = 0

    @property
    def name(self) -> str:
        """Name the model and everything that changes its vectors."""
        return self.inner.name

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""
        return self.inner.dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, shape (n, dimension); raises ModelFailed.

        Raises what the database says when a call cannot be reserved; vectors in hand are never lost over it.
        """
        parts = [np.empty((0, self.dimension), np.float32)]
        parts += [self._call(texts[start : start + TEXTS_PER_CALL]) for start in range(0, len(texts), TEXTS_PER_CALL)]
        return np.concatenate(parts)

    def _call(self, texts: Sequence[str]) -> NDArray[np.float32]:
        call_id = self._reserve(texts)
        self.calls += 1
        began = perf_counter()
        try:
            embedded = self.inner.embed_with_usage(texts)
        except ModelFailed as failed:
            known = failed.usage if failed.trouble in UNPAID or failed.usage != Usage() else None
            self._finish(call_id, known, began, outcome=failed.trouble, reason=without_keys(str(failed)))
            raise
        self._finish(call_id, embedded.usage, began, outcome="answered")
        return embedded.vectors

    def _reserve(self, texts: Sequence[str]) -> int:
        sent = sum(min(len(text.encode(errors="replace")), _SENT_BYTES) for text in texts)
        call = NewCall(
            workspace_id=self.workspace_id,
            event_id=None,
            function_id=self.function_id,
            step=STEP,
            model=self.name,
            reserved_tokens=sent // _BYTES_PER_TOKEN + len(texts),
        )

        def write() -> int:
            with self.engine.begin() as connection:
                return model_calls.reserve(connection, call, budget=self.budget)

        try:
            return patiently(write)
        except BudgetExhausted as exhausted:
            raise ModelFailed(Trouble.BUDGET_EXHAUSTED, str(exhausted)) from None

    def _finish(
        self, call_id: int, usage: Usage | None, began: float, *, outcome: str, reason: str | None = None
    ) -> None:
        milliseconds = round((perf_counter() - began) * 1000)
        self.tokens += usage.input_tokens + usage.output_tokens if usage else 0

        def write() -> None:
            with self.engine.begin() as connection:
                model_calls.finish(
                    connection,
                    call_id,
                    input_tokens=usage and usage.input_tokens,
                    output_tokens=usage and usage.output_tokens,
                    duration_ms=milliseconds,
                    outcome=outcome,
                    reason=reason,
                )

        try:
            patiently(write)
        except SQLAlchemyError:
            self.unrecorded += 1


def tally_of(embedders: Iterable[Embedder]) -> dict[str, int]:
    """Return the calls and tokens of all that cost anything; nothing where nothing does."""
    metered = [embedder for embedder in embedders if isinstance(embedder, RecordedEmbedder)]
    if not metered:
        return {}
    return {
        "model_calls": sum(embedder.calls for embedder in metered),
        "input_tokens": sum(embedder.tokens for embedder in metered),
        "unrecorded_calls": sum(embedder.unrecorded for embedder in metered),
    }


def recorded(
    embedder: Embedder, engine: Engine, *, workspace_id: str, function_id: str, budget: int | None
) -> Embedder:
    """Return an embedder whose calls are recorded if they cost anything, else the embedder as it is."""
    if not isinstance(embedder, Metered):
        return embedder
    return RecordedEmbedder(embedder, engine, workspace_id, function_id, budget)
