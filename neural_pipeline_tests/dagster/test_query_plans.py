"""What is done for a batch touches as much of the database as the batch needs, however large the record has grown.

Blocks and rows are counted, not times: they are the same on every machine. Views and pages: `postgres.test_view_plans`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store import announcements, batches, leases, lifecycle
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.runs import Cursor, RunFilter, find_run, list_runs
from neural_pipeline_tests.building import CAPTURE, column, workspaces
from neural_pipeline_tests.dagster.hot_path import SETTINGS, HotPath
from neural_pipeline_tests.dagster.launching import Site
from neural_pipeline_tests.explaining import Explained, Log, explaining
from neural_pipeline_tests.grown import GROWN, WORKSPACES, grow, moment_of, newest_person, wait
from neural_pipeline_tests.postgres.test_plan_queries import FAILED, HISTORY

SMALL, LARGE, EVENTS, WAITING = 6_000, 60_000, 50, 5_000
ROWS_PER_EVENT = 20
"""An event has a few children, entities and metrics, and what is found by a key is found a few times."""

INBOX = {"incoming_events", "event_batches", "batch_workspaces"}
PAGE = 50


@dataclass(frozen=True)
class Record:
    """A record ten times as large as another, and what batches of the same size touched in each."""

    engine: Engine
    few: Log
    many: Log
    partial: set[str]


@pytest.fixture(scope="module")
def record(server: Path, template: str) -> Iterator[Record]:
    admin = server_url(server, "postgres")
    small, large = (engine_for(server_url(server, name)) for name in ("grown_small", "grown_large"))
    create_database(admin, "grown_small", template=template)
    with small.begin() as connection:
        workspaces(connection, *(f"ws_{n}" for n in range(WORKSPACES)))
        partial = column(connection, "select indexrelid::regclass::text from pg_index where indpred is not null")
    grow(small, 0, through=SMALL)
    small.dispose()
    create_database(admin, "grown_large", template="grown_small")
    grow(large, SMALL, through=LARGE)
    yield Record(large, touched(small, SMALL), touched(large, LARGE), set(partial))
    for engine in (small, large):
        engine.dispose()
        drop_database(admin, str(engine.url.database))


def touched(engine: Engine, executions: int) -> Log:
    """Explain all that is done for batches after so many executions."""
    wait(engine, WAITING)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance, explaining(engine) as log:
        patch.setenv("DATABASE_URL", engine.url.render_as_string(hide_password=False))
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        path = HotPath(
            Site(engine, instance), "new", moment_of(executions), lambda n: newest_person(executions, workspace=n)
        )
        for log.step in path.steps(EVENTS):
            pass
    return log


def explained(engine: Engine, ask: Callable[[Connection], object]) -> list[Explained]:
    """Explain what is asked."""
    with explaining(engine) as log, engine.connect() as connection, connection.begin() as transaction:
        ask(connection)
        transaction.rollback()
    return log.of("")


def too_many_rows(statements: list[Explained], *, at_most: int) -> list[str]:
    return [f"{one.rows_of(GROWN)} rows: {one}" for one in statements if one.rows_of(GROWN) > at_most]


def test_nothing_that_is_done_for_a_batch_reads_a_table_as_a_whole(record: Record) -> None:
    statements = record.many.of_all_steps()
    assert [whole for one in statements for whole in one.reads_whole(GROWN, partial=record.partial)] == []


def test_nothing_that_is_done_for_a_batch_looks_at_more_rows_than_its_events_need(record: Record) -> None:
    assert too_many_rows(record.many.of_all_steps(), at_most=ROWS_PER_EVENT * EVENTS) == []


def test_a_batch_touches_no_more_blocks_when_the_record_is_ten_times_as_large(record: Record) -> None:
    few, many = record.few.of_all_steps(), record.many.of_all_steps()
    assert [one.statement for one in few] == [one.statement for one in many]
    grown = [
        f"{before.buffers} -> {after.buffers}: {after}"
        for before, after in zip(few, many, strict=True)
        # One more level of an index is a third more of it, and no more than one is added.
        if after.buffers > 1.5 * before.buffers + 30
    ]
    assert grown == []
    assert sum(one.buffers for one in many) < 1.3 * sum(one.buffers for one in few)


@pytest.mark.parametrize("step", ["assignment", "profiles: assignment", "summaries: assignment"])
def test_work_is_assigned_without_a_look_at_what_is_done(record: Record, step: str) -> None:
    used = {index for one in record.many.seen[step] for index in one.indexes_on(INBOX)}
    assert {"incoming_event_waiting_idx", "batch_workspace_held_idx"} <= used
    assert used <= record.partial | {f"{table}_pkey" for table in INBOX}


WAITERS: dict[str, Callable[[Connection], object]] = {
    "what is due, and when": lambda connection: announcements.look_for_due(connection, list(FunctionId)),
    "batches that are not closed": leases.unfinished_batches,
    "batches that are running": announcements.running_batches,
    "batches that nobody has taken": lambda connection: batches.open_batches(connection, function_id=CAPTURE),
}


@pytest.mark.parametrize("name", WAITERS)
def test_whoever_waits_for_work_looks_at_nothing_that_is_done(record: Record, name: str) -> None:
    explained(record.engine, WAITERS[name])  # whoever looks first clears the index of what has gone since
    statements = explained(record.engine, WAITERS[name])
    assert {index for one in statements for index in one.indexes_on(INBOX)} <= record.partial
    assert [whole for one in statements for whole in one.reads_whole(INBOX, partial=record.partial)] == []
    assert sum(one.buffers for one in statements) < 100


def page(**wanted: str) -> Callable[[Connection], object]:
    return lambda connection: list_runs(connection, RunFilter(**wanted), limit=PAGE)


def next_page(**wanted: str) -> Callable[[Connection], object]:
    middle = Cursor(moment_of(LARGE // 2), LARGE // 2)
    return lambda connection: list_runs(connection, RunFilter(**wanted), limit=PAGE, after=middle)


def query(sql: str) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(text(sql.strip().rstrip(";"))).all()


READS = {
    "the first page": page(),
    "a page in the middle": next_page(),
    "a page of what is completed": next_page(status="completed"),
    "a page of what has failed": next_page(status="failed"),
    "a page of a function": next_page(function_id=CAPTURE),
    "a page of a workspace": next_page(workspace_id="ws_3"),
    "a page of a function in a workspace": next_page(workspace_id="ws_3", function_id=CAPTURE),
    "a run by its id": lambda connection: find_run(connection, str(LARGE // 2)),
    "a run by the id of its execution": lambda connection: find_run(connection, "waits-1"),
    "the plan's failed runs of a day": query(FAILED),
    "the plan's history of a workspace": query(HISTORY.replace("ws_xxx", "ws_3")),
}


@pytest.mark.parametrize("name", READS)
def test_a_page_takes_no_more_than_what_it_shows(record: Record, name: str) -> None:
    """The plan's third query is an average of everything: it reads everything."""
    statements = explained(record.engine, READS[name])
    assert too_many_rows(statements, at_most=20 * PAGE) == []
    assert sum(one.buffers for one in statements) < 10 * PAGE


def test_a_missing_index_is_noticed(record: Record) -> None:
    def without(connection: Connection) -> None:
        connection.execute(text("drop index job_event_idx"))
        lifecycle.record_events(connection, [LARGE + 1])

    [one] = explained(record.engine, without)
    assert one.reads_whole(GROWN, partial=record.partial)


def test_looking_at_everything_that_waits_is_noticed(record: Record) -> None:
    sql = "select name from lightfast_workspace_workflow_runs where status in ('queued', 'running') and batch_id = 7"
    [one] = explained(record.engine, query(sql))
    assert one.reads_whole(GROWN, partial=record.partial) == []
    assert one.rows_of(GROWN) > ROWS_PER_EVENT * EVENTS
