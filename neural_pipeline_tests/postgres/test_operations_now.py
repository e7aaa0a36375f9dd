"""Views of the work as it stands, and the rows behind the numbers of all views of operations."""

import json
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, Engine, RowMapping, text

from neural_pipeline.cli.main import run
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.metrics.catalogue import BY_NAME
from neural_pipeline.metrics.frames import Period, last_days, numbers_of
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline_tests.building import (
    CAPTURE,
    begun_batch,
    capture,
    column,
    end_run,
    open_batch,
    put_off,
    waiting,
    workspaces,
)
from neural_pipeline_tests.measured import PROFILE, SYNC, Ended, around, write_metrics

OURS = {function for function in FunctionId if function.startswith("neural.")}
IDLE = {"due": 0, "oldest_due_seconds": 0, "waiting_later": 0, "in_progress": 0, "oldest_in_progress_seconds": 0}
ANY_DAY = Period(date(2026, 3, 1), date(2026, 3, 2))
STUMBLED = Failure("embed", "it stumbled", "RuntimeError")
PLAN = """
SELECT id, inngest_function_id, name, error_message, created_at
FROM lightfast_workspace_workflow_runs
WHERE status = 'failed'
AND inngest_function_id LIKE 'neural.%'
AND created_at > NOW() - INTERVAL '24 hours'
"""


def lag(connection: Connection) -> dict[str, dict[str, Any]]:
    found = [dict(row) for row in connection.execute(text("select * from inbox_lag")).mappings()]
    return {row.pop("function_id"): row for row in found}


def since(connection: Connection, column_: str, event_id: int, seconds: int) -> None:
    """Have a moment of an event be so many seconds ago."""
    sql = f"update incoming_events set {column_} = now() - make_interval(secs => :seconds) where id = :id"
    connection.execute(text(sql), {"seconds": seconds, "id": event_id})


def test_where_nothing_waits_each_function_has_a_row_of_zeros(scratch: Connection) -> None:
    assert lag(scratch) == dict.fromkeys(OURS, IDLE)


def test_what_waits_is_due_or_put_off_and_what_has_begun_is_in_progress(scratch: Connection) -> None:
    workspaces(scratch, "ws_busy")
    due, later, assigned = waiting(scratch, 3)
    begun, over = waiting(scratch, 2, workspace_id="ws_busy")
    put_off(scratch, later)
    open_batch(scratch, [assigned])
    begun_batch(scratch, [begun, over])
    since(scratch, "due_at", due, 1_000)
    since(scratch, "due_at", assigned, 2_000)
    since(scratch, "begun_at", begun, 3_000)
    scratch.execute(
        text("update incoming_events set outcome = 'cancelled', outcome_at = now() where id = :id"), {"id": over}
    )
    found = lag(scratch)
    busy = found.pop(CAPTURE)
    assert found == dict.fromkeys(OURS - {CAPTURE}, IDLE)
    assert 2_000 <= busy.pop("oldest_due_seconds") < 2_100
    assert 3_000 <= busy.pop("oldest_in_progress_seconds") < 3_100
    assert busy == {"due": 2, "waiting_later": 1, "in_progress": 1}


def test_the_oldest_that_waits_may_be_on_no_batch(scratch: Connection) -> None:
    due, assigned = waiting(scratch, 2)
    open_batch(scratch, [assigned])
    since(scratch, "due_at", due, 500)
    assert 500 <= lag(scratch)[CAPTURE]["oldest_due_seconds"] < 600


def test_what_is_put_off_is_of_no_age(scratch: Connection) -> None:
    put_off(scratch, waiting(scratch, 1)[0])
    assert lag(scratch)[CAPTURE] == IDLE | {"waiting_later": 1}


def test_what_began_by_a_clock_ahead_of_ours_has_run_for_no_time(scratch: Connection) -> None:
    [event] = waiting(scratch, 1)
    begun_batch(scratch, [event])
    since(scratch, "begun_at", event, -600)
    assert lag(scratch)[CAPTURE] == IDLE | {"in_progress": 1}


