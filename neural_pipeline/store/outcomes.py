"""Writing what became of events: facts, the error of each failed attempt, and metrics, set-wise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.contracts.metrics import Metric
from neural_pipeline.contracts.workflows import MAX_ERROR, WorkflowOutput
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
    facts = record_set(map(_fact, outcomes))
    run(connection, _FACTS, facts=facts)
    _keep_attempts(connection, outcomes, token=token)
    _keep_metrics(connection, outcomes)


def unfinished(connection: Connection, event_ids: Sequence[int]) -> set[int]:
    """Return which of the events have no outcome yet: after a commit went unanswered, only the facts know."""
    sql = "select id from incoming_events where id = any(:ids) and outcome is null order by id for no key update"
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
select e.id, e.attempt, :batch_id, :run_id, f.step, f.cause, f.error_class, f.message, f.stack, e.begun_at
from jsonb_to_recordset(cast(:failures as jsonb)) as f(event_id bigint, step text, cause text, error_class text,
  message text, stack text)
join incoming_events e on e.id = f.event_id
"""


def _keep_attempts(connection: Connection, outcomes: Sequence[Outcome], *, token: Token) -> None:
    failures = [
        {
            "event_id": outcome.event_id,
            "step": failure.step,
            "cause": failure.cause,
            "error_class": failure.error_class[:255],
            "message": storable(failure.message, limit=MAX_ERROR),
            "stack": failure.stack and storable(failure.stack, limit=MAX_STACK),
        }
        for outcome in outcomes
        if (failure := outcome.failure)
    ]
    if failures:
        run(connection, _ATTEMPTS, failures=record_set(failures), batch_id=token.batch_id, run_id=token.run_id)


_METRICS = """
insert into lightfast_workspace_operations_metrics
  (clerk_org_id, workspace_id, repository_id, type, value, unit, tags, event_id)
select clerk_org_id, workspace_id, repository_id, type, value, unit, tags, event_id
from jsonb_to_recordset(cast(:metrics as jsonb)) as m(clerk_org_id text, workspace_id text, repository_id text,
  type text, value integer, unit text, tags jsonb, event_id bigint)
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
