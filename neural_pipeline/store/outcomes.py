"""Writing what became of events, set-wise: facts, the errors of failed attempts, what is tried again, and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.contracts.metrics import Metric
from neural_pipeline.contracts.workflows import MAX_ERROR, WorkflowOutput
from neural_pipeline.store import debounce, lifecycle
from neural_pipeline.store.batches import Token
from neural_pipeline.store.sql import record_set, rows, run, storable

MAX_STACK = 10_000
"""Characters kept of a stack."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """What is kept of an attempt that failed."""

    step: str
    message: str
    error_class: str
    stack: str | None
    cause: Cause


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one execution: its output, the milliseconds of work on it, and the metrics that come with it."""

    event_id: int
    workspace_id: str
    clerk_org_id: str
    repository_id: str | None
    output: WorkflowOutput
    work_ms: int
    metrics: tuple[Metric, ...] = ()
    failure: FailedAttempt | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """An execution whose attempt failed and that is tried again after so many seconds."""

    event_id: int
    failure: FailedAttempt
    pause: float


_FACTS = """
update incoming_events e
set outcome = f.outcome, outcome_at = clock_timestamp(), output = f.output, error_message = f.error_message,
  cause = f.cause, work_ms = f.work_ms, attempt = e.attempt + 1
from jsonb_to_recordset(cast(:facts as jsonb)) as f(event_id bigint, outcome text, output jsonb, error_message text,
  cause text, work_ms integer)
where e.id = f.event_id and e.outcome is null
"""


def keep_outcomes(connection: Connection, outcomes: Sequence[Outcome], *, token: Token) -> None:
    """Write the facts of events whose work is done; a fact is written once.

    The caller holds the fence, so the events cannot have gone to another batch: the key alone finds them.
    """
    failures = {outcome.event_id: outcome.failure for outcome in outcomes if outcome.failure}
    keep_attempts(connection, failures, batch_id=token.batch_id, run_id=token.run_id)
    facts = record_set(map(_fact, outcomes))
    run(connection, _FACTS, facts=facts)
    _keep_metrics(connection, outcomes)


_POSTPONE = """
update incoming_events e
set attempt = e.attempt + 1, batch_id = null, begun_at = null,
  due_at = greatest(e.due_at, clock_timestamp() + make_interval(secs => f.pause))
from jsonb_to_recordset(cast(:retries as jsonb)) as f(event_id bigint, pause double precision)
where e.id = f.event_id and e.outcome is null
"""


def postpone(connection: Connection, retries: Sequence[Retry], *, token: Token) -> None:
    """Count a failed attempt of each event and let it wait for the next one, its row queued again.

    One that a newer event of its key stands for ends instead, its attempt counted; the newer one waits as long.
    The caller holds the batch alone: a recorder beside this would bring the rows of waiting events to running.
    """
    if not retries:
        return
    failures = {retry.event_id: retry.failure for retry in retries}
    keep_attempts(connection, failures, batch_id=token.batch_id, run_id=token.run_id)
    debounce.give_way(connection, {retry.event_id: retry.pause for retry in retries}, attempts=1)
    pauses = record_set({"event_id": retry.event_id, "pause": retry.pause} for retry in retries)
    run(connection, _POSTPONE, retries=pauses)
    lifecycle.return_to_queue(connection, list(failures))


@dataclass(frozen=True, slots=True)
class Open:
    """Which of some events have no outcome yet, and which were cancelled."""

    unfinished: set[int]
    cancelled: set[int]


def look_again(connection: Connection, event_ids: Sequence[int], *, token: Token) -> Open:
    """Hold those of the events that are still the batch's to finish.

    After a commit went unanswered, only the facts know; and an event may have been cancelled meanwhile.
    """
    sql = """
    select id, batch_id, outcome from incoming_events where id = any(:ids) order by id for no key update
    """
    found = rows(connection, sql, ids=list(event_ids))
    unfinished = {row["id"] for row in found if row["outcome"] is None and row["batch_id"] == token.batch_id}
    return Open(unfinished, {row["id"] for row in found if row["outcome"] == "cancelled"})


def cancelled(connection: Connection, event_ids: Sequence[int]) -> set[int]:
    """Return which of the events were cancelled."""
    sql = "select id from incoming_events where id = any(:ids) and outcome = 'cancelled'"
    return {row["id"] for row in rows(connection, sql, ids=list(event_ids))}


def _fact(outcome: Outcome) -> dict[str, Any]:
    failure = outcome.failure
    return {
        "event_id": outcome.event_id,
        "outcome": "failed" if failure else "completed",
        "output": outcome.output.to_json(),
        "error_message": failure and failure.message,
        "cause": failure and failure.cause,
        "work_ms": outcome.work_ms,
    }


_ATTEMPTS = """
insert into workflow_run_attempts
  (event_id, attempt, batch_id, dagster_run_id, step, cause, error_class, message, stack, began_at)
select e.id, e.attempt + 1, :batch_id, :run_id, f.step, f.cause, f.error_class, f.message, f.stack, e.begun_at
from jsonb_to_recordset(cast(:failures as jsonb)) as f(event_id bigint, step text, cause text, error_class text,
  message text, stack text)
join incoming_events e on e.id = f.event_id and e.outcome is null
"""


def keep_attempts(connection: Connection, failures: Mapping[int, FailedAttempt], *, batch_id: int, run_id: str) -> None:
    """Keep the error of the attempt that each event, by its id, is making; before the attempt is counted."""
    records = record_set(
        {
            "event_id": event_id,
            "step": failure.step,
            "cause": failure.cause,
            "error_class": failure.error_class[:255],
            "message": storable(failure.message, limit=MAX_ERROR),
            "stack": failure.stack and storable(failure.stack, limit=MAX_STACK),
        }
        for event_id, failure in failures.items()
    )
    if failures:
        run(connection, _ATTEMPTS, failures=records, batch_id=batch_id, run_id=run_id)


_METRICS = """
insert into lightfast_workspace_operations_metrics
  (clerk_org_id, workspace_id, repository_id, type, value, unit, tags, timestamp, event_id)
select m.clerk_org_id, m.workspace_id, m.repository_id, m.type, m.value, m.unit, m.tags, e.outcome_at, m.event_id
from jsonb_to_recordset(cast(:metrics as jsonb)) as m(clerk_org_id text, workspace_id text, repository_id text,
  type text, value integer, unit text, tags jsonb, event_id bigint)
join incoming_events e on e.id = m.event_id
"""


def _keep_metrics(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    metrics = [
        metric.to_json()
        | {
            "clerk_org_id": outcome.clerk_org_id,
            "workspace_id": outcome.workspace_id,
            "repository_id": outcome.repository_id,
            "event_id": outcome.event_id,
        }
        for outcome in outcomes
        for metric in outcome.metrics
    ]
    if metrics:
        run(connection, _METRICS, metrics=record_set(metrics))
