"""Committing events whose effects do not depend on one another: what fell out changes nothing for the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from neural_pipeline.contracts.workflows import WorkflowOutput
from neural_pipeline.workflows.batch_work.committing import Committing, Decided, Report, Written, refusal_of
from neural_pipeline.workflows.batch_work.events import BatchEvent, Deferred
from neural_pipeline.workflows.batch_work.steps import Failure

Payload = TypeVar("Payload")
Effect = TypeVar("Effect")


@dataclass(kw_only=True)
class IndependentEvents(Committing[BatchEvent[Payload], Effect]):
    """The store step of a room.

    `keep` writes effects, set-wise, and returns output and metrics of each event by id; it is called again with fewer
    events where Postgres refuses some. `failed` gives the output of an event that has failed for good.
    """

    keep: Callable[[Connection, Sequence[tuple[BatchEvent[Payload], Effect]]], Mapping[int, Written]]
    failed: Callable[[BatchEvent[Payload], Failure], WorkflowOutput]
    decided: dict[int, Decided[BatchEvent[Payload], Effect]] = field(
        default_factory=dict[int, Decided[BatchEvent[Payload], Effect]]
    )

    def conclude(
        self, events: Sequence[BatchEvent[Payload]], conclusions: Mapping[int, Effect | Failure | Deferred]
    ) -> Report:
        """Commit what was concluded about each event, by id; raises BatchLost."""
        deferred = [event.id for event in events if isinstance(conclusions[event.id], Deferred)]
        for event in events:
            conclusion = conclusions[event.id]
            if not isinstance(conclusion, Deferred):
                self.decided[event.id] = Decided(event, conclusion)
        # Before the rest: a worker that dies over that must not have the others wait for its lease.
        self.release(deferred)
        return self.commit_all(self.decided.values())

    def write(
        self, connection: Connection, ending: Sequence[Decided[BatchEvent[Payload], Effect]]
    ) -> Mapping[int, Written]:
        """Write the effects; a failure has none but its output."""
        effects = [(one.event, one.verdict) for one in ending if not isinstance(one.verdict, Failure)]
        failures = {
            one.event.id: Written(self.failed(one.event, one.verdict))
            for one in ending
            if isinstance(one.verdict, Failure)
        }
        return {**(self.keep(connection, effects) if effects else {}), **failures}

    def refuse(self, refused: Decided[BatchEvent[Payload], Effect], error: Exception) -> None:
        """Let the event fail."""
        self.decided[refused.event.id] = Decided(refused.event, refusal_of(error))

    def again(self, event_ids: Sequence[int]) -> list[Decided[BatchEvent[Payload], Effect]]:
        """Return what was decided."""
        return [self.decided[event_id] for event_id in event_ids]

    def name_of(self, verdict: Effect) -> str:
        """Return the name of the effect's class, or the reason it gives."""
        return str(getattr(verdict, "reason", None) or type(verdict).__name__.lower())
