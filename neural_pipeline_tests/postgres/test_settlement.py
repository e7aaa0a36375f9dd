"""What becomes of a batch and its events when a run has ended, in every way a run can end."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.workflows import CaptureFailure, parse_output
from neural_pipeline.store import batches, settlement
from neural_pipeline.store.batches import BatchLost
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline_tests.building import (
    CAPTURE,
    LIMITS,
    batch_of,
    begun_batch,
    capture,
    column,
    decided,
    end_run,
    event_of,
    examined,
    in_transaction,
    open_batch,
    persistence,
    run_of,
    waiting,
    waits_for_a_lock,
)

LOST = [RunEnd.FAILURE, RunEnd.DELETED, RunEnd.SUCCESS]
"""Ends after which an event without an outcome has lost its worker."""


def outcome(connection: Connection, event_id: int, **facts: Any) -> None:
    output = '{"inngestFunctionId": "neural.observation.capture", "status": "success"}'
    sql = """
    update incoming_events set outcome = 'completed', outcome_at = clock_timestamp(), output = cast(:output as jsonb)
    where id = :id
    """
    connection.execute(text(sql), {"id": event_id, "output": output} | facts)


def lose(connection: Connection, event_id: int, times: int) -> None:
    connection.execute(text("update incoming_events set losses = :n where id = :id"), {"n": times, "id": event_id})


def held(connection: Connection) -> list[str]:
    return column(connection, "select workspace_id from batch_workspaces where closed_at is null")


@pytest.mark.parametrize("end", [end for end in RunEnd if end is not RunEnd.CANCELED])
def test_a_batch_that_nobody_took_is_closed_as_its_run_key_is_spent_and_its_events_wait_unharmed(
    scratch: Connection, end: RunEnd
) -> None:
    ids = waiting(scratch, 2)
    batch_id = open_batch(scratch, ids)
    assert settlement.settle(scratch, batch_id, run_id="run-1", end=end, isolating_losses=3)
    batch = batch_of(scratch, batch_id)
    assert (batch["state"], batch["close_reason"], held(scratch)) == ("closed", "run_key_spent", [])
    for id_ in ids:
        assert (event_of(scratch, id_)["batch_id"], event_of(scratch, id_)["losses"]) == (None, 0)
        assert run_of(scratch, id_)["status"] == "queued"


def test_a_run_that_is_cancelled_before_it_takes_its_batch_cancels_the_events(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    batch_id = open_batch(scratch, [id_])
    assert settlement.settle(scratch, batch_id, run_id="run-1", end=RunEnd.CANCELED, isolating_losses=3)
    run = run_of(scratch, id_)
    assert (run["status"], run["started_at"], run["error_message"]) == (
        "cancelled",
        None,
        "the Dagster run was cancelled",
    )


@pytest.mark.parametrize("end", RunEnd)
def test_a_run_cannot_settle_the_batch_of_another_run(scratch: Connection, end: RunEnd) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    assert not end_run(scratch, token, end, run_id="run-2")
    assert batch_of(scratch, token.batch_id)["state"] == "running"
    assert event_of(scratch, id_)["batch_id"] == token.batch_id
    batches.fence(scratch, token)


@pytest.mark.parametrize(("first", "second"), list(product(RunEnd, RunEnd)))
def test_a_closed_batch_is_not_settled_again(scratch: Connection, first: RunEnd, second: RunEnd) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    assert end_run(scratch, token, first)
    before = (batch_of(scratch, token.batch_id), event_of(scratch, id_), run_of(scratch, id_))
    assert not end_run(scratch, token, second)
    assert (batch_of(scratch, token.batch_id), event_of(scratch, id_), run_of(scratch, id_)) == before


def test_one_of_two_that_settle_a_batch_at_once_does_it(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            assert end_run(connection, token, RunEnd.FAILURE)
            other = pool.submit(in_transaction, engine, lambda connection: end_run(connection, token, RunEnd.CANCELED))
            assert waits_for_a_lock(other)
        assert other.result() is False
    with engine.begin() as connection:
        assert batch_of(connection, token.batch_id)["close_reason"] == "failure"


def test_a_batch_that_does_not_exist_is_nobodys_to_settle(scratch: Connection) -> None:
    assert not settlement.settle(scratch, -1, run_id="run-1", end=RunEnd.SUCCESS, isolating_losses=3)


@pytest.mark.parametrize("end", RunEnd)
def test_the_batch_of_an_ended_run_is_closed_with_the_reason_and_frees_its_workspaces(
    scratch: Connection, end: RunEnd
) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    assert end_run(scratch, token, end)
    batch = batch_of(scratch, token.batch_id)
    assert (batch["state"], batch["close_reason"], held(scratch)) == ("closed", end, [])
    assert batch["closed_at"] is not None


@pytest.mark.parametrize("end", LOST)
def test_unfinished_events_of_a_lost_run_wait_again_with_a_loss_and_no_attempt(
    scratch: Connection, end: RunEnd
) -> None:
    done, lost = waiting(scratch, 2)
    token = begun_batch(scratch, [done, lost])
    settlement.record_run(scratch, "run-1")
    assert run_of(scratch, lost)["status"] == "running"
    outcome(scratch, done)
    end_run(scratch, token, end)
    event, run = event_of(scratch, lost), run_of(scratch, lost)
    assert (event["batch_id"], event["begun_at"], event["losses"], event["attempt"]) == (None, None, 1, 0)
    assert (run["status"], run["started_at"], run["batch_id"], run["dagster_run_id"]) == ("queued", None, None, None)
    assert (event_of(scratch, done)["losses"], run_of(scratch, done)["status"]) == (0, "completed")


def test_a_cancelled_run_cancels_what_it_had_not_finished(scratch: Connection) -> None:
    done, stopped = waiting(scratch, 2)
    token = begun_batch(scratch, [done, stopped])
    outcome(scratch, done)
    end_run(scratch, token, RunEnd.CANCELED)
    run = run_of(scratch, stopped)
    assert (run["status"], run["error_message"]) == ("cancelled", "the Dagster run was cancelled")
    assert run["completed_at"] is not None
    assert run_of(scratch, done)["status"] == "completed"
    assert batches.assign(scratch, function_id=CAPTURE, limits=LIMITS) == []


def test_an_event_that_stood_alone_after_its_losses_fails_as_worker_lost(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    lose(scratch, id_, 3)
    end_run(scratch, begun_batch(scratch, [id_]), RunEnd.FAILURE)
    run, event = run_of(scratch, id_), event_of(scratch, id_)
    output = parse_output(run["output"], function_id=FunctionId.OBSERVATION_CAPTURE)
    assert isinstance(output, CaptureFailure)
    assert (output.source_id, output.error, output.step) == ("e-0", run["error_message"], "run")
    assert (run["status"], run["cause"], event["losses"]) == ("failed", "worker_lost", 4)
    assert "died 4 times" in run["error_message"]


def test_an_event_is_not_given_up_for_losses_it_shared_with_others(scratch: Connection) -> None:
    ids = waiting(scratch, 2)
    for id_ in ids:
        lose(scratch, id_, 9)
    end_run(scratch, begun_batch(scratch, ids), RunEnd.FAILURE)
    assert [run_of(scratch, id_)["status"] for id_ in ids] == ["queued", "queued"]


def test_the_last_unfinished_event_of_a_larger_batch_did_not_stand_alone(scratch: Connection) -> None:
    done, left = waiting(scratch, 2)
    lose(scratch, left, 9)
    token = begun_batch(scratch, [done, left])
    outcome(scratch, done)
    end_run(scratch, token, RunEnd.FAILURE)
    assert run_of(scratch, left)["status"] == "queued"


@pytest.mark.parametrize("losses", [0, 1, 2])
def test_an_event_alone_in_its_batch_waits_again_before_its_losses_are_used_up(
    scratch: Connection, losses: int
) -> None:
    [id_] = waiting(scratch, 1)
    lose(scratch, id_, losses)
    end_run(scratch, begun_batch(scratch, [id_]), RunEnd.FAILURE)
    assert (event_of(scratch, id_)["outcome"], event_of(scratch, id_)["losses"]) == (None, losses + 1)


def test_losses_isolate_an_event_until_it_fails_alone_and_the_others_finish(scratch: Connection) -> None:
    ids = waiting(scratch, 30)
    poison = ids[17]
    for round_ in range(40):
        made = batches.assign(scratch, function_id=CAPTURE, limits=replace(LIMITS, max_events=30, max_open=1))
        if not made:
            break
        token = batches.take(scratch, made[0], run_id=f"run-{round_}", seconds=60, lease=60)
        assert token is not None
        batches.begin(scratch, token)
        on_it = column(scratch, "select id from incoming_events where batch_id = :id", id=token.batch_id)
        if poison not in on_it:
            for id_ in on_it:
                outcome(scratch, id_)
        end_run(scratch, token, RunEnd.FAILURE if poison in on_it else RunEnd.SUCCESS)
    assert {id_ for id_ in ids if run_of(scratch, id_)["status"] == "failed"} == {poison}
    assert {run_of(scratch, id_)["status"] for id_ in ids if id_ != poison} == {"completed"}


def test_a_late_writer_changes_nothing_after_its_batch_was_settled(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        late = begun_batch(connection, [id_], run_id="run-late")
        seen = examined(connection, late)
    with engine.begin() as connection:
        end_run(connection, late, RunEnd.FAILURE)
        token = begun_batch(connection, [id_], run_id="run-2")
    with pytest.raises(BatchLost):
        persistence(engine, late).keep(seen, decided(seen))
    with engine.begin() as connection:
        assert event_of(connection, id_)["outcome"] is None
        assert column(connection, "select count(*) from lightfast_workspace_neural_observations") == [0]
        assert column(connection, "select count(*) from observation_vectors") == [0]
        assert column(connection, "select count(*) from lightfast_workspace_operations_metrics") == [0]
    assert capture(engine, token).outcomes == {"captured": 1}


def test_released_events_wait_again_and_nothing_is_counted(scratch: Connection) -> None:
    kept, freed = waiting(scratch, 2)
    token = begun_batch(scratch, [kept, freed])
    settlement.record_run(scratch, "run-1")
    settlement.release(scratch, [freed])
    event = event_of(scratch, freed)
    assert (event["batch_id"], event["begun_at"], event["losses"], event["attempt"]) == (None, None, 0, 0)
    assert run_of(scratch, freed)["status"] == "queued"
    assert event_of(scratch, kept)["batch_id"] == token.batch_id
    assert run_of(scratch, kept)["status"] == "running"


def test_an_event_with_an_outcome_is_not_released(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    outcome(scratch, id_)
    settlement.release(scratch, [id_])
    assert event_of(scratch, id_)["batch_id"] == token.batch_id


def test_what_a_run_could_not_get_to_is_captured_by_the_next_one(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        ids = waiting(connection, 3)
        token = begun_batch(connection, ids)
        seen = examined(connection, token)
    report = persistence(engine, token, chunk=1, deadline=0.0).keep(seen, decided(seen))
    # One chunk is done in any case: a batch that is handed back whole would come again for ever.
    assert (report.released, report.outcomes) == (2, {"captured": 1})
    with engine.begin() as connection:
        end_run(connection, token)
        [batch_id] = batches.assign(connection, function_id=CAPTURE, limits=LIMITS)
        again = batches.take(connection, batch_id, run_id="run-2", seconds=60, lease=60)
    assert again is not None
    assert capture(engine, again).outcomes == {"captured": 2}
