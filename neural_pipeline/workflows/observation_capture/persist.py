"""Committing decisions chunk by chunk, behind the fence; a refused chunk is halved down to the guilty event.

What is written stands in `store`; what is decided stands in `verdicts`.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.contracts.memory import NewObservation
from neural_pipeline.contracts.retries import RetryPolicy
from neural_pipeline.store import batches, inbox, outcomes, settlement
from neural_pipeline.store.batches import BatchLost, Token
from neural_pipeline.store.observations import keep_observations
from neural_pipeline.store.refusals import is_fault_of_data
from neural_pipeline.workflows.observation_capture.outcomes import cause_of, children_of, metrics_of, output_of
from neural_pipeline.workflows.observation_capture.verdicts import Decided, Examined
from neural_pipeline.workflows.observation_capture.work import Failure, Filtered, failure_of

STEP = "store"
_PATIENCE = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds waited before a chunk is repeated that a lost connection, a deadlock or a conflict threw back."""

_OBSERVATION_KEYS = ("obs_source_id_idx", "obs_external_id_idx")
"""The external id is derived from the source id: whichever index Postgres looks at first."""

Decide = Callable[[Sequence[Examined], set[tuple[str, str]]], list[Decided]]
"""Judges events in order, given the (workspace id, source id) that this batch has captured already."""


class CancelledMeanwhile(Exception):
    """Events of a chunk were cancelled while the run worked on them: what was decided after them holds no more."""


@dataclass(slots=True)
class Report:
    """What a run did: events by outcome, the failures, how often a chunk was repeated, and what it left to another."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    failures: list[tuple[int, Failure]] = field(default_factory=list[tuple[int, Failure]])
    repeats: int = 0
    released: int = 0


@dataclass(slots=True)
class Persistence:
    """The store step of one batch: `decide` judges the events that are left anew whenever one of them falls out."""

    engine: Engine
    token: Token
    decide: Decide
    chunk: int
    seconds: dict[int, float]
    deadline: float
    retries: RetryPolicy
    draw: Callable[[], float]
    report: Report = field(default_factory=Report)
    captured: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def keep(self, examined: Sequence[Examined], decided: Sequence[Decided]) -> Report:
        """Commit everything, in order; raises BatchLost if the batch was given to another run meanwhile."""
        left = list(decided)
        results = {one.event.id: one for one in examined}
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
                left = self._without_cancelled(left, results)
            elif len(chunk) > 1:
                size = len(chunk) // 2
            elif isinstance(chunk[0].verdict, Failure):
                raise error
            else:
                results[chunk[0].event.id] = Examined(chunk[0].event, _verdict_on(error))
                left = self.decide([results[one.event.id] for one in left], set(self.captured))
        self._release([one.event.id for one in left])
        return self.report

    def _without_cancelled(self, left: Sequence[Decided], results: dict[int, Examined]) -> list[Decided]:
        with self.engine.begin() as connection:
            gone = outcomes.cancelled(connection, [one.event.id for one in left])
        self.report.outcomes["cancelled"] += len(gone)
        return self.decide([results[one.event.id] for one in left if one.event.id not in gone], set(self.captured))

    def _commit(self, chunk: Sequence[Decided], left: Sequence[Decided]) -> Exception | None:
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
                self._count(chunk)
                return None
        return None

    def _write(self, connection: Connection, chunk: Sequence[Decided], left: Sequence[Decided]) -> None:
        retries = {one.event.id: retry for one in chunk if (retry := self._retry(one))}
        (batches.hold_alone if retries else batches.fence)(connection, self.token)
        seen = outcomes.look_again(connection, [one.event.id for one in chunk], token=self.token)
        if seen.cancelled:
            raise CancelledMeanwhile
        todo = [one for one in chunk if one.event.id in seen.unfinished]
        ending = [one for one in todo if one.event.id not in retries]
        captured = [one.verdict for one in ending if isinstance(one.verdict, NewObservation)]
        clusters = keep_observations(connection, captured)
        outcomes.keep_outcomes(connection, [self._outcome(one, clusters) for one in ending], token=self.token)
        outcomes.postpone(
            connection, [retry for id_, retry in retries.items() if id_ in seen.unfinished], token=self.token
        )
        inbox.append(connection, [child for one in captured for child in _children(one, clusters)])
        later = {one.event.workspace_id for one in left[len(chunk) :]}
        done = {one.event.workspace_id for one in chunk} - later
        if done:
            batches.let_go(connection, self.token, workspaces=sorted(done))

    def _retry(self, decided: Decided) -> outcomes.Retry | None:
        failure = decided.verdict
        if not isinstance(failure, Failure) or failure.rejected:
            return None
        pause = self.retries.pause_after(decided.event.attempt + 1, draw=self.draw())
        return None if pause is None else outcomes.Retry(decided.event.id, _failed_attempt(failure), pause)

    def _outcome(self, decided: Decided, clusters: dict[str, int]) -> outcomes.Outcome:
        verdict = decided.verdict
        cluster_id = clusters[verdict.cluster.external_id] if isinstance(verdict, NewObservation) else None
        work_ms = round(self.seconds.get(decided.event.id, 0.0) * 1000)
        return outcomes.Outcome(
            event_id=decided.event.id,
            workspace_id=decided.event.workspace_id,
            clerk_org_id=decided.event.clerk_org_id,
            repository_id=decided.event.repository_id,
            output=output_of(decided, cluster_id=cluster_id),
            work_ms=work_ms,
            metrics=metrics_of(decided, cluster_id=cluster_id, work_ms=work_ms),
            failure=_failed_attempt(verdict) if isinstance(verdict, Failure) else None,
        )

    def _release(self, event_ids: Sequence[int]) -> None:
        """Leave to a later run what this one has no time for."""
        if event_ids:
            with self.engine.begin() as connection:
                batches.hold_alone(connection, self.token)
                settlement.release(connection, event_ids)
            self.report.released = len(event_ids)

    def _count(self, chunk: Sequence[Decided]) -> None:
        for one in chunk:
            match one.verdict:
                case NewObservation() as observation:
                    self.captured.add((observation.workspace_id, observation.source_event.source_id))
                    self.report.outcomes["captured"] += 1
                case Filtered(reason=reason):
                    self.report.outcomes[reason] += 1
                case Failure() as failure:
                    self.report.outcomes["tried again later" if self._retry(one) else "failed"] += 1
                    self.report.failures.append((one.event.id, failure))


def _verdict_on(error: Exception) -> Filtered | Failure:
    """An observation that exists makes its event a duplicate; anything else that Postgres refuses is a failure."""
    if isinstance(error, IntegrityError) and any(name in str(error.orig) for name in _OBSERVATION_KEYS):
        return Filtered("duplicate")
    orig = error.orig if isinstance(error, DBAPIError) else None
    refused = orig if isinstance(orig, Exception) else error
    return failure_of(refused, step=STEP, rejected=isinstance(error, DataError))


def _failed_attempt(failure: Failure) -> outcomes.FailedAttempt:
    return outcomes.FailedAttempt(failure.step, failure.message, failure.error_class, failure.stack, cause_of(failure))


def _children(one: NewObservation, clusters: dict[str, int]) -> list[inbox.NewEvent]:
    return [
        inbox.NewEvent(
            workspace_id=one.workspace_id,
            source="neural",
            delivery_id=str(one.event_id),
            payload=payload,
            trigger=Trigger.AUTOMATIC,
            repository_id=one.repository_id,
            parent_event_id=one.event_id,
        )
        for payload in children_of(one, cluster_id=clusters[one.cluster.external_id])
    ]
