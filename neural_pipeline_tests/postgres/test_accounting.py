"""`event_accounting`: nothing is unexplained after honest work, and no record can lose a row unnoticed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store.inbox import append
from neural_pipeline_tests.building import (
    begun_batch,
    capture,
    column,
    end_run,
    open_batch,
    receipt,
    take_in,
    waiting,
    workspaces,
)
from neural_pipeline_tests.debouncing import child

RUNS = "lightfast_workspace_workflow_runs"
OBSERVATIONS = "lightfast_workspace_neural_observations"
FIRST_OF = "where id = (select min(id) from {table} where {condition})"


@pytest.fixture(scope="module")
def world(server: Path, template: str) -> Iterator[Engine]:
    """Everything that can be: captured, refused and duplicate payloads, a batch that waits and one that runs."""
    create_database(server_url(server, "postgres"), "accounting", template=template)
    engine = create_engine(server_url(server, "accounting"))
    with engine.begin() as connection:
        workspaces(connection, "ws_test", "ws_open", "ws_running")
        done = begun_batch(connection, waiting(connection, 3))
        take_in(connection, receipt("e-0"), receipt("refused", judgement=Judgement("invalid", reason="not JSON")))
        waiting(connection, 1, prefix="still-waits")
        append(connection, [child("github:1", "overtaken"), child("github:1", "newer")])
        open_batch(connection, waiting(connection, 2, workspace_id="ws_open"))
        running = begun_batch(connection, waiting(connection, 2, workspace_id="ws_running"), run_id="run-2")
    capture(engine, done)
    with engine.begin() as connection:
        end_run(connection, done)
    assert running.run_id == "run-2"
    yield engine
    engine.dispose()


@pytest.fixture
def books(world: Engine) -> Iterator[Connection]:
    """A transaction in that world which is rolled back."""
    with world.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


def unexplained(connection: Connection) -> dict[str, int]:
    found = connection.execute(text("select rule, unexplained from event_accounting where unexplained <> 0"))
    return {rule: int(count) for rule, count in found}


def lose_one(connection: Connection, table: str, condition: str) -> None:
    where = FIRST_OF.format(table=table, condition=condition)
    assert connection.execute(text(f"delete from {table} {where}")).rowcount == 1


RUNNING = "a running workflow run is worked on by a running batch"
"""Nothing runs when all work is done."""


def test_honest_work_leaves_nothing_unexplained_and_every_rule_has_something_to_check(books: Connection) -> None:
    assert unexplained(books) == {}
    assert column(books, "select rule from event_accounting where expected = 0") == [RUNNING]
    assert column(books, "select rule from event_accounting where expected <> found") == []


@pytest.mark.parametrize(
    ("table", "condition"),
    [
        ("intakes", "accepted > 0"),
        ("intakes", "invalid > 0"),
        ("raw_payloads", "disposition = 'accepted'"),
        ("raw_payloads", "disposition = 'duplicate'"),
        ("raw_payloads", "disposition = 'invalid'"),
        ("incoming_events", "outcome = 'completed'"),
        ("incoming_events", "parent_event_id is not null"),
        ("incoming_events", "raw_payload_id is not null and batch_id is null"),
        (RUNS, "status = 'completed'"),
        (RUNS, "status = 'queued' and event_id in (select id from incoming_events where batch_id is null)"),
        ("event_batches", "state = 'open'"),
        ("event_batches", "state = 'running'"),
        (OBSERVATIONS, "true"),
    ],
)
def test_a_lost_row_is_missed(books: Connection, table: str, condition: str) -> None:
    lose_one(books, table, condition)
    assert sum(unexplained(books).values()) > 0


@pytest.mark.parametrize("state", ["open", "running"])
def test_a_lost_hold_on_a_workspace_is_missed(books: Connection, state: str) -> None:
    sql = "delete from batch_workspaces where batch_id = (select id from event_batches where state = :state)"
    assert books.execute(text(sql), {"state": state}).rowcount == 1
    assert list(unexplained(books)) == ["an open batch holds the workspaces of its unfinished executions"]


def test_a_hold_that_was_closed_too_early_is_missed(books: Connection) -> None:
    books.execute(text("update batch_workspaces set closed_at = now() where workspace_id = 'ws_open'"))
    assert list(unexplained(books)) == ["an open batch holds the workspaces of its unfinished executions"]


def test_a_batch_closed_over_unfinished_events_is_noticed(books: Connection) -> None:
    books.execute(text("update event_batches set state = 'closed' where state = 'running'"))
    assert list(unexplained(books)) == ["an unfinished execution on a batch has that batch, and it is open"]


ENDED = "a workflow run has ended as its execution has, or is still to be recorded"


@pytest.mark.parametrize("outcome", ["cancelled", "failed"])
def test_a_row_that_says_something_else_than_its_fact_is_noticed(books: Connection, outcome: str) -> None:
    where = FIRST_OF.format(table="incoming_events", condition="outcome = 'completed'")
    sql = f"update incoming_events set outcome = :outcome, error_message = 'no' {where}"
    books.execute(text(sql), {"outcome": outcome})
    assert unexplained(books) == {ENDED: 1}


def test_a_finished_row_whose_event_has_no_outcome_is_noticed(books: Connection) -> None:
    sql = f"update {RUNS} set status = 'cancelled', completed_at = now() {FIRST_OF}"
    books.execute(text(sql.format(table=RUNS, condition="status = 'queued'")))
    assert unexplained(books) == {ENDED: 1}


def test_an_outcome_that_nobody_recorded_is_noticed_once_its_batch_is_closed(books: Connection) -> None:
    sql = """
    update incoming_events set outcome = 'cancelled', outcome_at = now() where batch_id =
      (select id from event_batches where state = 'running')
    """
    books.execute(text(sql))
    assert unexplained(books) == {}
    books.execute(text("update event_batches set state = 'closed' where state = 'running'"))
    assert unexplained(books) == {ENDED: 2}


def test_an_observation_that_no_execution_claims_is_noticed(books: Connection) -> None:
    books.execute(
        text(f"update {OBSERVATIONS} set event_id = -1 {FIRST_OF}".format(table=OBSERVATIONS, condition="true"))
    )
    assert sorted(unexplained(books).values()) == [1, 1]


def test_what_retention_removed_and_counted_is_explained(books: Connection) -> None:
    lose_one(books, "raw_payloads", "disposition = 'invalid'")
    assert unexplained(books) == {"payloads handed in are kept, each with its disposition": 1}
    books.execute(text("insert into pruned_counters values ('raw_payloads/invalid', current_date, 1)"))
    assert unexplained(books) == {}


def test_a_disposition_that_was_changed_afterwards_is_noticed(books: Connection) -> None:
    books.execute(text("update raw_payloads set disposition = 'unsupported' where disposition = 'invalid'"))
    assert unexplained(books) == {"payloads handed in are kept, each with its disposition": 2}


def test_a_running_row_whose_execution_waits_is_noticed(books: Connection) -> None:
    books.execute(
        text("""
        update lightfast_workspace_workflow_runs set status = 'running', started_at = now()
        where id = (select min(id) from lightfast_workspace_workflow_runs where status = 'queued')""")
    )
    assert unexplained(books) == {RUNNING: 1}


STOOD_FOR = "a superseded execution has the newer one that stands for it"


def test_an_execution_that_gave_way_to_nothing_is_noticed(books: Connection) -> None:
    newer = "(select superseded_by from incoming_events where outcome = 'superseded')"
    books.execute(text(f"delete from {RUNS} where event_id = {newer}"))
    books.execute(text(f"delete from incoming_events where id = {newer}"))
    assert unexplained(books) == {STOOD_FOR: 1}


def test_a_link_to_another_run_than_the_one_that_stands_for_it_is_noticed(books: Connection) -> None:
    books.execute(text(f"update {RUNS} set superseded_by = id where superseded_by is not null"))
    assert unexplained(books) == {STOOD_FOR: 1}


def test_a_summary_that_was_never_asked_for_is_noticed(books: Connection) -> None:
    child = "(select min(id) from incoming_events where function_id = 'neural.cluster.summary')"
    books.execute(text(f"delete from lightfast_workspace_workflow_runs where event_id = {child}"))
    books.execute(text(f"delete from incoming_events where id = {child}"))
    assert unexplained(books) == {"a captured execution has asked for a summary of its cluster": 1}
