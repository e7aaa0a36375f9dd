"""Reads of the job history against a real Postgres."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from neural_pipeline.store.runs import Page, RunFilter, find_run, list_runs
from neural_pipeline.store.workspaces import create_workspace

CAPTURE = "neural.observation.capture"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVERYTHING = RunFilter()


def add_run(connection: Connection, name: str, *, minute: int = 0, **columns: Any) -> int:
    values = {
        "clerk_org_id": "org_test",
        "workspace_id": "ws_test",
        "inngest_run_id": f"execution-{name}",
        "inngest_function_id": CAPTURE,
        "name": name,
        "trigger": "manual",
        "created_at": NOON + timedelta(minutes=minute),
    } | columns
    names = ", ".join(values)
    marks = ", ".join(f":{column}" for column in values)
    sql = f"insert into lightfast_workspace_workflow_runs ({names}) values ({marks}) returning id"
    return connection.execute(text(sql), values).scalar_one()


def fail(connection: Connection, run_id: int, message: str) -> None:
    sql = """
    update lightfast_workspace_workflow_runs set status = 'failed', error_message = :message, completed_at = now(),
      output = jsonb_build_object('inngestFunctionId', inngest_function_id, 'status', 'failure', 'error', 'x')
    where id = :id
    """
    connection.execute(text(sql), {"message": message, "id": run_id})


def add_event(connection: Connection, delivery: str, *, parent: int | None = None, payload: int | None = None) -> int:
    sql = """
    insert into incoming_events (workspace_id, function_id, source, delivery_id, payload, payload_bytes,
      parent_event_id, raw_payload_id)
    values ('ws_test', 'neural.observation.capture', 'github', :delivery, '{}', 2, :parent, :payload) returning id
    """
    return connection.execute(text(sql), {"delivery": delivery, "parent": parent, "payload": payload}).scalar_one()


def names(page: Page) -> list[str]:
    return [run["name"] for run in page.runs]


@pytest.fixture(autouse=True)
def _workspace(workspace: str) -> None:
    """Runs need a workspace."""


def test_runs_come_newest_first_and_those_of_one_moment_by_their_number(connection: Connection) -> None:
    for name, minute in (("early", 0), ("first of two", 5), ("second of two", 5), ("late", 9)):
        add_run(connection, name, minute=minute)
    assert names(list_runs(connection, EVERYTHING, limit=9)) == ["late", "second of two", "first of two", "early"]


def test_pages_follow_on_each_other_while_runs_are_added(connection: Connection) -> None:
    for number in range(7):
        add_run(connection, str(number), minute=number // 3)
    seen: list[str] = []
    place = None
    while True:
        page = list_runs(connection, EVERYTHING, limit=2, after=place)
        seen += names(page)
        add_run(connection, f"newcomer {len(seen)}", minute=60)
        place = page.next
        if place is None:
            break
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_a_page_that_is_just_full_is_the_last(connection: Connection) -> None:
    for number in range(2):
        add_run(connection, str(number))
    assert list_runs(connection, EVERYTHING, limit=2).next is None


@pytest.mark.parametrize(
    "wanted",
    [
        RunFilter(function_id="neural.profile.update"),
        RunFilter(status="failed"),
        RunFilter(workspace_id="ws_other"),
        RunFilter(since=NOON + timedelta(minutes=30)),
        RunFilter(error="TIMED out"),
    ],
)
def test_each_filter_leaves_only_what_is_wanted(connection: Connection, wanted: RunFilter) -> None:
    other = {"organisation": "org_other", "name": "other", "settings": {"version": 1}}
    create_workspace(connection, "ws_other", **other)
    add_run(connection, "plain")
    odd = add_run(connection, "wanted", minute=30, inngest_function_id="neural.profile.update", workspace_id="ws_other")
    fail(connection, odd, "the run timed OUT")
    assert names(list_runs(connection, wanted, limit=9)) == ["wanted"]


def test_the_text_of_an_error_is_sought_letter_for_letter(connection: Connection) -> None:
    for name, message in (("percent", "at 100% load"), ("plain", "at 100 x load"), ("underscore", "at 100_ load")):
        fail(connection, add_run(connection, name), message)
    assert names(list_runs(connection, RunFilter(error="100%"), limit=9)) == ["percent"]
    assert names(list_runs(connection, RunFilter(error="100_"), limit=9)) == ["underscore"]


def test_a_run_is_found_by_its_number_and_by_the_id_of_its_execution(connection: Connection) -> None:
    number = add_run(connection, "sought")
    for name in (str(number), "execution-sought"):
        found = find_run(connection, name)
        assert found is not None
        assert found["id"] == number


def test_a_number_that_is_too_long_is_not_cut_to_that_of_another_run(connection: Connection) -> None:
    number = add_run(connection, "other")
    assert find_run(connection, f"{number:018}") is not None
    assert find_run(connection, f"{number:018}0") is None


@pytest.mark.parametrize("name", ["0", "9" * 18, "9" * 40, "", "no-such-execution", "²"])
def test_what_is_no_run_is_not_found(connection: Connection, name: str) -> None:
    add_run(connection, "other")
    assert find_run(connection, name) is None


def test_a_run_comes_with_its_attempts_family_and_payload(connection: Connection) -> None:
    insert = """
    insert into raw_payloads (intake_id, workspace_id, source, event_type, delivery_id, body, disposition)
    values (1, 'ws_test', 'github', 'push', 'd', '12345', 'accepted') returning id
    """
    event = add_event(connection, "d", payload=connection.execute(text(insert)).scalar_one())
    child = add_event(connection, "child", parent=event)
    add_run(connection, "parent", event_id=event)
    add_run(connection, "child", event_id=child)
    attempt = """
    insert into workflow_run_attempts (event_id, attempt, step, cause, message)
    values (:e, 1, 'store', 'code_error', 'oh')
    """
    connection.execute(text(attempt), {"e": event})

    parent = find_run(connection, "execution-parent")
    assert parent is not None
    assert [(one["step"], one["message"]) for one in parent["attempts"]] == [("store", "oh")]
    assert [one["name"] for one in parent["children"]] == ["child"]
    assert parent["parent"] is None
    assert (parent["payload"]["disposition"], parent["payload"]["bytes"]) == ("accepted", 5)
    assert find_run(connection, "execution-child")["parent"]["name"] == "parent"


def test_a_run_without_an_event_has_no_family(connection: Connection) -> None:
    add_event(connection, "stray")
    add_run(connection, "alone")
    found = find_run(connection, "execution-alone")
    assert (found["attempts"], found["children"], found["parent"], found["payload"]) == ([], [], None, None)
