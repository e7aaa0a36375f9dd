"""Batches: which due events are put on one, in what order, and for whom; taking one is `test_batch_fence`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.store import batches
from neural_pipeline.store.batches import Token
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
    waiting,
    waits_for_a_lock,
    workspaces,
)


def top_up(connection: Connection, token: Token, limits: Limits = LIMITS) -> int:
    return batches.top_up(connection, token, function_id=CAPTURE, limits=limits)


def test_due_events_are_put_on_a_batch_that_holds_their_workspaces(scratch: Connection) -> None:
    workspaces(scratch, "ws_b")
    ids = waiting(scratch, 3) + waiting(scratch, 2, workspace_id="ws_b")
    [batch_id] = assign(scratch, replace(LIMITS, max_open=1))
    batch = batch_of(scratch, batch_id)
    assert set(events_on(scratch, batch_id)) == set(ids)
    assert held_by(scratch, batch_id) == ["ws_b", "ws_test"]
    assert (batch["state"], batch["trigger"], batch["events"]) == ("open", "automatic", 5)
    assert [batch["bytes"]] == column(scratch, "select sum(payload_bytes) from incoming_events")


def test_each_batch_has_its_own_workspaces(scratch: Connection) -> None:
    names = workspaces(scratch, *"abcdef")
    for name in names:
        waiting(scratch, 2, workspace_id=name)
    made = assign(scratch)
    assert len(made) == LIMITS.max_open
    assert sorted(name for batch_id in made for name in held_by(scratch, batch_id)) == sorted(names)


def test_no_batch_is_opened_beyond_the_limit_whether_the_others_run_or_wait(scratch: Connection) -> None:
    for name in workspaces(scratch, *"abc"):
        waiting(scratch, 1, workspace_id=name)
    limits = replace(LIMITS, max_open=2, max_events=1)
    first, _second = assign(scratch, limits)
    assert assign(scratch, limits) == []
    token = batches.take(scratch, first, run_id="run-1", seconds=60, lease=60)
    assert assign(scratch, limits) == []
    assert token is not None
    end_run(scratch, token)
    assert len(assign(scratch, limits)) == 1


def test_batches_of_another_function_take_no_slot(scratch: Connection) -> None:
    waiting(scratch, 1)
    scratch.execute(
        text("insert into event_batches (function_id, trigger, events, bytes) values ('other', 'manual', 1, 1)")
    )
    assert len(assign(scratch, replace(LIMITS, max_open=1))) == 1


def test_a_held_workspace_is_skipped_and_the_others_are_not(scratch: Connection) -> None:
    workspaces(scratch, "ws_b")
    begun_batch(scratch, waiting(scratch, 1))
    later, other = waiting(scratch, 1, prefix="later"), waiting(scratch, 1, workspace_id="ws_b")
    [batch_id] = assign(scratch)
    assert events_on(scratch, batch_id) == other
    assert event_of(scratch, later[0])["batch_id"] is None


def test_an_event_that_is_not_due_waits(scratch: Connection) -> None:
    now, later = waiting(scratch, 2)
    put_off(scratch, later)
    [batch_id] = assign(scratch)
    assert events_on(scratch, batch_id) == [now]


def test_workspaces_with_nothing_due_take_no_share_from_the_others(scratch: Connection) -> None:
    for name in workspaces(scratch, *"abcdef"):
        put_off(scratch, waiting(scratch, 1, workspace_id=name)[0])
    ids = waiting(scratch, 8)
    [batch_id] = assign(scratch, Limits(max_events=8, max_bytes=10_000_000, max_open=1))
    assert events_on(scratch, batch_id) == ids


def test_the_oldest_events_go_first(scratch: Connection) -> None:
    ids = waiting(scratch, 6)
    scratch.execute(text("update incoming_events set received_at = received_at - id * interval '1 minute'"))
    [batch_id] = assign(scratch, replace(LIMITS, max_events=2, max_open=1))
    assert events_on(scratch, batch_id) == [ids[5], ids[4]]


def test_where_there_is_room_for_one_workspace_the_one_that_has_waited_longest_goes_first(
    scratch: Connection,
) -> None:
    workspaces(scratch, "a_late", "b_early")
    waiting(scratch, 1, workspace_id="a_late")
    early = waiting(scratch, 1, workspace_id="b_early")
    sql = "update incoming_events set received_at = received_at - interval '1 day' where workspace_id = 'b_early'"
    scratch.execute(text(sql))
    [batch_id] = assign(scratch, replace(LIMITS, max_events=1, max_open=1))
    assert events_on(scratch, batch_id) == early


def test_a_full_batch_takes_equal_shares_of_the_workspaces(scratch: Connection) -> None:
    workspaces(scratch, "ws_b")
    waiting(scratch, 20)
    waiting(scratch, 20, workspace_id="ws_b", prefix="b")
    [batch_id] = assign(scratch, replace(LIMITS, max_events=10, max_open=1))
    sql = "select count(*) from incoming_events where batch_id = :id group by workspace_id"
    assert column(scratch, sql, id=batch_id) == [5, 5]


def test_a_batch_is_bounded_in_bytes(scratch: Connection) -> None:
    ids = waiting(scratch, 3)
    weight = event_of(scratch, ids[0])["payload_bytes"]
    [batch_id] = assign(scratch, replace(LIMITS, max_bytes=2 * weight, max_open=1))
    assert events_on(scratch, batch_id) == ids[:2]


def test_two_assigning_at_once_share_neither_a_workspace_nor_an_event(engine: Engine) -> None:
    with engine.begin() as connection:
        for name in workspaces(connection, *(f"ws_{n}" for n in range(20))):
            waiting(connection, 5, workspace_id=name)
    start = Barrier(4)

    def tick(_: int) -> None:
        start.wait()
        for _again in range(3):
            with engine.begin() as connection:
                assign(connection, Limits(max_events=10, max_bytes=10_000_000, max_open=30))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tick, range(4)))
    with engine.begin() as connection:
        held = column(connection, "select workspace_id from batch_workspaces where closed_at is null")
        assert len(held) == len(set(held)) == 20
        sql = "select sum(events) from event_batches"
        assert column(connection, sql) == column(connection, "select count(batch_id) from incoming_events")
        strangers = """
        select e.id from incoming_events e where batch_id is not null and not exists (
          select from batch_workspaces h where h.batch_id = e.batch_id and h.workspace_id = e.workspace_id)
        """
        assert column(connection, strangers) == []


def test_assignment_waits_for_another_assignment_to_commit(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        waiting(connection, 1)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            assert len(assign(connection)) == 1
            other = pool.submit(in_transaction, engine, assign)
            assert waits_for_a_lock(other)
        assert other.result() == []


def test_a_workspace_cannot_be_held_twice(scratch: Connection) -> None:
    begun_batch(scratch, waiting(scratch, 1))
    with pytest.raises(IntegrityError, match="batch_workspace_held_idx"):
        open_batch(scratch, waiting(scratch, 1, prefix="more"))
