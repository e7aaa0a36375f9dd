"""Migration 0003 folds the children that waited before there was a debounce: one per workspace, function and key."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.migrate import upgrade
from neural_pipeline.store.summaries import unexplained
from neural_pipeline_tests.building import event_of, run_of, waiting, workspaces
from neural_pipeline_tests.debouncing import (
    EXTRACTION,
    PROFILE,
    SUMMARY,
    assert_superseded,
    news,
    seconds_until,
    waiting_about,
)
from neural_pipeline_tests.former_schema import database_at
from neural_pipeline_tests.replaying import replay_event

LONG = "\u00e9" * 400


@dataclass(frozen=True)
class Folded:
    """A database brought up from 0002, and the events that had been waiting in it, by name."""

    engine: Engine
    ids: dict[str, int]


@pytest.fixture(scope="module")
def folded(server: Path) -> Iterator[Folded]:
    with database_at(server, "0002") as engine:
        with engine.begin() as connection:
            ids = before(connection)
        assert upgrade(engine) is True
        yield Folded(engine, ids)


@pytest.fixture
def connection(folded: Folded) -> Iterator[Connection]:
    """A transaction in that database which is rolled back."""
    with folded.engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@pytest.fixture
def ids(folded: Folded) -> dict[str, int]:
    return folded.ids


def before(connection: Connection) -> dict[str, int]:
    """Fill the inbox as the program of 0002 did: children wait from the moment they are asked for."""
    workspaces(connection, "ws_test", "ws_other")
    # So that no run has the id of its event by chance.
    connection.execute(text("select setval(pg_get_serial_sequence('lightfast_workspace_workflow_runs', 'id'), 70000)"))
    named = {
        f"{subject} {function_id} {n}": ask(connection, subject, f"{subject[:9]}-{n}", function_id=function_id)
        for n in range(3)
        for function_id, subject in ((PROFILE, "github:1"), (SUMMARY, "12"), (EXTRACTION, "o1"), (PROFILE, LONG))
    }
    named["elsewhere"] = ask(connection, "github:1", "elsewhere", workspace_id="ws_other")
    named["cancelled"] = ask(connection, "github:2", "cancelled")
    cancel_event(connection, named["cancelled"], by="ada")
    named["replayed"] = replay_event(connection, named["cancelled"])
    named["older, appended later"] = ask(connection, "12", "late", function_id=SUMMARY)
    sql = "update incoming_events set received_at = received_at - :day where id = :id"
    connection.execute(text(sql), {"day": timedelta(days=1), "id": named["older, appended later"]})
    [named["capture"]] = waiting(connection, 1)
    return named


def ask(connection: Connection, subject: str, delivery_id: str, **fields: object) -> int:
    return news(connection, subject, delivery_id, is_debounced=False, **fields)


@pytest.mark.parametrize(
    ("subject", "function_id"), [("github:1", PROFILE), ("12", SUMMARY), ("o1", EXTRACTION), (LONG, PROFILE)]
)
def test_the_newest_of_what_waited_for_one_key_stands_for_the_others(
    connection: Connection, ids: dict[str, int], subject: str, function_id: str
) -> None:
    first, second, newest = (ids[f"{subject} {function_id} {n}"] for n in range(3))
    assert_superseded(connection, first, newest)
    assert_superseded(connection, second, newest)
    assert event_of(connection, newest)["outcome"] is None
    assert run_of(connection, newest)["status"] == "queued"
    assert seconds_until(connection, newest, "due_at") <= 0


def test_the_newest_is_the_one_received_last(connection: Connection, ids: dict[str, int]) -> None:
    assert_superseded(connection, ids["older, appended later"], ids[f"12 {SUMMARY} 2"])


def test_other_workspaces_replays_captures_and_what_has_ended_stay_as_they_are(
    connection: Connection, ids: dict[str, int]
) -> None:
    assert waiting_about(connection, "github:1", workspace_id="ws_other") == [ids["elsewhere"]]
    assert event_of(connection, ids["cancelled"])["outcome"] == "cancelled"
    for name in ("replayed", "capture"):
        found = event_of(connection, ids[name])
        assert (found["outcome"], found["debounce_key"]) == (None, None)


@pytest.mark.parametrize(
    ("subject", "function_id"), [("github:1", PROFILE), ("12", SUMMARY), ("o1", EXTRACTION), (LONG, PROFILE)]
)
def test_news_find_what_was_folded_by_its_key_and_do_not_make_it_wait_longer(
    connection: Connection, ids: dict[str, int], subject: str, function_id: str
) -> None:
    newest = ids[f"{subject} {function_id} 2"]
    after = news(connection, subject, "after", function_id=function_id)
    assert_superseded(connection, newest, after)
    assert seconds_until(connection, after, "due_at") <= 0


def test_every_record_accounts_for_the_others(connection: Connection) -> None:
    assert unexplained(connection) == 0