def test_a_function_that_is_not_ours_has_a_row_while_it_has_something_to_do(scratch: Connection) -> None:
    scratch.execute(
        text("update incoming_events set function_id = :sync where id = any(:ids)"),
        {"sync": SYNC, "ids": waiting(scratch, 2)},
    )
    assert lag(scratch)[SYNC]["due"] == 2


def test_the_numbers_of_the_inbox_are_those_of_all_functions(scratch: Connection) -> None:
    due, other, later, begun = waiting(scratch, 4)
    put_off(scratch, later)
    begun_batch(scratch, [begun])
    scratch.execute(
        text("update incoming_events set function_id = :other where id = :id"), {"other": PROFILE, "id": other}
    )
    for event, seconds in ((due, 100), (other, 200)):
        since(scratch, "due_at", event, seconds)
    since(scratch, "begun_at", begun, 300)
    found = numbers_of(scratch, BY_NAME["inbox_lag"], ANY_DAY)
    assert 200 <= found.pop("inbox_oldest_due_seconds") < 300 <= found.pop("inbox_oldest_in_progress_seconds") < 400
    assert found == {"inbox_due": 2, "inbox_waiting_later": 1, "inbox_in_progress": 1}


def a_run(connection: Connection, name: str, status: str = "failed", *, hours_ago: float = 1, **columns: Any) -> int:
    born = """
    insert into lightfast_workspace_workflow_runs
      (clerk_org_id, workspace_id, inngest_run_id, inngest_function_id, name, trigger, created_at)
    values ('org_test', 'ws_test', :name, :function, :name, 'webhook', now() - :hours * interval '1 hour') returning id
    """
    values = {"name": name, "function": columns.pop("function", CAPTURE), "hours": hours_ago}
    id_ = int(connection.execute(text(born), values).scalar_one())
    moved = """
    update lightfast_workspace_workflow_runs set status = cast(:status as text), attempt = 2, cause = 'timeout',
      completed_at = case when :status not in ('queued', 'running') then now() end, error_message = 'no ' || name,
      output = jsonb_build_object('inngestFunctionId', inngest_function_id, 'step', 'embed')
    where id = :id
    """
    connection.execute(text(moved), {"id": id_, "status": status})
    return id_


def failed(connection: Connection, *columns: str) -> list[tuple[Any, ...]]:
    sql = f"select {', '.join(columns)} from failed_runs_last_24h order by id"
    return [tuple(row) for row in connection.execute(text(sql))]


def test_runs_accepted_within_24_hours_that_failed_are_listed_whatever_their_function(scratch: Connection) -> None:
    ours = a_run(scratch, "ours", hours_ago=23.9)
    sync = a_run(scratch, "sync", function=SYNC)
    a_run(scratch, "old", hours_ago=24.1)
    for status in ("queued", "running", "completed", "cancelled"):
        a_run(scratch, status, status)
    assert failed(scratch, "id", "function_id") == [(ours, CAPTURE), (sync, SYNC)]
    assert numbers_of(scratch, BY_NAME["failed_runs_last_24h"], ANY_DAY) == {
        "failed_runs_24h": 2,
        "failed_workspaces_24h": 1,
    }


def test_those_of_neural_functions_are_what_the_query_of_the_plan_gives(scratch: Connection) -> None:
    for hours_ago, function in ((1, CAPTURE), (2, PROFILE), (3, SYNC), (30, CAPTURE)):
        a_run(scratch, f"run {hours_ago}", hours_ago=hours_ago, function=function)
    driver: Any = scratch.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute(PLAN)
        answer = sorted(cursor.fetchall())
    ours = failed(scratch, "id", "function_id", "name", "error_message", "created_at")
    assert [row for row in ours if row[1] != SYNC] == answer
    assert len(answer) == 2


def test_a_failed_run_says_which_step_failed_why_and_after_how_many_attempts(scratch: Connection) -> None:
    a_run(scratch, "it")
    [row] = failed(scratch, "execution_id", "workspace_id", "error_message", "cause", "step", "attempt")
    assert row == ("it", "ws_test", "no it", "timeout", "embed", 2)


