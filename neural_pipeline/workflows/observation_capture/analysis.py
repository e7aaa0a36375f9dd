"""The parallel steps over the events that passed the gate, and joining what they found. Pure, but for the embedder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from neural_pipeline.contracts.memory import Entity, Vector
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.language import ModelFailed
from neural_pipeline.workflows.batch_work.questions import failure_of_model
from neural_pipeline.workflows.batch_work.steps import Failure, Step, each
from neural_pipeline.workflows.observation_capture.classifying import Classifications
from neural_pipeline.workflows.observation_capture.gate import Gated
from neural_pipeline.workflows.observation_capture.logic import (
    extract_entities,
    views_of,
)
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Findings
from neural_pipeline.workflows.observation_capture.work import CaptureEvent

EMBED = "embed"
VIEWS_PER_EVENT = 3
_SLICE = 500


@dataclass(frozen=True, slots=True)
class Embeddings(Step[Vector]):
    """Three unit vectors of each event, shape (3, dimension), and the embedder they are of, by event id."""

    embedded_by: dict[int, str] = field(default_factory=dict[int, str])


class Extractions(Step[tuple[Entity, ...]]):
    """The entities of each event."""


def find_entities(events: Sequence[CaptureEvent]) -> Extractions:
    """Extract the entities of each event."""
    result = Extractions.empty()
    each("extract_entities", events, lambda event: extract_entities(event.source_event), into=result)
    return result


def embed(events: Sequence[CaptureEvent], embedder: Embedder, *, into: Embeddings) -> None:
    """Embed title, content and summary of each event, many at once.

    Where a slice fails, its events are embedded one by one, so that the guilty one fails alone; but not where it was
    the model that failed: asking it hundreds of times more would not help.
    """
    for start in range(0, len(events), _SLICE):
        part = events[start : start + _SLICE]
        try:
            _embed_together(part, embedder, into=into)
        except ModelFailed as failed:
            into.failures.update({event.id: failure_of_model(failed, step=EMBED) for event in part})
        except Exception:
            each(EMBED, part, lambda event: embedder.embed(views_of(event.source_event)), into=into)
    into.embedded_by.update({event.id: embedder.name for event in events})


def _embed_together(events: Sequence[CaptureEvent], embedder: Embedder, *, into: Embeddings) -> None:
    began = perf_counter()
    vectors = embedder.embed([text for event in events for text in views_of(event.source_event)])
    for place, event in enumerate(events):
        into.found[event.id] = vectors[place * VIEWS_PER_EVENT : (place + 1) * VIEWS_PER_EVENT]
    into.clock.share([event.id for event in events], perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the parallel steps found."""

    classified: Classifications
    embedded: Embeddings
    entities: Extractions

    def seconds(self, gated: Gated) -> dict[int, float]:
        """Return the seconds of work on each event so far."""
        parts = (gated.seconds, *(step.clock.seconds for step in (self.classified, self.embedded, self.entities)))
        return {event.id: sum(part.get(event.id, 0.0) for part in parts) for event in gated.events}


def examine(gated: Gated, analysis: Analysis) -> list[Examined]:
    """Join, for every event of the batch in order, what was found out about it, or why nothing was.

    Events that there was no time for are left out.
    """
    return [
        Examined(event, gated.stopped.get(event.id) or _joined(event.id, gated, analysis))
        for event in gated.events
        if event.id not in analysis.classified.unasked
    ]


def _joined(event_id: int, gated: Gated, analysis: Analysis) -> Findings | Failure:
    for step in (analysis.classified, analysis.embedded, analysis.entities):
        if failure := step.failures.get(event_id):
            return failure
    classified = analysis.classified.found[event_id]
    return Findings(
        significance=gated.passed[event_id],
        classification=classified.classification,
        classified_by=classified.classified_by,
        classification_note=classified.note,
        is_fallback=classified.is_fallback,
        topics=classified.topics,
        entities=analysis.entities.found[event_id],
        vectors=analysis.embedded.found[event_id],
        embedded_by=analysis.embedded.embedded_by[event_id],
    )
