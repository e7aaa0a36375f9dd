"""The store step of a capture: what its effects are, and how the rest is judged anew when an event falls out.

What is written stands in `store`; what is decided stands in `verdicts`; committing is `batch_work.committing`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from neural_pipeline.contracts.debounce import debounce_of
from neural_pipeline.contracts.incoming import IncomingEvent
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.contracts.memory import NewObservation
from neural_pipeline.store import inbox
from neural_pipeline.store.observations import Kept, keep_observations
from neural_pipeline.workflows.batch_work import committing
from neural_pipeline.workflows.batch_work.committing import Committing, Report, Written, refusal_of
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.outcomes import (
    ChildRules,
    children_of,
    metrics_of,
    output_of,
    recount_of,
)
from neural_pipeline.workflows.observation_capture.verdicts import Decided, Decisions, Examined
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Filtered

_OBSERVATION_KEYS = ("obs_source_id_idx", "obs_external_id_idx")
"""The external id is derived from the source id: whichever index Postgres looks at first."""

_Decided = committing.Decided[CaptureEvent, NewObservation | Filtered]
Decide = Callable[[Sequence[Examined], set[tuple[str, str]]], list[Decided]]
"""Judges events in order, given the (workspace id, source id) that this batch has captured already."""


@dataclass(kw_only=True)
class Persistence(Committing[CaptureEvent, NewObservation | Filtered]):
    """The store step of one batch: `decide` judges the events that are left anew whenever one of them falls out."""

    decide: Decide
    children: ChildRules = field(default_factory=ChildRules)
    captured: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    results: dict[int, Examined] = field(default_factory=dict[int, Examined])

    def keep(self, examined: Sequence[Examined], decided: Sequence[Decided]) -> Report:
        """Commit everything, in order; raises BatchLost if the batch was given to another run meanwhile."""
        self.results = {one.event.id: one for one in examined}
        return self.commit_all(decided)

    def keep_all(self, decisions: Decisions) -> Report:
        """Let the deferred events wait again, then commit everything else, in order; raises BatchLost."""
        for pause, group in groupby(sorted(decisions.deferred.items(), key=_pause), _pause):
            self.release([event_id for event_id, _ in group], pause=pause)
        return self.keep(decisions.examined, decisions.decided)

    def refuse(self, refused: _Decided, error: Exception) -> None:
        """Note that an event's observation cannot be stored."""
        self.results[refused.event.id] = Examined(refused.event, _verdict_on(error))

    def again(self, event_ids: Sequence[int]) -> list[Decided]:
        """Judge the events that are left anew: those before them are committed, or will never be."""
        return self.decide([self.results[event_id] for event_id in event_ids], set(self.captured))

    def write(self, connection: Connection, ending: Sequence[_Decided]) -> Mapping[int, Written]:
        """Store observations with all that belongs to them, and append the executions that they ask for."""
        captured = [one.verdict for one in ending if isinstance(one.verdict, NewObservation)]
        kept = keep_observations(connection, captured)
        inbox.append(connection, list(self._children(captured, kept)))
        return {one.event.id: self._written(one, kept.cluster_ids) for one in ending}

    def _written(self, decided: _Decided, clusters: Mapping[str, int]) -> Written:
        verdict = decided.verdict
        cluster_id = clusters[verdict.cluster.external_id] if isinstance(verdict, NewObservation) else None
        metrics = metrics_of(decided, cluster_id=cluster_id, work_ms=self.work_ms(decided.event.id))
        return Written(output_of(decided, cluster_id=cluster_id), metrics)

    def count(self, chunk: Sequence[_Decided]) -> None:
        """Count, and remember what is captured."""
        super().count(chunk)
        observations = (one.verdict for one in chunk if isinstance(one.verdict, NewObservation))
        self.captured.update((one.workspace_id, one.source_event.source_id) for one in observations)

    def name_of(self, verdict: NewObservation | Filtered) -> str:
        """Return `captured`, or why not."""
        return "captured" if isinstance(verdict, NewObservation) else verdict.reason

    def _children(self, captured: Sequence[NewObservation], kept: Kept) -> Iterator[inbox.NewEvent]:
        for one in captured:
            for payload in children_of(one, cluster_id=kept.cluster_ids[one.cluster.external_id], rules=self.children):
                yield self._child(one, payload, delivery_id=str(one.event_id))
        # Last: of two requests for one actor the later one counts, and only these know of what he was merged into.
        by_event = {one.event_id: one for one in captured}
        for handover in kept.handovers:
            delivery_id = f"{handover.event_id}/{handover.observation_id}"
            yield self._child(by_event[handover.event_id], recount_of(handover), delivery_id=delivery_id)

    def _child(self, one: NewObservation, payload: IncomingEvent, *, delivery_id: str) -> inbox.NewEvent:
        return inbox.NewEvent(
            workspace_id=one.workspace_id,
            source="neural",
            delivery_id=delivery_id,
            payload=payload,
            trigger=Trigger.AUTOMATIC,
            repository_id=one.repository_id,
            parent_event_id=one.event_id,
            debounce=debounce_of(payload, self.children.periods),
        )


def _pause(deferred: tuple[int, float]) -> float:
    return deferred[1]


def _verdict_on(error: Exception) -> Filtered | Failure:
    """An observation that exists makes its event a duplicate; anything else that Postgres refuses is a failure."""
    if isinstance(error, IntegrityError) and any(name in str(error.orig) for name in _OBSERVATION_KEYS):
        return Filtered("duplicate")
    return refusal_of(error)
