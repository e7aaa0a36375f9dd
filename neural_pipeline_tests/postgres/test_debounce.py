"""Appending debounced events: one waits per workspace, function and key, for a bounded time, and stands for all."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.workflows import parse_output
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.inbox import append
from neural_pipeline_tests.building import event_of, run_of, workspaces
from neural_pipeline_tests.debouncing import (
    EXTRACTION,
    PROFILE,
    SUMMARY,
    appended,
    assert_superseded,
    at_work,
    child,
    news,
    seconds_until,
    waiting_about,
)
from neural_pipeline_tests.replaying import replay_event

SUBJECTS = {PROFILE: "actorId", SUMMARY: "clusterId", EXTRACTION: "observationId"}


@pytest.mark.parametrize("function_id", SUBJECTS)
def test_a_newer_event_supersedes_the_one_that_waits(scratch: Connection, function_id: FunctionId) -> None:
    old = news(scratch, "x", "d1", function_id=function_id)
    new = news(scratch, "x", "d2", function_id=function_id)
    assert_superseded(scratch, old, new)
    output = parse_output(event_of(scratch, old)["output"], function_id=function_id).to_json()
    assert output == {
        "inngestFunctionId": function_id,
        "status": "skipped",
        "reason": "superseded",
        SUBJECTS[function_id]: "x",
    }
    assert waiting_about(scratch, "x") == [new]
    assert run_of(scratch, new)["status"] == "queued"


def test_the_run_of_a_superseded_event_names_the_run_not_the_event_that_stands_for_it(scratch: Connection) -> None:
    scratch.execute(text("select setval(pg_get_serial_sequence('lightfast_workspace_workflow_runs', 'id'), 70000)"))
    old, new = news(scratch, "x", "d1"), news(scratch, "x", "d2")
    assert run_of(scratch, new)["id"] > 70000 > new
    assert_superseded(scratch, old, new)


def test_an_event_waits_for_its_period(scratch: Connection) -> None:
    id_ = news(scratch, "x", "d1")
    assert 55 < seconds_until(scratch, id_, "due_at") < 61
    assert 295 < seconds_until(scratch, id_, "due_by") < 301


def test_news_put_the_work_off_but_never_beyond_the_longest_wait_since_the_first(scratch: Connection) -> None:
    first = news(scratch, "x", "d1")
    early = timedelta(seconds=260)
    scratch.execute(
        text("update incoming_events set due_at = due_at - :early, due_by = due_by - :early where id = :id"),
        {"early": early, "id": first},
    )
    bound = event_of(scratch, first)["due_by"]
    for number in range(2, 5):
        last = event_of(scratch, news(scratch, "x", f"d{number}"))
        assert (last["due_at"], last["due_by"]) == (bound, bound)


def test_news_within_the_longest_wait_put_the_work_off_by_a_whole_period(scratch: Connection) -> None:
    first = news(scratch, "x", "d1")
    scratch.execute(text("update incoming_events set due_at = due_at - interval '50 seconds'"))
    second = news(scratch, "x", "d2")
    assert seconds_until(scratch, second, "due_at") > 55
    assert event_of(scratch, second)["due_by"] == event_of(scratch, first)["due_by"]


def test_another_key_workspace_or_function_is_another_matter(scratch: Connection) -> None:
    workspaces(scratch, "ws_other")
    ids = [
        news(scratch, "x", "d1"),
        news(scratch, "y", "d2"),
        news(scratch, "x", "d3", workspace_id="ws_other"),
        news(scratch, "x", "d4", function_id=SUMMARY),
    ]
    assert [event_of(scratch, id_)["outcome"] for id_ in ids] == [None] * 4


def test_of_several_in_one_call_the_last_stands_for_the_others_and_for_what_waited(scratch: Connection) -> None:
    waited = news(scratch, "x", "d1")
    first, other, second, last = appended(
        scratch, child("x", "d2"), child("y", "d3"), child("x", "d4"), child("x", "d5")
    )
    for id_ in (waited, first, second):
        assert_superseded(scratch, id_, last)
    assert (waiting_about(scratch, "x"), waiting_about(scratch, "y")) == ([last], [other])
    assert event_of(scratch, last)["due_by"] == event_of(scratch, waited)["due_by"]


def test_a_delivery_that_is_known_supersedes_nothing(scratch: Connection) -> None:
    old, new = news(scratch, "x", "d1"), news(scratch, "x", "d2")
    assert append(scratch, [child("x", "d1"), child("x", "d2")]) == {}
    assert waiting_about(scratch, "x") == [new]
    other = news(scratch, "y", "d3")
    assert append(scratch, [child("y", "d3"), child("y", "d3")]) == {}
    assert waiting_about(scratch, "y") == [other]
    assert event_of(scratch, old)["superseded_by"] == new


def test_a_delivery_twice_in_one_call_is_one_event(scratch: Connection) -> None:
    [id_] = appended(scratch, child("x", "d1"), child("x", "d1"))
    assert waiting_about(scratch, "x") == [id_]


def test_what_is_appended_beside_without_a_key_is_due_at_once_and_keeps_its_place(scratch: Connection) -> None:
    given = [
        child("x", "d1"),
        child("x", "d2", is_debounced=False),
        child("x", "d3"),
        child("x", "d4", is_debounced=False),
    ]
    ids = appended(scratch, *given)
    assert [event_of(scratch, id_)["delivery_id"] for id_ in ids] == ["d1", "d2", "d3", "d4"]
    assert_superseded(scratch, ids[0], ids[2])
    for id_ in (ids[1], ids[3]):
        found = event_of(scratch, id_)
        assert (found["outcome"], found["debounce_key"], found["due_by"]) == (None, None, None)
        assert found["due_at"] == found["received_at"]


def test_an_event_at_work_does_not_count_as_waiting(scratch: Connection) -> None:
    busy = news(scratch, "x", "d1")
    at_work(scratch, busy)
    new = news(scratch, "x", "d2")
    assert event_of(scratch, busy)["outcome"] is None
    assert waiting_about(scratch, "x") == [new]
    assert seconds_until(scratch, new, "due_by") > 295


def test_cancelling_the_one_that_waits_frees_its_key(scratch: Connection) -> None:
    unwanted = news(scratch, "x", "d1")
    scratch.execute(text("update incoming_events set due_by = due_by - interval '200 seconds'"))
    cancel_event(scratch, unwanted, by="ada")
    new = news(scratch, "x", "d2")
    assert event_of(scratch, unwanted)["outcome"] == "cancelled"
    assert waiting_about(scratch, "x") == [new]
    assert seconds_until(scratch, new, "due_by") > 295


def test_a_replay_is_somebodys_wish_and_waits_beside_the_others(scratch: Connection) -> None:
    old, new = news(scratch, "x", "d1"), news(scratch, "x", "d2")
    again = replay_event(scratch, old)
    found = event_of(scratch, again)
    assert (found["debounce_key"], found["outcome"]) == (None, None)
    assert seconds_until(scratch, again, "due_at") <= 0
    newest = news(scratch, "x", "d3")
    assert event_of(scratch, again)["outcome"] is None
    assert_superseded(scratch, new, newest)


def statements(connection: Connection, size: int, prefix: str) -> int:
    """Count the statements that appending so many events takes, each of which supersedes one."""
    seen: list[str] = []

    def count(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    append(connection, [child(f"{prefix}{n}", f"{prefix}{n}-old") for n in range(size)])
    event.listen(connection, "before_cursor_execute", count)
    append(connection, [child(f"{prefix}{n}", f"{prefix}{n}-new") for n in range(size)])
    event.remove(connection, "before_cursor_execute", count)
    return len(seen)


def test_appending_takes_as_many_statements_whatever_the_number_of_events(scratch: Connection) -> None:
    assert statements(scratch, 1, "few") == statements(scratch, 100, "many")


def test_names_that_do_not_fit_the_column_still_find_each_other(scratch: Connection) -> None:
    old, new = news(scratch, "x" * 400, "d1"), news(scratch, "x" * 400, "d2")
    other = news(scratch, "x" * 399 + "y", "d3")
    assert_superseded(scratch, old, new)
    assert event_of(scratch, new)["outcome"] == event_of(scratch, other)["outcome"] is None
