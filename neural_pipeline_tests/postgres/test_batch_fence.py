"""Batches in the hands of a run: who may take one, what is added, and the fence that every write must pass."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.store import batches, leases, lifecycle, settlement
from neural_pipeline.store.batches import BatchLost, Token
from neural_pipeline.store.settlement import hand_back
from neural_pipeline_tests.building import (
    CAPTURE,
    LIMITS,
    assign,
    batch_of,
    begun_batch,
    column,
    end_run,
    event_of,
    events_on,
    held_by,
    in_transaction,
    open_batch,
    put_off,
    run_of,
    waiting,
    waits_for_a_lock,
    workspaces,
)


def top_up(connection: Connection, token: Token, limits: Limits = LIMITS) -> int:
    return batches.top_up(connection, token, function_id=CAPTURE, limits=limits)


def test_one_of_two_runs_takes_a_batch(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        batch_id = open_batch(connection, waiting(connection, 1))
    start = Barrier(2)

    def take(run_id: str) -> Token | None:
        start.wait()
        with engine.begin() as connection:
            return batches.take(connection, batch_id, run_id=run_id, seconds=60, lease=60)

    with ThreadPoolExecutor(2) as pool:
        won = [token for token in pool.map(take, ["run-1", "run-2"]) if token]
    assert len(won) == 1
    with engine.begin() as connection:
        batch = batch_of(connection, batch_id)
    assert (batch["state"], batch["run_id"], batch["epoch"]) == ("running", won[0].run_id, won[0].epoch)


def test_a_batch_is_not_taken_twice_even_by_the_same_run(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    assert batches.take(scratch, token.batch_id, run_id=token.run_id, seconds=60, lease=60) is None


def test_a_closed_batch_is_not_taken(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    end_run(scratch, token)
    assert batches.take(scratch, token.batch_id, run_id="run-2", seconds=60, lease=60) is None


def test_a_taken_batch_has_a_deadline(scratch: Connection) -> None:
    batch_id = open_batch(scratch, waiting(scratch, 1))
    batches.take(scratch, batch_id, run_id="run-1", seconds=90, lease=60)
    batch = batch_of(scratch, batch_id)
    assert (batch["deadline_at"] - batch["taken_at"]).total_seconds() == pytest.approx(90, abs=0.1)


def test_beginning_stamps_the_unfinished_events_of_the_batch_only(scratch: Connection) -> None:
    ids = waiting(scratch, 2)
    other = waiting(scratch, 1, prefix="other")
    begun_batch(scratch, ids)
    assert [event_of(scratch, id_)["begun_at"] is not None for id_ in ids + other] == [True, True, False]


def test_top_up_adds_what_became_due_in_the_held_workspaces(scratch: Connection) -> None:
    workspaces(scratch, "ws_b")
    token = begun_batch(scratch, waiting(scratch, 2))
    late, later = waiting(scratch, 2, prefix="late")
    waiting(scratch, 1, workspace_id="ws_b")
    put_off(scratch, later)
    assert top_up(scratch, token) == 1
    batch = batch_of(scratch, token.batch_id)
    assert late in events_on(scratch, token.batch_id)
    assert len(events_on(scratch, token.batch_id)) == batch["events"] == 3
    sql = "select sum(payload_bytes) from incoming_events where batch_id = :id"
    assert [batch["bytes"]] == column(scratch, sql, id=token.batch_id)


def test_top_up_stops_at_the_largest_batch_and_takes_the_oldest(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 2))
    late = waiting(scratch, 5, prefix="late")
    assert top_up(scratch, token, replace(LIMITS, max_events=4)) == 2
    assert set(late[:2]) < set(events_on(scratch, token.batch_id))
    assert top_up(scratch, token, replace(LIMITS, max_events=4)) == 0


def test_top_up_stops_at_the_bytes_of_a_batch(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    late = waiting(scratch, 3, prefix="late")
    weights = [event_of(scratch, id_)["payload_bytes"] for id_ in late]
    room = batch_of(scratch, token.batch_id)["bytes"] + weights[0] + weights[1]
    assert top_up(scratch, token, replace(LIMITS, max_bytes=room)) == 2
    assert event_of(scratch, late[2])["batch_id"] is None


def test_top_up_takes_nothing_for_a_workspace_already_let_go(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    batches.let_go(scratch, token, workspaces=["ws_test"])
    waiting(scratch, 1, prefix="late")
    assert top_up(scratch, token) == 0


def test_a_batch_that_isolates_a_suspicious_event_is_not_topped_up(scratch: Connection) -> None:
    [suspect] = waiting(scratch, 1)
    scratch.execute(text("update incoming_events set losses = 1 where id = :id"), {"id": suspect})
    token = begun_batch(scratch, [suspect])
    waiting(scratch, 1, prefix="late")
    assert top_up(scratch, token) == 0


def test_a_batch_is_not_topped_up_with_a_suspicious_event(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    [suspect] = waiting(scratch, 1, prefix="late")
    scratch.execute(text("update incoming_events set losses = 1 where id = :id"), {"id": suspect})
    assert top_up(scratch, token) == 0


def test_the_fence_lets_the_run_that_holds_the_batch_through(scratch: Connection) -> None:
    batches.fence(scratch, begun_batch(scratch, waiting(scratch, 1)))


@pytest.mark.parametrize("void", [{"run_id": "run-2"}, {"epoch": 0}, {"epoch": 2}, {"batch_id": -1}])
def test_the_fence_turns_every_other_token_away(scratch: Connection, void: dict[str, Any]) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    with pytest.raises(BatchLost):
        batches.fence(scratch, replace(token, **void))


def test_the_fence_is_down_once_the_batch_is_closed(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    end_run(scratch, token)
    with pytest.raises(BatchLost):
        batches.fence(scratch, token)


def test_the_fence_is_down_while_nobody_has_taken_the_batch(scratch: Connection) -> None:
    batch_id = open_batch(scratch, waiting(scratch, 1))
    with pytest.raises(BatchLost):
        batches.fence(scratch, Token(batch_id, "run-1", 0))


def test_settling_waits_for_a_writer_behind_the_fence_and_the_next_writer_is_turned_away(
    engine: Engine, workspace: str
) -> None:
    with engine.begin() as connection:
        token = begun_batch(connection, waiting(connection, 1))
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as writer:
            batches.fence(writer, token)
            settling = pool.submit(in_transaction, engine, lambda connection: end_run(connection, token))
            assert waits_for_a_lock(settling)
        assert settling.result() is True
    with engine.begin() as writer, pytest.raises(BatchLost):
        batches.fence(writer, token)


def test_the_recorder_waits_for_events_that_are_taken_off_a_batch_and_leaves_them_queued(
    engine: Engine, workspace: str
) -> None:
    with engine.begin() as connection:
        ids = waiting(connection, 2)
        token = begun_batch(connection, ids)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as worker:
            batches.hold_alone(worker, token)
            recording = pool.submit(in_transaction, engine, lambda one: lifecycle.record_batch(one, token.batch_id))
            settlement.release(worker, ids)
            assert waits_for_a_lock(recording)
        assert recording.result() == 0
    with engine.begin() as connection:
        assert [run_of(connection, id_)["status"] for id_ in ids] == ["queued", "queued"]


def test_two_writers_of_one_run_do_not_wait_for_each_other(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        token = begun_batch(connection, waiting(connection, 1))
    with engine.begin() as one, engine.begin() as other:
        other.execute(text("set local lock_timeout = '2s'"))
        batches.fence(one, token)
        batches.fence(other, token)


def test_a_write_turned_away_is_counted(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    end_run(scratch, token)
    batches.count_stale_write(scratch, token)
    assert batch_of(scratch, token.batch_id)["stale_writes"] == 1


def test_a_workspace_let_go_can_be_assigned_while_the_batch_still_runs(scratch: Connection) -> None:
    workspaces(scratch, "ws_b")
    token = begun_batch(scratch, waiting(scratch, 1) + waiting(scratch, 1, workspace_id="ws_b"))
    [next_event] = waiting(scratch, 1, prefix="next")
    waiting(scratch, 1, workspace_id="ws_b", prefix="next")
    batches.let_go(scratch, token, workspaces=["ws_test"])
    [batch_id] = assign(scratch)
    assert events_on(scratch, batch_id) == [next_event]
    assert held_by(scratch, token.batch_id) == ["ws_b"]


@pytest.mark.parametrize("taken", [False, True])
def test_the_holder_of_a_workspace_is_named(scratch: Connection, taken: bool) -> None:
    batch_id = open_batch(scratch, waiting(scratch, 1))
    if taken:
        batches.take(scratch, batch_id, run_id="run-1", seconds=60, lease=60)
    holder = batches.holder_of(scratch, "ws_test", function_id=CAPTURE)
    assert holder == ("run run-1" if taken else f"batch {batch_id}, which waits for its run")
    assert batches.holder_of(scratch, "ws_test", function_id=FunctionId.PROFILE_UPDATE) is None


def test_handing_a_batch_back_lets_its_events_wait_as_if_nothing_had_been(scratch: Connection) -> None:
    ids = waiting(scratch, 2)
    token = begun_batch(scratch, ids)
    hand_back(scratch, token)
    assert batch_of(scratch, token.batch_id)["state"] == "closed"
    for id_ in ids:
        event = event_of(scratch, id_)
        assert (event["batch_id"], event["begun_at"], event["losses"], event["attempt"]) == (None, None, 0, 0)
        assert run_of(scratch, id_)["status"] == "queued"
    [batch_id] = assign(scratch)
    assert events_on(scratch, batch_id) == ids


def test_a_batch_that_was_lost_is_not_handed_back(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    with pytest.raises(BatchLost):
        hand_back(scratch, replace(token, run_id="run-2"))
    assert batch_of(scratch, token.batch_id)["state"] == "running"


def test_open_and_unfinished_batches_are_listed_oldest_first(scratch: Connection) -> None:
    workspaces(scratch, "ws_b")
    token = begun_batch(scratch, waiting(scratch, 1))
    waits = open_batch(scratch, waiting(scratch, 1, workspace_id="ws_b"))
    assert batches.open_batches(scratch, function_id=CAPTURE) == [waits]
    assert [(batch.id, batch.run_id) for batch in leases.unfinished_batches(scratch)] == [
        (token.batch_id, "run-1"),
        (waits, None),
    ]
    assert batches.batches_of(scratch, "run-1") == [token]
    assert batches.running_batches(scratch) == 1
