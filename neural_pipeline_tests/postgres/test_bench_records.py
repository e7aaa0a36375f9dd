"""What the benchmark of `neural up` makes in a database and reads from it: a past that adds up, sizes, moments."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine

from neural_pipeline.store.sql import rows, run, scalar
from neural_pipeline_tests.benchmarks.fast.events import BEGIN
from neural_pipeline_tests.benchmarks.fast.own_growth import make_past, require_adding_up
from neural_pipeline_tests.benchmarks.fast.own_record import (
    forget_everything,
    intakes_since,
    moments_since,
    record_of,
    storage_since,
)
from neural_pipeline_tests.benchmarks.fast.own_telling import Trouble
from neural_pipeline_tests.building import receipt, take_in, workspaces

PAST = 200
TABLES = (
    "raw_payloads",
    "incoming_events",
    "lightfast_workspace_workflow_runs",
    "lightfast_workspace_neural_observations",
    "lightfast_workspace_neural_entities",
)
INDEXES = "select indexdef from pg_indexes where schemaname = 'public' order by 1"


@pytest.fixture
def past(engine: Engine) -> Engine:
    with engine.begin() as connection:
        workspaces(connection, "ws_one", "ws_two")
    make_past(engine, PAST)
    return engine


def test_a_past_has_as_many_rows_of_each_kind_as_were_asked_for(past: Engine) -> None:
    with past.begin() as connection:
        assert {table: scalar(connection, f"select count(*) from {table}") for table in TABLES} == dict.fromkeys(
            TABLES, PAST
        )


def test_a_past_is_in_all_workspaces_and_ends_before_the_events_of_the_contest_begin(past: Engine) -> None:
    with past.begin() as connection:
        found = rows(
            connection,
            "select workspace_id, count(*), max(occurred_at) as last from lightfast_workspace_neural_observations"
            " group by 1",
        )
    assert {row["workspace_id"]: row["count"] for row in found} == {"ws_one": PAST // 2, "ws_two": PAST // 2}
    assert all(BEGIN - timedelta(hours=1) < row["last"] < BEGIN for row in found)


def test_making_a_past_leaves_the_indexes_as_they_were(engine: Engine) -> None:
    with engine.begin() as connection:
        before = rows(connection, INDEXES)
        workspaces(connection, "ws_one")
    make_past(engine, 10)
    with engine.begin() as connection:
        assert rows(connection, INDEXES) == before


def test_events_after_a_past_get_ids_of_their_own(past: Engine) -> None:
    with past.begin() as connection:
        [admission] = take_in(connection, receipt(workspace_id="ws_one"))
    assert admission.event_id is not None
    assert admission.event_id > PAST


def test_a_past_that_does_not_add_up_is_trouble(past: Engine) -> None:
    with past.begin() as connection:
        require_adding_up(connection)
        run(connection, "delete from lightfast_workspace_neural_observations where id = 7")
        with pytest.raises(Trouble, match="a captured execution has its observation"):
            require_adding_up(connection)


def test_what_is_forgotten_is_gone_but_its_ids_are_not_given_again(past: Engine) -> None:
    forget_everything(past)
    with past.begin() as connection:
        assert scalar(connection, "select count(*) from incoming_events") == 0
        workspaces(connection, "ws_one")
        [admission] = take_in(connection, receipt(workspace_id="ws_one"))
    assert admission.event_id is not None
    assert admission.event_id > PAST


def test_only_what_was_handed_in_since_counts(connection: Connection, workspace: str) -> None:
    now = datetime.now(UTC)
    take_in(connection, receipt("d-1", received_at=now))
    before = record_of(connection)
    take_in(connection, *(receipt(f"d-{number}", received_at=now - timedelta(seconds=number)) for number in (2, 3, 4)))
    found = intakes_since(connection, before)
    assert (found["chunks"], found["received"]) == (1, 3)
    assert 4 <= found["working"] < 60
    assert 2 <= found["database"] < found["working"]
    moments = moments_since(connection, before)
    assert (moments["captures"], moments["children"], moments["not_completed"]) == (3, 0, 3)


def test_storage_is_told_per_event_with_the_tables_that_grew_most(engine: Engine) -> None:
    with engine.begin() as connection:
        before = record_of(connection)
        workspaces(connection, "ws_one")
    make_past(engine, PAST)
    with engine.begin() as connection:
        grown = storage_since(before, record_of(connection), events=PAST)
    assert grown["bytes_per_event"] > 500
    assert grown["wal_bytes_per_event"] > 500
    assert "bytes_per_event.lightfast_workspace_neural_observations" in grown
