"""Settling: when a run has ended, its batch is closed, and each event without an outcome waits again or gets one."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import JsonValue
from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.contracts.workflows import failure_output, parse_input
from neural_pipeline.store import lifecycle
from neural_pipeline.store.batches import Token, hold_alone
from neural_pipeline.store.sql import record_set, rows, run

STEP = "run"
"""The step that fails when a worker dies: no op lived to say which it was."""


class RunEnd(StrEnum):
    """How a run ended. DELETED: Dagster no longer knows it."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELED = "canceled"
    DELETED = "deleted"


def record_run(connection: Connection, run_id: str) -> int:
    """Project what a run that is still going has done so far; return how many lifecycle rows moved."""
    batches = rows(connection, "select id from event_batches where run_id = :run_id", run_id=run_id)
    return sum(lifecycle.record_batch(connection, batch["id"]) for batch in batches)


def settle(connection: Connection, batch_id: int, *, run_id: str, end: RunEnd, isolating_losses: int) -> bool:
    """Close the batch of a run that has ended; return False where the batch is not this run's to close.

    The final status of a run whose batch nobody took closes that batch too: its run key is spent.
    """
    sql = "select * from event_batches where id = :batch_id and state <> 'closed' for update"
    found = rows(connection, sql, batch_id=batch_id)
    if not found or (found[0]["state"] == "running" and found[0]["run_id"] != run_id):
        return False
    _close(connection, batch_id, reason=end if found[0]["state"] == "running" else "run_key_spent")
    unfinished = _unfinished(connection, batch_id)
    if found[0]["state"] == "open":
        _free(connection, unfinished, losses=0)
    elif end is RunEnd.CANCELED:
        _cancel(connection, unfinished)
    elif _stands_alone(found[0], unfinished, isolating_losses=isolating_losses):
        _give_up(connection, unfinished[0])
    else:
        _free(connection, unfinished, losses=1)
    lifecycle.record_batch(connection, batch_id)
    lifecycle.return_to_queue(connection, [row["id"] for row in unfinished])
    return True


def release(connection: Connection, event_ids: Sequence[int]) -> None:
    """Let events wait again that a run took and did not get to: neither an attempt nor a loss is counted.

    The caller holds the batch alone.
    """
    sql = """
    update incoming_events set batch_id = null, begun_at = null where id = any(:ids) and outcome is null
    """
    run(connection, sql, ids=list(event_ids))
    lifecycle.return_to_queue(connection, event_ids)


def _close(connection: Connection, batch_id: int, *, reason: str) -> None:
    sql = """
    update event_batches set state = 'closed', closed_at = clock_timestamp(), close_reason = :reason
    where id = :batch_id
    """
    run(connection, sql, batch_id=batch_id, reason=reason)
    sql = "update batch_workspaces set closed_at = clock_timestamp() where batch_id = :batch_id and closed_at is null"
    run(connection, sql, batch_id=batch_id)


def _unfinished(connection: Connection, batch_id: int) -> Sequence[RowMapping]:
    sql = """
    select e.id, e.function_id, e.losses, r.input from incoming_events e
    left join lightfast_workspace_workflow_runs r on r.event_id = e.id
    where e.batch_id = :batch_id and e.outcome is null order by e.id for update of e
    """
    return rows(connection, sql, batch_id=batch_id)


def _stands_alone(batch: RowMapping, unfinished: Sequence[RowMapping], *, isolating_losses: int) -> bool:
    return batch["events"] == 1 and len(unfinished) == 1 and unfinished[0]["losses"] >= isolating_losses


def _free(connection: Connection, events: Sequence[RowMapping], *, losses: int) -> None:
    sql = """
    update incoming_events set batch_id = null, begun_at = null, losses = losses + :losses where id = any(:ids)
    """
    run(connection, sql, ids=[event["id"] for event in events], losses=losses)


def _cancel(connection: Connection, events: Sequence[RowMapping]) -> None:
    sql = """
    update incoming_events
    set outcome = 'cancelled', outcome_at = clock_timestamp(), error_message = 'the Dagster run was cancelled'
    where id = any(:ids)
    """
    run(connection, sql, ids=[event["id"] for event in events])


def _give_up(connection: Connection, event: RowMapping) -> None:
    """Fail an event whose runs keep dying though it stands alone."""
    message = f"its worker died {event['losses'] + 1} times, the last time with this event alone in its batch"
    # The input, not the payload: what kills workers may be that the payload cannot be read.
    output = _lost_output(event["function_id"], event["input"], message)
    sql = """
    update incoming_events
    set outcome = 'failed', outcome_at = clock_timestamp(), error_message = :message, cause = :cause,
      losses = losses + 1, output = cast(:output as jsonb)
    where id = :id
    """
    run(connection, sql, id=event["id"], message=message, cause=Cause.WORKER_LOST, output=record_set([output])[1:-1])


def _lost_output(function_id: str, stored_input: object, message: str) -> dict[str, JsonValue]:
    try:
        output = failure_output(FunctionId(function_id), parse_input(stored_input), error=message, step=STEP)
    except ValueError:  # an input that this program cannot read must not keep the batch open for ever
        return {"inngestFunctionId": function_id, "status": "failure", "error": message, "step": STEP}
    return output.to_json()


def hand_back(connection: Connection, token: Token) -> None:
    """Close a batch that its run cannot work on and let its events wait again; no loss is counted.

    Raises BatchLost where the batch is not the run's any more.
    """
    hold_alone(connection, token)
    _close(connection, token.batch_id, reason="handed_back")
    unfinished = _unfinished(connection, token.batch_id)
    release(connection, [row["id"] for row in unfinished])
