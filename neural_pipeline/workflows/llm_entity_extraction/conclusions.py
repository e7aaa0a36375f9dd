"""From answers to what becomes of each request, and from that to the rows, the output and the metrics of its run."""

from collections.abc import Mapping, Sequence
from typing import assert_never

from sqlalchemy import Connection

from neural_pipeline.contracts.answers import ExtractionAnswer
from neural_pipeline.contracts.incoming import ExtractionPayload
from neural_pipeline.contracts.memory import ObservedText
from neural_pipeline.contracts.metrics import EntitiesExtracted, EntitiesExtractedTags
from neural_pipeline.contracts.workflows import ExtractionSkipped, ExtractionSuccess, error_text
from neural_pipeline.models.language import ModelFailed, Trouble
from neural_pipeline.store.extracted_entities import Finding, keep_extracted
from neural_pipeline.workflows.batch_work.committing import Written
from neural_pipeline.workflows.batch_work.events import BatchEvent, Deferred
from neural_pipeline.workflows.batch_work.questions import Answers, failure_of_model
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.llm_entity_extraction.logic import (
    Effect,
    Extracted,
    ExtractionRules,
    Skip,
    entities_of,
)

STEP = "extract"

Event = BatchEvent[ExtractionPayload]
Conclusion = Effect | Failure | Deferred


def conclude(
    texts: Mapping[int, ObservedText], answers: Answers[ExtractionAnswer], rules: ExtractionRules
) -> dict[int, Conclusion]:
    """Return what becomes of the events whose texts are read, by event id."""
    return {event_id: _conclusion(event_id, text, answers, rules) for event_id, text in texts.items()}


def _conclusion(
    event_id: int, text: ObservedText, answers: Answers[ExtractionAnswer], rules: ExtractionRules
) -> Conclusion:
    if event_id in answers.failures:
        return _failure(answers.failures[event_id])
    if event_id not in answers.found:
        return Deferred()
    answer = answers.found[event_id]
    return Extracted(text.id, entities_of(answer.value, rules), answer.answered_by)


def _failure(failed: ModelFailed | Failure) -> Skip | Failure:
    if isinstance(failed, Failure):
        return failed
    if failed.trouble is Trouble.BUDGET_EXHAUSTED:
        return Skip("budget_exhausted", error_text(str(failed)))
    return failure_of_model(failed, step=STEP)


def keep(connection: Connection, decided: Sequence[tuple[Event, Effect]]) -> dict[int, Written]:
    """Store the entities and their links; return output and metrics of each event by its id."""
    findings = [
        Finding(event.id, event.workspace_id, effect.observation_id, effect.entities, effect.answered_by)
        for event, effect in decided
        if isinstance(effect, Extracted)
    ]
    stored = keep_extracted(connection, findings) if findings else {}
    return {event.id: _written(event, effect, stored.get(event.id)) for event, effect in decided}


def _written(event: Event, effect: Effect, stored: int | None) -> Written:
    observation_id = event.payload.observation_id
    match effect:
        case Skip(reason="observation_not_found"):
            return Written(ExtractionSkipped(reason="observation_not_found"))
        case Skip(reason=reason, detail=detail):
            return Written(ExtractionSkipped(observation_id=observation_id, reason=reason, detail=detail))
        case Extracted():
            return _read(observation_id, effect, stored)
        case _:
            assert_never(effect)


def _read(observation_id: str, one: Extracted, stored: int | None) -> Written:
    if stored is None:  # replaced since it was read: the new observation has a request of its own
        return Written(ExtractionSkipped(reason="observation_not_found"))
    found = len(one.entities)
    tags = EntitiesExtractedTags(observation_id=observation_id, entity_count=found, source=one.answered_by)
    output = ExtractionSuccess(observation_id=observation_id, entities_extracted=found, entities_stored=stored)
    return Written(output, (EntitiesExtracted(value=found, tags=tags),))