class Today(NamedTuple):
    """A database, and the day on which what is in it ended."""

    engine: Engine
    day: Period


@pytest.fixture
def today(engine: Engine, workspace: str) -> Today:
    """Three captures have ended, two of them failed, and one waits; others ended at the ends of the day and around."""
    with engine.begin() as connection:
        events = waiting(connection, 3)
        token = begun_batch(connection, events)
    capture(engine, token, but=dict.fromkeys(events[:2], STUMBLED))
    today = last_days(1, now=datetime.now(UTC))
    begin, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in today)
    moments = [*around(begin), *around(end), begin - timedelta(days=40)]
    ended = [Ended(at=at, function=SYNC, queue_ms=1, documents=7) for at in moments]
    ended += [Ended(at=at, outcome=outcome) for at in moments for outcome in ("failed", "cancelled")]
    with engine.begin() as connection:
        end_run(connection, token)
        write_metrics(connection, [metric for one in ended for metric in one.metrics()])
        waiting(connection, 1, prefix="late")
    return Today(engine, today)


def behind(connection: Connection, name: str, day: Period) -> Sequence[RowMapping]:
    sql = BY_NAME[name].rows_behind.format(since=day.since, until=day.until)
    return connection.execute(text(sql)).mappings().all()


COUNTED: dict[str, str] = {
    "job_statistics": "select sum(ended) from job_statistics where day = :day",
    "errors_by_cause": "select sum(errors) from errors_by_cause where day = :day",
    "duration_percentiles": "select sum(runs) from duration_percentiles where day = :day and measure = 'total'",
    "hourly_series": "select sum(completed + failed + cancelled) from hourly_series",
    "inbox_lag": "select sum(due + waiting_later + in_progress) from inbox_lag",
    "documents_indexed": "select sum(synchronisations) from documents_indexed where day = :day",
}


def test_the_rows_behind_a_view_are_those_it_counts(today: Today) -> None:
    with today.engine.begin() as connection:
        connection.execute(text("set local time zone 'Pacific/Auckland'"))
        shown = {name: behind(connection, name, today.day) for name in COUNTED}
        counted = {name: column(connection, sql, day=today.day.since)[0] for name, sql in COUNTED.items()}
    assert {name: len(rows) for name, rows in shown.items()} == counted
    assert min(counted.values()) > 0
    ended = {row["timestamp"].astimezone(UTC).date() for name in COUNTED if BY_NAME[name].by_day for row in shown[name]}
    assert ended == {today.day.since}


def test_the_rows_behind_errors_lead_to_the_runs_that_failed(today: Today) -> None:
    with today.engine.begin() as connection:
        shown = {row["run_id"] for row in behind(connection, "errors_by_cause", today.day)}
        runs = {row for [row] in failed(connection, "id")}
    assert (shown - {None}, len(runs)) == (runs, 2)


def test_the_rows_behind_the_inbox_are_those_that_have_not_ended(today: Today) -> None:
    with today.engine.begin() as connection:
        shown = [row["run_id"] for row in behind(connection, "inbox_lag", today.day)]
        open_ = "select id from lightfast_workspace_workflow_runs where status in ('queued', 'running') order by id"
        assert sorted(shown) == column(connection, open_)


Neural = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def neural(database: object, capsys: pytest.CaptureFixture[str]) -> Neural:
    def call(command: str) -> list[dict[str, Any]]:
        assert run([*shlex.split(command)[1:], "--json"]) == 0
        return json.loads(capsys.readouterr().out)["items"]

    return call


def test_the_command_behind_the_failed_runs_lists_them(today: Today, neural: Neural) -> None:
    with today.engine.begin() as connection:
        a_run(connection, "old", hours_ago=24.5)
        expected = [row for [row] in failed(connection, "id")]
    shown = neural(BY_NAME["failed_runs_last_24h"].rows_behind)
    assert sorted(row["id"] for row in shown) == expected
