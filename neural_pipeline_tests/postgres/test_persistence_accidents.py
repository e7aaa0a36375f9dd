"""The store step of a capture run when circumstances are against it: lost answers, lost connections, lost batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches
from neural_pipeline.store.batches import BatchLost, Token
from neural_pipeline.store.capture_inputs import known_source_ids
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.workflows.batch_work.claiming import Claim
from neural_pipeline.workflows.observation_capture.job import DecidedBatch, store
from neural_pipeline.workflows.observation_capture.loading import Loaded
from neural_pipeline.workflows.observation_capture.verdicts import Decisions
from neural_pipeline_tests.building import (
    CAPTURE,
    LIMITS,
    batch_of,
    begun_batch,
    belongings,
    column,
    decided,
    end_run,
    event_of,
    examined,
    keep,
    kept,
    ready,
    waiting,
    workspaces,
)

OBSERVATIONS = "lightfast_workspace_neural_observations"


@contextmanager
def lost_answers(engine: Engine, how_many: int) -> Iterator[None]:
    """Commits arrive, but their answers get lost."""
    left = how_many

    def commit(connection: Connection) -> None:
        nonlocal left
        if left:
            left -= 1
            driver: Any = connection.connection.driver_connection
            driver.commit()
            raise OperationalError("commit", None, Exception("server closed the connection unexpectedly"))

    event.listen(engine, "commit", commit)
    yield
    event.remove(engine, "commit", commit)


def test_a_commit_that_went_unanswered_doubles_nothing(engine: Engine, workspace: str) -> None:
    token, seen = ready(engine, 4)
    with lost_answers(engine, 1):
        report = keep(engine, token, seen, chunk=2)
    assert (report.outcomes, report.repeats) == ({"captured": 4}, 1)
    assert kept(engine) == belongings(4)
    with engine.begin() as connection:
        end_run(connection, token)
        runs = column(connection, "select status from lightfast_workspace_workflow_runs where batch_id is not null")
    assert runs == ["completed"] * 4


def trip_once(connection: Connection, table: str, action: str) -> None:
    """Have the first row written to a table do something to its session; a sequence remembers that it did."""
    connection.execute(text("create sequence tries"))
    body = f"begin if nextval('tries') = 1 then {action}; end if; return new; end"
    connection.execute(text(f"create function trip() returns trigger language plpgsql as $$ {body} $$"))
    connection.execute(text(f"create trigger trip before insert on {table} for each row execute function trip()"))


ACCIDENTS = {
    "deadlock": "raise 'accident' using errcode = 'deadlock_detected'",
    "serialisation": "raise 'accident' using errcode = 'serialization_failure'",
    "lock timeout": "raise 'accident' using errcode = 'lock_not_available'",
    "lost connection": "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1)",
}


@pytest.mark.parametrize("table", [OBSERVATIONS, "observation_vectors"])
@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_chunk_that_circumstances_threw_back_is_repeated_and_no_attempt_is_spent(
    engine: Engine, workspace: str, accident: str, table: str
) -> None:
    token, seen = ready(engine, 3)
    with engine.begin() as connection:
        trip_once(connection, table, ACCIDENTS[accident])
    report = keep(engine, token, seen)
    assert (report.outcomes, report.repeats) == ({"captured": 3}, 1)
    assert kept(engine) == belongings(3)
    with engine.begin() as connection:
        assert {event_of(connection, item.event.id)["attempt"] for item in seen} == {1}


@contextmanager
def counted_statements(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    yield statements
    event.remove(engine, "before_cursor_execute", count)


def test_a_chunk_takes_the_same_number_of_statements_whatever_its_size(engine: Engine) -> None:
    taken: list[int] = []
    for name, size in (("ws_small", 2), ("ws_large", 60)):
        with engine.begin() as connection:
            workspaces(connection, name)
        token, seen = ready(engine, size, workspace_id=name)
        with counted_statements(engine) as statements:
            keep(engine, token, seen)
        taken.append(len(statements))
    assert taken[0] == taken[1] <= 15


def test_taking_in_takes_the_same_number_of_statements_whatever_the_size(engine: Engine, workspace: str) -> None:
    taken: list[int] = []
    for size in (2, 60):
        with counted_statements(engine) as statements, engine.begin() as connection:
            waiting(connection, size, prefix=f"of-{size}")
        taken.append(len(statements))
    assert taken[0] == taken[1] <= 8


@contextmanager
def given_up_after(engine: Engine, token: Token, commits: int) -> Iterator[None]:
    """Somebody settles the batch as soon as the run has committed so many times."""
    left = commits

    def commit(_: Connection) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            with engine.begin() as connection:
                end_run(connection, token, RunEnd.FAILURE)

    event.listen(engine, "begin", commit)
    yield
    event.remove(engine, "begin", commit)


def test_an_event_is_no_duplicate_of_its_own_observation(engine: Engine, workspace: str) -> None:
    token, seen = ready(engine, 1)
    keep(engine, token, seen)
    [own] = seen
    source_id = own.event.source_event.source_id
    with engine.begin() as connection:
        [other] = waiting(connection, 1, workspace_id=workspace, prefix="other")
        keys = [(own.event.id, workspace, source_id), (other, workspace, source_id)]
        assert known_source_ids(connection, keys) == {other}


def test_a_run_that_lost_its_batch_stops_where_it_is(engine: Engine, workspace: str) -> None:
    token, seen = ready(engine, 6)
    with given_up_after(engine, token, 1), pytest.raises(BatchLost):
        keep(engine, token, seen, chunk=2)
    assert kept(engine) == belongings(2) | {"metrics": 2 * 5 + 2}
    with engine.begin() as connection:
        assert [event_of(connection, item.event.id)["losses"] for item in seen] == [0, 0, 1, 1, 1, 1]


def test_the_store_op_counts_the_write_that_the_fence_turned_away(
    engine: Engine, workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path))
    token, seen = ready(engine, 2)
    with engine.begin() as connection:
        end_run(connection, token, RunEnd.FAILURE)
    loaded = Loaded(Claim(token, float("inf")), tuple(item.event for item in seen))
    batch = DecidedBatch(loaded, Decisions(seen, decided(seen), {}))
    with pytest.raises(dg.Failure, match="no longer belongs to run run-1"):
        store(dg.build_op_context(), batch=batch, pipeline=Pipeline())
    with engine.begin() as connection:
        assert batch_of(connection, token.batch_id)["stale_writes"] == 1
        assert column(connection, f"select id from {OBSERVATIONS}") == []


def test_a_workspace_is_let_go_with_its_last_outcome_and_not_before(engine: Engine) -> None:
    with engine.begin() as connection:
        workspaces(connection, "ws_a", "ws_b")
        first = waiting(connection, 2, workspace_id="ws_a")
        connection.execute(text("update incoming_events set received_at = received_at - interval '1 day'"))
        second = waiting(connection, 2, workspace_id="ws_b")
        token = begun_batch(connection, first + second)
        seen = examined(connection, token)
    held: list[list[str]] = []

    def look(connection: Connection) -> None:
        sql = "select workspace_id from batch_workspaces where closed_at is null order by 1"
        held.append(column(connection, sql))

    event.listen(engine, "commit", look)
    keep(engine, token, seen, chunk=1)
    event.remove(engine, "commit", look)
    assert held == [["ws_a", "ws_b"], ["ws_b"], ["ws_b"], []]


def test_events_of_a_batch_and_one_by_one_leave_the_same_observations(engine: Engine) -> None:
    for name, chunk in (("ws_a", 100), ("ws_b", 1)):
        with engine.begin() as connection:
            workspaces(connection, name)
        token, seen = ready(engine, 5, workspace_id=name)
        keep(engine, token, seen, chunk=chunk)
    with engine.begin() as connection:
        sql = f"select source_id, title, topics from {OBSERVATIONS} where workspace_id = :name order by id"
        left, right = (connection.execute(text(sql), {"name": name}).all() for name in ("ws_a", "ws_b"))
        assert left == right
        sql = "select observation_count from lightfast_workspace_observation_clusters order by id"
        assert column(connection, sql) == [5, 5]


def test_the_next_batch_of_a_workspace_can_be_assigned_once_its_last_event_is_stored(
    engine: Engine, workspace: str
) -> None:
    token, seen = ready(engine, 2)
    with engine.begin() as connection:
        next_events = waiting(connection, 1, prefix="next")
    keep(engine, token, seen)
    with engine.begin() as connection:
        assert len(batches.assign(connection, function_id=CAPTURE, limits=LIMITS)) == 1
        assert event_of(connection, next_events[0])["batch_id"] != token.batch_id
