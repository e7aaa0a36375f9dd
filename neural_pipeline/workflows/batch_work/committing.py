"""Committing decisions chunk by chunk, behind the fence; a refused chunk is halved down to the guilty event.

What an event's effects are, its room says; facts, attempts, retries and metrics are written here.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError

from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.contracts.metrics import Metric
from neural_pipeline.contracts.retries import RetryPolicy
from neural_pipeline.contracts.workflows import WorkflowOutput
from neural_pipeline.store import batches, outcomes, settlement
from neural_pipeline.store.batches import BatchLost, Token
from neural_pipeline.store.refusals import is_fault_of_data
from neural_pipeline.workflows.batch_work.events import Worked
from neural_pipeline.workflows.batch_work.steps import Failure, failure_of

STEP = "store"
_PATIENCE = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds waited before a chunk is repeated that a lost connection, a deadlock or a conflict threw back."""

Event = TypeVar("Event", bound=Worked)
Verdict = TypeVar("Verdict")


class CancelledMeanwhile(Exception):
    """Events of a chunk were cancelled while the run worked on them: what was decided after them holds no more."""


@dataclass(frozen=True, slots=True)
class Decided(Generic[Event, Verdict]):
    """An event and what is to become of it."""

    event: Event
    verdict: Verdict | Failure


@dataclass(frozen=True, slots=True)
class Written:
    """What an execution ends with, once its effects are written: its output and the metrics that come with it."""

    output: WorkflowOutput
    metrics: tuple[Metric, ...] = ()


