"""The embed step: each workspace's events by the embedder that its settings choose (D-73), as far as there is time.

What may be the fault of one text is narrowed down to it; where the provider is at fault the rest waits.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sqlalchemy.exc import DBAPIError

from neural_pipeline.contracts.integrations import EmbeddingSettings, parse_workspace_settings
from neural_pipeline.contracts.memory import Vector
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.language import ModelFailed, Trouble
from neural_pipeline.workflows.batch_work.questions import failure_of_model
from neural_pipeline.workflows.batch_work.recorded_embedding import TEXTS_PER_CALL, RecordedEmbedder
from neural_pipeline.workflows.batch_work.steps import Step, failure_of
from neural_pipeline.workflows.observation_capture.logic import views_of
from neural_pipeline.workflows.observation_capture.work import CaptureEvent

STEP = "embed"
VIEWS_PER_EVENT = 3
_SLICE = 500
"""Events embedded at once where nothing is waited for."""

_OF_THE_PROVIDER = {Trouble.RATE_LIMITED, Trouble.TIMED_OUT, Trouble.UNAUTHORIZED, Trouble.BUDGET_EXHAUSTED}
"""Troubles that no text is to blame for; any other may be the doing of one."""

_FUTILE = 3
"""Single events in a row without a success, after which the provider is to blame and not the texts."""


@dataclass(frozen=True, slots=True)
class Embeddings(Step[Vector]):
    """Three unit vectors of each event, shape (3, dimension), and the embedder they are of, by event id.

    `waiting` are events that were not embedded for want of time, or of an answer: the trouble, None for the time.
    """

    embedded_by: dict[int, str] = field(default_factory=dict[int, str])
    waiting: dict[int, Trouble | None] = field(default_factory=dict[int, Trouble | None])


def embed_by_workspace(
    events: Sequence[CaptureEvent],
    settings: Mapping[str, object],
    embedder_of: Callable[[str, EmbeddingSettings], Embedder],
    *,
    deadline: float,
) -> Embeddings:
    """Embed the views of each event; `settings` are those of the workspaces by id, as stored.

    Where a workspace's embedder cannot be had, its events fail, to be tried again. No call but the
    first is begun after the deadline (monotonic). Raises what the database says when calls cannot be recorded.
    """
    result = Embeddings.empty()
    for workspace_id, group in groupby(sorted(events, key=_workspace), _workspace):
        part = list(group)
        try:
            chosen = embedder_of(workspace_id, parse_workspace_settings(settings.get(workspace_id)).embedding)
        except Exception as error:
            failure = failure_of(error, step=STEP)
            result.failures.update({event.id: failure for event in part})
        else:
            _Work(chosen, result, deadline).embed_all(part)
    return result


def _workspace(event: CaptureEvent) -> str:
    return event.workspace_id


@dataclass(slots=True)
class _Work:
    """Embedding the events of one workspace."""

    embedder: Embedder
    into: Embeddings
    deadline: float
    futile: int = 0

    def embed_all(self, events: Sequence[CaptureEvent]) -> None:
        """Embed slice by slice, until it is done, the time is over, or the provider gives nothing."""
        size = TEXTS_PER_CALL // VIEWS_PER_EVENT if isinstance(self.embedder, RecordedEmbedder) else _SLICE
        for start in range(0, len(events), size):
            if time.monotonic() > self.deadline and (self.into.found or self.into.failures):
                self._wait(events[start:], None)
                return
            trouble = self._embed(events[start : start + size])
            if trouble is not None:
                self._wait(events[start + size :], trouble)
                return

    def _embed(self, events: Sequence[CaptureEvent]) -> Trouble | None:
        """Embed a slice; return the trouble if the provider is to blame. Then what is left of the slice has failed."""
        began = time.perf_counter()
        try:
            vectors = self.embedder.embed([text for event in events for text in views_of(event.source_event)])
        except DBAPIError:
            raise
        except Exception as error:
            return self._failed(events, error)
        finally:
            self.into.clock.share([event.id for event in events], time.perf_counter() - began)
        self.futile = 0
        for place, event in enumerate(events):
            self.into.found[event.id] = vectors[place * VIEWS_PER_EVENT : (place + 1) * VIEWS_PER_EVENT]
            self.into.embedded_by[event.id] = self.embedder.name
        return None

    def _failed(self, events: Sequence[CaptureEvent], error: Exception) -> Trouble | None:
        trouble = error.trouble if isinstance(error, ModelFailed) else None
        if trouble is Trouble.BUDGET_EXHAUSTED:
            self._wait(events, trouble)
            return trouble
        self.futile += len(events) == 1
        if len(events) == 1 or trouble in _OF_THE_PROVIDER:
            told = failure_of_model(error, step=STEP) if isinstance(error, ModelFailed) else None
            failure = told or failure_of(error, step=STEP)
            self.into.failures.update({event.id: failure for event in events})
            return trouble if trouble in _OF_THE_PROVIDER or self.futile >= _FUTILE else None
        return self._halve(events)

    def _halve(self, events: Sequence[CaptureEvent]) -> Trouble | None:
        half = len(events) // 2
        trouble = self._embed(events[:half])
        if trouble is None:
            return self._embed(events[half:])
        self._wait(events[half:], trouble)
        return trouble

    def _wait(self, events: Sequence[CaptureEvent], trouble: Trouble | None) -> None:
        self.into.waiting.update({event.id: trouble for event in events})
