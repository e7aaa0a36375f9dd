"""The doctor's reads: each kind of trouble is made by real rows, found, and gone when it is put right."""

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL

from neural_pipeline.cli.daemon import daemon_place
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store import batches, health, lifecycle, settlement
from neural_pipeline.store.drain import daemon_place_of
from neural_pipeline_tests.building import (
    begun_batch,
    capture,
    column,
    end_run,
    open_batch,
    ready,
    run_of,
    waiting,
    workspaces,
)

HOUR = 3600.0
CAPTURE = "neural.observation.capture"


def age(connection: Connection, table: str, column_: str, id_: int, *, seconds: float = HOUR) -> None:
    """Put a time into the past."""
    sql = f"update {table} set {column_} = {column_} - make_interval(secs => :seconds) where id = :id"
    connection.execute(text(sql), {"id": id_, "seconds": seconds})


def run_ids(connection: Connection, *event_ids: int) -> list[int]:
    return [run_of(connection, event_id)["id"] for event_id in event_ids]


def test_events_that_wait_too_long_are_counted_per_function_and_the_longest_waiting_named(scratch: Connection) -> None:
    events = waiting(scratch, 6)
    for event_id, seconds in zip(events, (0, 4000, 3000, 2000, 5000, 0), strict=True):
        age(scratch, "incoming_events", "due_at", event_id, seconds=seconds)
    [found] = health.waiting_events(scratch, bound=900)
    assert (found.function_id, found.events, found.late) == (CAPTURE, 6, 4)
    assert found.first_late == run_ids(scratch, events[4], events[1], events[2])
    assert found.oldest_seconds == pytest.approx(5000, abs=5)


def test_events_that_wait_within_the_bound_are_nobodys_offence(scratch: Connection) -> None:
    age(scratch, "incoming_events", "due_at", *waiting(scratch, 1), seconds=600)
    [found] = health.waiting_events(scratch, bound=900)
    assert (found.events, found.late, found.first_late) == (1, 0, [])


def test_what_is_not_due_yet_or_has_its_batch_or_its_end_does_not_wait(scratch: Connection) -> None:
    later, on_batch, ended = waiting(scratch, 3)
    age(scratch, "incoming_events", "due_at", later, seconds=-HOUR)
    open_batch(scratch, [on_batch])
    end(scratch, ended)
    assert health.waiting_events(scratch, bound=900) == []


def end(connection: Connection, *event_ids: int) -> None:
    """Write outcomes behind everybody's back."""
    sql = "update incoming_events set outcome = 'cancelled', outcome_at = clock_timestamp() where id = any(:ids)"
    connection.execute(text(sql), {"ids": list(event_ids)})


def test_a_batch_that_no_run_takes_within_the_bound_is_found(scratch: Connection) -> None:
    names = workspaces(scratch, "ws_a", "ws_b", "ws_c")
    old, young, taken = (open_batch(scratch, waiting(scratch, 1, workspace_id=name)) for name in names)
    for batch_id in (old, taken):
        age(scratch, "event_batches", "assigned_at", batch_id)
    assert batches.take(scratch, taken, run_id="run-1", seconds=60, lease=60)
    found = health.untaken_batches(scratch, bound=900)
    assert (found.count, found.first) == (1, [old])
    assert found.oldest_seconds == pytest.approx(HOUR, abs=5)
    assert health.untaken_batches(scratch, bound=2 * HOUR).count == 0
    assert young not in found.first


@pytest.mark.parametrize("what", ["lease_until", "deadline_at"])
def test_a_batch_whose_time_was_over_long_ago_and_still_counts_as_running_is_found(
    scratch: Connection, what: str
) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    assert health.unsettled_batches(scratch, bound=30).count == 0
    age(scratch, "event_batches", what, token.batch_id)
    assert health.unsettled_batches(scratch, bound=30).first == [token.batch_id]
    assert health.unsettled_batches(scratch, bound=2 * HOUR).count == 0
    end_run(scratch, token)
    assert health.unsettled_batches(scratch, bound=30).count == 0


def test_a_run_that_counts_as_running_though_its_batch_is_closed_is_found(scratch: Connection) -> None:
    events = waiting(scratch, 2)
    token = begun_batch(scratch, events)
    assert lifecycle.record_batch(scratch, token.batch_id) == 2
    assert health.runs_without_batch(scratch).count == 0
    scratch.execute(text("update event_batches set state = 'closed' where id = :id"), {"id": token.batch_id})
    found = health.runs_without_batch(scratch)
    assert (found.count, sorted(found.first)) == (2, run_ids(scratch, *events))


def test_an_end_that_nobody_records_is_found_after_the_bound(scratch: Connection) -> None:
    event_id, other = waiting(scratch, 2)
    token = begun_batch(scratch, [event_id, other])
    end(scratch, event_id)
    assert health.unrecorded_runs(scratch, bound=900).count == 0
    age(scratch, "incoming_events", "outcome_at", event_id)
    assert health.unrecorded_runs(scratch, bound=900).first == run_ids(scratch, event_id)
    lifecycle.record_batch(scratch, token.batch_id)
    assert health.unrecorded_runs(scratch, bound=900).count == 0


