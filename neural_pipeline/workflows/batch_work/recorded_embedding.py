"""Embedding by a provider's model: calls keep to the day's budget and are recorded, like those of language models."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.language import ModelFailed, Trouble, Usage
from neural_pipeline.store import model_calls
from neural_pipeline.store.model_calls import BudgetExhausted, NewCall
from neural_pipeline.workflows.batch_work.questions import BYTES_PER_TOKEN, UNPAID

STEP = "embed"
_TEXTS_PER_CALL = 96


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


@dataclass(frozen=True, slots=True)
class RecordedEmbedder:
    """Embeds for one workspace, call by call; `budget` is in tokens per day (UTC), None without a limit."""

    inner: Metered
    engine: Engine
    workspace_id: str
    function_id: str
    budget: int | None

    @property
    def name(self) -> str:
        """Name the model and everything that changes its vectors."""
        return self.inner.name

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""
        return self.inner.dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, shape (n, dimension); raises ModelFailed."""
        parts = [np.empty((0, self.dimension), np.float32)]
        parts += [self._call(texts[start : start + _TEXTS_PER_CALL]) for start in range(0, len(texts), _TEXTS_PER_CALL)]
        return np.concatenate(parts)

    def _call(self, texts: Sequence[str]) -> NDArray[np.float32]:
        call_id = self._reserve(texts)
        began = perf_counter()
        try:
            embedded = self.inner.embed_with_usage(texts)
        except ModelFailed as failed:
            known = failed.usage if failed.trouble in UNPAID or failed.usage != Usage() else None
            self._finish(call_id, known, began, outcome=failed.trouble, reason=str(failed))
            raise
        self._finish(call_id, embedded.usage, began, outcome="answered")
        return embedded.vectors

    def _reserve(self, texts: Sequence[str]) -> int:
        call = NewCall(
            workspace_id=self.workspace_id,
            event_id=None,
            function_id=self.function_id,
            step=STEP,
            model=self.name,
            reserved_tokens=sum(len(text.encode(errors="replace")) for text in texts) // BYTES_PER_TOKEN + len(texts),
        )
        try:
            with self.engine.begin() as connection:
                return model_calls.reserve(connection, call, budget=self.budget)
        except BudgetExhausted as exhausted:
            raise ModelFailed(Trouble.BUDGET_EXHAUSTED, str(exhausted)) from None

    def _finish(
        self, call_id: int, usage: Usage | None, began: float, *, outcome: str, reason: str | None = None
    ) -> None:
        with self.engine.begin() as connection:
            model_calls.finish(
                connection,
                call_id,
                input_tokens=usage and usage.input_tokens,
                output_tokens=usage and usage.output_tokens,
                duration_ms=round((perf_counter() - began) * 1000),
                outcome=outcome,
                reason=reason,
            )


def recorded(
    embedder: Embedder, engine: Engine, *, workspace_id: str, function_id: str, budget: int | None
) -> Embedder:
    """Return an embedder whose calls are recorded if they cost anything, else the embedder as it is."""
    if not isinstance(embedder, Metered):
        return embedder
    return RecordedEmbedder(embedder, engine, workspace_id, function_id, budget)
