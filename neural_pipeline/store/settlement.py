"""Settling: when a run has ended, its batch is closed, and each event without an outcome waits again or gets one.

Order of locks, everywhere: batch, its events, keys of events that wait again (`debounce`), lifecycle rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue
from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.contracts.workflows import MAX_ERROR, failure_output, parse_input
from neural_pipeline.store import debounce, lifecycle
from neural_pipeline.store.batches import BatchLost, Token, hold_alone
from neural_pipeline.store.outcomes import FailedAttempt, keep_attempts
from neural_pipeline.store.sql import record_set, rows, run, storable

STEP = "run"
"""The step that fails when a worker dies: no op lived to say which it was."""


class RunEnd(StrEnum):
    """How a run ended. DELETED: Dagster no longer knows it. LOST: its lease ran out. TIMEOUT: its time did."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELED = "canceled"
    DELETED = "deleted"
    LOST = "lost"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class _Ended:
    """The batch of a run that has ended: `end` as it counts, and the error that ended the run, if one is known."""

    row: RowMapping
    end: RunEnd
    run_id: str
    trouble: FailedAttempt | None

    @property
    def losses(self) -> int:
        """A server that went away under the run makes nobody suspicious."""
        return 0 if self.row["outlived_its_server"] else 1


def record_run(connection: Connection, run_id: str) -> int:
    """Project what a run that is still going has done so far; return how many lifecycle rows moved."""
    batches = rows(connection, "select id from event_batches where run_id = :run_id", run_id=run_id)
    return sum(lifecycle.record_batch(connection, batch["id"]) for batch in batches)


def settle(
    connection: Connection,
    batch_id: int,
    *,
    run_id: str,
    end: RunEnd,
    isolating_losses: int,
    trouble: FailedAttempt | None = None,
) -> bool:
    """Close the batch of a run that has ended; return False where the batch is not this run's to close.

    The final status of a run whose batch nobody took closes that batch too: its run key is spent. A run that has shown
    a sign of life meanwhile is not lost. `trouble` is the error of the op that ended the run, where one lived to tell.
    """
    ended = _locked(connection, batch_id, run_id=run_id, end=end, trouble=trouble)
    if ended is None:
        return False
    was_taken = ended.row["state"] == "running"
    _close(connection, batch_id, reason=ended.end if was_taken else "run_key_spent")
    unfinished = _unfinished(connection, batch_id)
    if ended.end is RunEnd.CANCELED:
        _cancel(connection, unfinished)
    elif not was_taken:
        _free(connection, unfinished, losses=0)
    else:
        _count_loss(connection, ended, unfinished, isolating_losses=isolating_losses)
    lifecycle.record_batch(connection, batch_id)
    lifecycle.return_to_queue(connection, [row["id"] for row in unfinished])
    return True


_LOCKED = """
select *, deadline_at <= clock_timestamp() as is_overdue, lease_until <= clock_timestamp() as is_abandoned,
  coalesce(pg_postmaster_start_time() > taken_at, false) as outlived_its_server
from event_batches where id = :batch_id and state <> 'closed' for update
"""


def _locked(
    connection: Connection, batch_id: int, *, run_id: str, end: RunEnd, trouble: FailedAttempt | None
) -> _Ended | None:
    found = rows(connection, _LOCKED, batch_id=batch_id)
    if not found or (found[0]["state"] == "running" and found[0]["run_id"] != run_id):
        return None
    if end is RunEnd.LOST and found[0]["is_abandoned"] is False:
        return None
    # Dagster's monitor may report a run as canceled, or as failed, that only had its time.
    is_timeout = end in {RunEnd.CANCELED, RunEnd.FAILURE} and found[0]["is_overdue"] and trouble is None
    return _Ended(found[0], RunEnd.TIMEOUT if is_timeout else end, run_id, trouble)


def release(connection: Connection, event_ids: Sequence[int], *, pause: float = 0.0) -> None:
    """Let events wait again, at least `pause` seconds, that a run did not get to: no attempt and no loss is counted.

    One that a newer event of its key stands for ends instead.
    The caller holds the batch alone.
    """
    sql = """
    update incoming_events
    set batch_id = null, begun_at = null,
      due_at = greatest(due_at, clock_timestamp() + nullif(make_interval(secs => :pause), interval '0'))
    where id = any(:ids) and outcome is null
    """
    debounce.give_way(connection, dict.fromkeys(event_ids, pause))
    run(connection, sql, ids=list(event_ids), pause=pause)
    lifecycle.return_to_queue(connection, event_ids)