def back_and_forth(connection: Connection, times: int, *, reason: str, workspace_id: str = "ws_test") -> list[int]:
    """Have runs give the batch of two events back, so many times; return the events."""
    events = waiting(connection, 2, workspace_id=workspace_id, prefix=f"{workspace_id}-{reason}")
    for _ in range(times):
        settlement.hand_back(connection, begun_batch(connection, events), reason=reason)
    return events


def test_batches_that_come_back_again_and_again_are_found_with_the_last_error_code(scratch: Connection) -> None:
    workspaces(scratch, "ws_fine")
    back_and_forth(scratch, 2, reason="handed_back: 57P01", workspace_id="ws_fine")
    back_and_forth(scratch, 1, reason="handed_back: 57P01")
    back_and_forth(scratch, 3, reason="handed_back: 42P01")
    [found] = health.handed_back(scratch, within=HOUR, times=3)
    assert (found.function_id, found.workspace_id, found.times) == (CAPTURE, "ws_test", 4)
    assert found.reason == "handed_back: 42P01"


def test_batches_that_came_back_before_one_was_done_are_forgotten(scratch: Connection) -> None:
    events = back_and_forth(scratch, 3, reason="handed_back: 42P01")
    end_run(scratch, begun_batch(scratch, events))
    assert health.handed_back(scratch, within=HOUR, times=3) == []
    for _ in range(3):
        settlement.hand_back(scratch, begun_batch(scratch, events), reason="handed_back: 42P01")
    assert [found.times for found in health.handed_back(scratch, within=HOUR, times=3)] == [3]


def test_batches_that_came_back_long_ago_are_forgotten(scratch: Connection) -> None:
    back_and_forth(scratch, 3, reason="handed_back: 42P01")
    scratch.execute(text("update event_batches set closed_at = closed_at - interval '2 hours'"))
    assert health.handed_back(scratch, within=HOUR, times=3) == []
    assert len(health.handed_back(scratch, within=3 * HOUR, times=3)) == 1


def test_orderly_shutdowns_are_nothing_going_in_circles(scratch: Connection) -> None:
    back_and_forth(scratch, 5, reason="handed_back: shutdown")
    assert health.handed_back(scratch, within=HOUR, times=3) == []


def test_nothing_goes_in_circles_once_its_events_have_ended(scratch: Connection) -> None:
    events = back_and_forth(scratch, 3, reason="handed_back: 42P01")
    end(scratch, *events)
    assert health.handed_back(scratch, within=HOUR, times=3) == []


@pytest.fixture
def captured(engine: Engine, workspace: str) -> Engine:
    token, _ = ready(engine, 2)
    capture(engine, token)
    with engine.begin() as connection:
        end_run(connection, token)
    return engine


def test_the_accounting_names_the_rule_that_does_not_hold(captured: Engine) -> None:
    with captured.begin() as connection:
        rules = health.accounting(connection)
        assert len(rules) > 10
        assert {rule.unexplained for rule in rules} == {0}
        assert max(rule.expected for rule in rules) >= 2
        connection.execute(text("delete from lightfast_workspace_neural_observations where id = 1"))
        broken = [rule for rule in health.accounting(connection) if rule.unexplained]
    assert [rule.unexplained for rule in broken] == [1]
    assert broken[0].rule.startswith("a captured execution has its observation")


def test_a_healthy_record_has_no_offenders(captured: Engine) -> None:
    with captured.begin() as connection:
        reads: list[Any] = [
            health.untaken_batches(connection, bound=0),
            health.unsettled_batches(connection, bound=0),
            health.runs_without_batch(connection),
            health.unrecorded_runs(connection, bound=0),
        ]
        assert [read.count for read in reads] == [0, 0, 0, 0]
        assert health.handed_back(connection, within=HOUR, times=1) == []


def test_who_holds_the_daemons_place_is_seen_by_others_and_only_on_that_database(
    engine: Engine, database: URL, server: Path
) -> None:
    with engine.connect() as connection:
        assert daemon_place_of(connection) is None
        with daemon_place(database) as place:
            holder = column(place, "select pg_backend_pid()")
            found = daemon_place_of(connection)
            assert found is not None
            assert [found.pid] == holder
            assert found.seconds is not None
            assert 0 <= found.seconds < 30
            connection.rollback()
        # The server notices a closed connection only after a while.
        until = time.monotonic() + 10
        while daemon_place_of(connection) is not None and time.monotonic() < until:
            connection.rollback()
            time.sleep(0.05)
        assert daemon_place_of(connection) is None
    with daemon_place(server_url(server, "postgres")), engine.connect() as connection:
        assert daemon_place_of(connection) is None


def test_missing_tables_are_named(scratch: Connection) -> None:
    assert health.tables_missing(scratch, "runs", "event_batches", "instance_info") == ["instance_info", "runs"]


def test_the_version_of_server_and_pgvector_is_told(scratch: Connection) -> None:
    version, vector = health.server_version(scratch)
    assert version[:2].isdigit()
    assert vector