@dataclass(slots=True)
class Report:
    """What a run did: events by outcome, the failures, how often a chunk was repeated, and what it left to another."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    failures: list[tuple[int, Failure]] = field(default_factory=list[tuple[int, Failure]])
    repeats: int = 0
    released: int = 0


@dataclass(kw_only=True)
class Committing(ABC, Generic[Event, Verdict]):
    """The store step of one batch.

    `seconds` of work per event so far; no chunk is begun after `deadline` (monotonic); `draw` gives numbers in [0, 1).
    """

    engine: Engine
    token: Token
    chunk: int
    seconds: Mapping[int, float]
    deadline: float
    retries: RetryPolicy
    draw: Callable[[], float]
    report: Report = field(default_factory=Report)

    @abstractmethod
    def write(self, connection: Connection, ending: Sequence[Decided[Event, Verdict]]) -> Mapping[int, Written]:
        """Write the effects of events whose execution ends; return output and metrics by event id."""

    @abstractmethod
    def refuse(self, refused: Decided[Event, Verdict], error: Exception) -> None:
        """Note that an event's effects cannot be written."""

    @abstractmethod
    def again(self, event_ids: Sequence[int]) -> Sequence[Decided[Event, Verdict]]:
        """Decide anew on the events that are left, after one before them fell out or was refused."""

    @abstractmethod
    def name_of(self, verdict: Verdict) -> str:
        """Return what a verdict is counted as."""

    def commit_all(self, decided: Iterable[Decided[Event, Verdict]]) -> Report:
        """Commit everything, in order; raises BatchLost if the batch was given to another run meanwhile."""
        left: Sequence[Decided[Event, Verdict]] = list(decided)
        size = self.chunk
        is_first = True
        # The first chunk is done whatever the clock says: a batch that is handed back whole would come again for ever.
        while left and (is_first or time.monotonic() < self.deadline):
            chunk = left[:size]
            error = self._commit(chunk, left)
            if error is None:
                left, size = left[len(chunk) :], min(self.chunk, size * 2)
                is_first = False
            elif isinstance(error, CancelledMeanwhile):
                left = self._without_cancelled(left)
            elif len(chunk) > 1:
                size = len(chunk) // 2
            elif isinstance(chunk[0].verdict, Failure):
                raise error
            else:
                self.refuse(chunk[0], error)
                left = self.again([one.event.id for one in left])
        self.release([one.event.id for one in left])
        return self.report

    def _without_cancelled(self, left: Sequence[Decided[Event, Verdict]]) -> Sequence[Decided[Event, Verdict]]:
        with self.engine.begin() as connection:
            gone = outcomes.cancelled(connection, [one.event.id for one in left])
        self.report.outcomes["cancelled"] += len(gone)
        return self.again([one.event.id for one in left if one.event.id not in gone])

    def _commit(
        self, chunk: Sequence[Decided[Event, Verdict]], left: Sequence[Decided[Event, Verdict]]
    ) -> Exception | None:
        """Commit a chunk; return the error if its events are at fault, repeat it if the circumstances are."""
        for pause in (*_PATIENCE, None):
            try:
                with self.engine.begin() as connection:
                    self._write(connection, chunk, left)
            except DBAPIError as error:
                if is_fault_of_data(error):
                    return error
                if pause is None or not isinstance(error, OperationalError | InterfaceError):
                    raise
                self.report.repeats += 1
                time.sleep(pause)
            except BatchLost:
                raise
            except Exception as error:  # an event that cannot be written is found like one that Postgres refuses
                return error
            else:
                self.count(chunk)
                return None
        return None

    def _write(
        self,
        connection: Connection,
        chunk: Sequence[Decided[Event, Verdict]],
        left: Sequence[Decided[Event, Verdict]],
    ) -> None:
        retries = {one.event.id: retry for one in chunk if (retry := self._retry(one))}
        (batches.hold_alone if retries else batches.fence)(connection, self.token)
        seen = outcomes.look_again(connection, [one.event.id for one in chunk], token=self.token)
        if seen.cancelled:
            raise CancelledMeanwhile
        todo = [one for one in chunk if one.event.id in seen.unfinished]
        ending = [one for one in todo if one.event.id not in retries]
        written = self.write(connection, ending)
        outcomes.keep_outcomes(connection, [self._outcome(one, written) for one in ending], token=self.token)
        outcomes.postpone(
            connection, [retry for id_, retry in retries.items() if id_ in seen.unfinished], token=self.token
        )
        later = {one.event.workspace_id for one in left[len(chunk) :]}
        done = {one.event.workspace_id for one in chunk} - later
        if done:
            batches.let_go(connection, self.token, workspaces=sorted(done))

    def _retry(self, decided: Decided[Event, Verdict]) -> outcomes.Retry | None:
        failure = decided.verdict
        if not isinstance(failure, Failure) or failure.rejected:
            return None
        pause = self.retries.pause_after(decided.event.attempt + 1, draw=self.draw(), asked=failure.retry_after)
        return None if pause is None else outcomes.Retry(decided.event.id, _failed_attempt(failure), pause)

    def _outcome(self, decided: Decided[Event, Verdict], written: Mapping[int, Written]) -> outcomes.Outcome:
        event, verdict = decided.event, decided.verdict
        return outcomes.Outcome(
            event_id=event.id,
            workspace_id=event.workspace_id,
            clerk_org_id=event.clerk_org_id,
            repository_id=event.repository_id,
            output=written[event.id].output,
            work_ms=self.work_ms(event.id),
            metrics=written[event.id].metrics,
            failure=_failed_attempt(verdict) if isinstance(verdict, Failure) else None,
        )

    def work_ms(self, event_id: int) -> int:
        """Return the milliseconds of work on an event before it was stored."""
        return round(self.seconds.get(event_id, 0.0) * 1000)

    def release(self, event_ids: Sequence[int], *, pause: float = 0.0) -> None:
        """Leave to a later run, in so many seconds at the earliest, what this one has no time for."""
        if event_ids:
            with self.engine.begin() as connection:
                batches.hold_alone(connection, self.token)
                settlement.release(connection, event_ids, pause=pause)
            self.report.released += len(event_ids)

    def count(self, chunk: Sequence[Decided[Event, Verdict]]) -> None:
        """Count the events of a committed chunk by what became of them."""
        for one in chunk:
            if isinstance(one.verdict, Failure):
                self.report.outcomes["tried again later" if self._retry(one) else "failed"] += 1
                self.report.failures.append((one.event.id, one.verdict))
            else:
                self.report.outcomes[self.name_of(one.verdict)] += 1


def refusal_of(error: Exception) -> Failure:
    """Return what is kept of an error that a single event's effects were refused with."""
    orig = error.orig if isinstance(error, DBAPIError) else None
    refused = orig if isinstance(orig, Exception) else error
    return failure_of(refused, step=STEP, rejected=isinstance(error, DataError))


def cause_of(failure: Failure) -> Cause:
    """Tell a refusal, which no retry can heal, from an error of the code."""
    return Cause.REJECTED if failure.rejected else Cause.CODE_ERROR


def _failed_attempt(failure: Failure) -> outcomes.FailedAttempt:
    return outcomes.FailedAttempt(failure.step, failure.message, failure.error_class, failure.stack, cause_of(failure))