def hand_back(connection: Connection, token: Token, *, reason: str = "handed_back", pause: float = 0.0) -> None:
    """Close a batch that its run cannot work on and let its events wait again; no loss is counted.

    Raises BatchLost where the batch is not the run's any more.
    """
    hold_alone(connection, token)
    _close(connection, token.batch_id, reason=reason)
    unfinished = _unfinished(connection, token.batch_id)
    lifecycle.record_batch(connection, token.batch_id)
    release(connection, [row["id"] for row in unfinished], pause=pause)


def hand_back_all(connection: Connection, *, reason: str) -> int:
    """Take back the batches of all runs that are still going; return how many that were. For an orderly end."""
    sql = "select id, run_id, epoch from event_batches where state = 'running' order by id"
    running = [Token(row["id"], row["run_id"], row["epoch"]) for row in rows(connection, sql)]
    held = [token for token in running if _is_held(connection, token)]
    debounce.hold_keys_of(connection, [token.batch_id for token in held])
    for token in held:
        hand_back(connection, token, reason=reason)
    return len(held)


def _is_held(connection: Connection, token: Token) -> bool:
    try:
        hold_alone(connection, token)
    except BatchLost:  # settled meanwhile
        return False
    return True


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


def _free(connection: Connection, events: Sequence[RowMapping], *, losses: int) -> None:
    sql = """
    update incoming_events set batch_id = null, begun_at = null, losses = losses + :losses
    where id = any(:ids) and outcome is null
    """
    ids = [event["id"] for event in events]
    debounce.give_way(connection, dict.fromkeys(ids, 0.0), losses=losses)
    run(connection, sql, ids=ids, losses=losses)


def _cancel(connection: Connection, events: Sequence[RowMapping]) -> None:
    sql = """
    update incoming_events
    set outcome = 'cancelled', outcome_at = clock_timestamp(), error_message = 'the Dagster run was cancelled'
    where id = any(:ids)
    """
    run(connection, sql, ids=[event["id"] for event in events])


def _count_loss(
    connection: Connection, ended: _Ended, unfinished: Sequence[RowMapping], *, isolating_losses: int
) -> None:
    """Count a loss for each event; one that stood alone is to blame, and is given up after enough of them."""
    if ended.row["events"] != 1 or len(unfinished) != 1 or not ended.losses:
        _free(connection, unfinished, losses=ended.losses)
        return
    [event] = unfinished
    attempt = _blamed(ended, times=event["losses"] + 1)
    keep_attempts(connection, {event["id"]: attempt}, batch_id=ended.row["id"], run_id=ended.run_id)
    if event["losses"] < isolating_losses:
        _free(connection, unfinished, losses=1)
    else:
        _give_up(connection, event, attempt)


def _blamed(ended: _Ended, *, times: int) -> FailedAttempt:
    if ended.trouble is not None and ended.end is not RunEnd.TIMEOUT:
        return ended.trouble
    if ended.end is RunEnd.TIMEOUT:
        seconds = (ended.row["deadline_at"] - ended.row["taken_at"]).total_seconds()
        message = f"its run took longer than {seconds:.0f} seconds, and that for the {times}. time"
        return FailedAttempt(STEP, message, "RunTimeout", None, Cause.TIMEOUT)
    message = f"its worker died {times} times, the last time with this event alone in its batch"
    return FailedAttempt(STEP, message, "WorkerLost", None, Cause.WORKER_LOST)


_GIVE_UP = """
update incoming_events
set outcome = 'failed', outcome_at = clock_timestamp(), error_message = :message, cause = :cause,
  losses = losses + 1, attempt = attempt + 1, output = cast(:output as jsonb)
where id = :id
"""


def _give_up(connection: Connection, event: RowMapping, attempt: FailedAttempt) -> None:
    """Fail an event whose runs keep dying though it stands alone."""
    message = storable(attempt.message, limit=MAX_ERROR)
    # The input, not the payload: what kills workers may be that the payload cannot be read.
    output = _lost_output(event["function_id"], event["input"], message, step=attempt.step)
    stored = record_set([output])[1:-1]
    run(connection, _GIVE_UP, id=event["id"], message=message, cause=attempt.cause, output=stored)


def _lost_output(function_id: str, stored_input: object, message: str, *, step: str) -> dict[str, JsonValue]:
    try:
        output = failure_output(FunctionId(function_id), parse_input(stored_input), error=message, step=step)
    except ValueError:  # an input that this program cannot read must not keep the batch open for ever
        return {"inngestFunctionId": function_id, "status": "failure", "error": message, "step": step}
    return output.to_json()
