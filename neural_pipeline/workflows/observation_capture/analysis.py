"""Joining what the steps found out about the events that passed the gate. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from neural_pipeline.contracts.memory import Entity
from neural_pipeline.models.language import Trouble
from neural_pipeline.workflows.batch_work.steps import Failure, Step, each
from neural_pipeline.workflows.observation_capture.classifying import Classifications
from neural_pipeline.workflows.observation_capture.embedding import Embeddings
from neural_pipeline.workflows.observation_capture.gate import Gated
from neural_pipeline.workflows.observation_capture.logic import (
    extract_entities,
)
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Findings
from neural_pipeline.workflows.observation_capture.work import CaptureEvent


class Extractions(Step[tuple[Entity, ...]]):
    """The entities of each event."""


def find_entities(events: Sequence[CaptureEvent]) -> Extractions:
    """Extract the entities of each event."""
    result = Extractions.empty()
    each("extract_entities", events, lambda event: extract_entities(event.source_event), into=result)
    return result


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the parallel steps found."""

    classified: Classifications
    embedded: Embeddings
    entities: Extractions

    def waiting(self) -> dict[int, Trouble | None]:
        """Return the events that there was no time for, or no answer: the trouble, None for the time."""
        return {**dict.fromkeys(self.classified.unasked), **self.embedded.waiting}

    def seconds(self, gated: Gated) -> dict[int, float]:
        """Return the seconds of work on each event so far."""
        parts = (gated.seconds, *(step.clock.seconds for step in (self.classified, self.embedded, self.entities)))
        return {event.id: sum(part.get(event.id, 0.0) for part in parts) for event in gated.events}


def examine(gated: Gated, analysis: Analysis) -> list[Examined]:
    """Join, for every event of the batch in order, what was found out about it, or why nothing was.

    Events that wait for a later run are left out.
    """
    waiting = analysis.waiting()
    return [
        Examined(event, gated.stopped.get(event.id) or _joined(event.id, gated, analysis))
        for event in gated.events
        if event.id not in waiting
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
