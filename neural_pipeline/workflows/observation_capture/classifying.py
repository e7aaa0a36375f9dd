"""The classify step: by rules, or by a language model with the rules behind it. Spec, 3.6; D-30, D-31, D-80."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from neural_pipeline.contracts.answers import ClassifyAnswer
from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.models.language import Answer, ModelFailed
from neural_pipeline.workflows.batch_work.asking import Asked, Asker, ask_all
from neural_pipeline.workflows.batch_work.steps import Clock, Failure, Step, each
from neural_pipeline.workflows.observation_capture.logic import Classification, classify_by_rules, topics_of
from neural_pipeline.workflows.observation_capture.prompt import RULES, classification_of, classification_question
from neural_pipeline.workflows.observation_capture.work import CaptureEvent

STEP = "classify"
BY_RULES = f"offline:{RULES}"


@dataclass(frozen=True, slots=True)
class Classified:
    """The categories of an event, the topics that follow, who classified it, and what the model or its failure said."""

    classification: Classification
    topics: tuple[str, ...]
    classified_by: str = BY_RULES
    note: str | None = None
    is_fallback: bool = False


@dataclass(frozen=True, slots=True)
class Classifications(Step[Classified]):
    """The categories and topics of each event; `unasked` are events that there was no time to ask a model about."""

    unasked: frozenset[int] = frozenset()


def classify(events: Sequence[CaptureEvent], *, instead: str | None = None) -> Classifications:
    """Classify each event by rules; `instead` of a model, if it says why that cannot be asked."""
    result = Classifications.empty()
    work = partial(_by_rules, note=instead, is_fallback=instead is not None)
    each(STEP, events, lambda event: work(event.source_event), into=result)
    return result


def classify_by_model(events: Sequence[CaptureEvent], asker: Asker) -> tuple[Classifications, dict[str, int]]:
    """Have a model classify the events, and the rules those that it gives no answer for; return the numbers too."""
    asked = [Asked(event.id, event.workspace_id, classification_question(event.source_event)) for event in events]
    answers = ask_all(asker, asked)
    result = Classifications({}, {}, Clock(dict(answers.clock.seconds)), frozenset(answers.unasked))
    for event in events:
        if event.id in answers.unasked:
            continue
        outcome = answers.found.get(event.id) or answers.failures[event.id]
        result.found[event.id] = _classified(event.source_event, outcome)
    fallbacks = sum(found.is_fallback for found in result.found.values())
    return result, {**answers.metadata(), "fallbacks": fallbacks}


def _classified(event: SourceEvent, outcome: Answer[ClassifyAnswer] | ModelFailed | Failure) -> Classified:
    if isinstance(outcome, Answer):
        classification = classification_of(outcome.value)
        topics = topics_of(event, classification)
        return Classified(classification, topics, outcome.answered_by, outcome.value.reasoning)
    reason = outcome.message if isinstance(outcome, Failure) else f"{outcome.trouble}: {outcome}"
    return _by_rules(event, note=reason, is_fallback=True)


def _by_rules(event: SourceEvent, *, note: str | None = None, is_fallback: bool = False) -> Classified:
    classification = classify_by_rules(event)
    return Classified(classification, topics_of(event, classification), BY_RULES, note=note, is_fallback=is_fallback)
