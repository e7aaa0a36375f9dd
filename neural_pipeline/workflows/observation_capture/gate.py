"""The gate: which events become observations. Duplicate, subscription, significance. Pure. Spec, 3.2 to 3.5."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neural_pipeline.contracts.events import Source, SourceEvent
from neural_pipeline.workflows.batch_work.steps import Failure, Step, each
from neural_pipeline.workflows.observation_capture.logic import (
    Significance,
    Subscription,
    is_event_allowed,
    resource_id,
    score_significance,
)
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Filtered

STEP = "gate"
UNREADABLE = "unreadable"
"""The provider of an integration whose configuration cannot be read: it covers its resource and admits nothing."""


@dataclass(frozen=True, slots=True)
class GateKnowledge:
    """What the gate must know: ids of duplicates, subscriptions per (workspace, resource), unusable workspaces."""

    duplicates: frozenset[int]
    subscriptions: Mapping[tuple[str, str], tuple[Subscription, ...]]
    unusable: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The score from which an event is significant; git history has one of its own."""

    significance: int = 40
    git_significance: int = 30

    def of(self, event: SourceEvent) -> int:
        """Return the threshold of an event's source."""
        return self.git_significance if event.source is Source.GIT else self.significance


@dataclass(frozen=True, slots=True)
class Gated:
    """The events of a batch in order; those that passed have a significance, the others a verdict."""

    events: Sequence[CaptureEvent]
    passed: Mapping[int, Significance]
    stopped: Mapping[int, Filtered | Failure]
    seconds: Mapping[int, float]

    def open_events(self) -> list[CaptureEvent]:
        """Return the events that passed."""
        return [event for event in self.events if event.id in self.passed]


def gate(
    events: Sequence[CaptureEvent],
    knowledge: GateKnowledge,
    thresholds: Thresholds,
    *,
    unreadable: Mapping[int, Failure],
) -> Gated:
    """Judge every event as if it stood alone; that an earlier event of the batch is the same is decided later."""
    readable = [event for event in events if event.id not in unreadable]
    scored = Step[Significance].empty()
    each(STEP, readable, lambda event: score_significance(event.source_event), into=scored)
    stopped: dict[int, Filtered | Failure] = {**unreadable, **scored.failures}
    for event in events:
        if event.id not in stopped and (verdict := _verdict(event, scored.found[event.id], knowledge, thresholds)):
            stopped[event.id] = verdict
    passed = {id_: score for id_, score in scored.found.items() if id_ not in stopped}
    return Gated(events, passed, stopped, scored.clock.seconds)


def _verdict(
    event: CaptureEvent, significance: Significance, knowledge: GateKnowledge, thresholds: Thresholds
) -> Filtered | Failure | None:
    if event.id in knowledge.duplicates:
        return Filtered("duplicate")
    resource = resource_id(event.source_event)
    found = knowledge.subscriptions.get((event.workspace_id, resource), ()) if resource else ()
    covering = [one for one in found if one.provider in {event.source_event.source, UNREADABLE}]
    if not is_event_allowed(event.source_event, covering):
        return Filtered("event_not_allowed")
    if significance.score < thresholds.of(event.source_event):
        return Filtered("below_threshold", significance.score)
    if problem := knowledge.unusable.get(event.workspace_id):
        return Failure(step=STEP, message=problem, error_class="InvalidWorkspaceSettings", rejected=True)
    return None
