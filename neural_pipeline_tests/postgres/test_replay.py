"""Replays: what has ended is done again as a new execution, once per request, with the data that was stored."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store import lifecycle
from neural_pipeline.store.payloads import StoredPayload
from neural_pipeline.store.replay import Answer, Replay, newest_run, preview, replay, runs_to_replay
from neural_pipeline.store.runs import RunFilter, find_run
from neural_pipeline.store.summaries import unexplained
from neural_pipeline_tests.building import (
    begun_batch,
    capture,
    column,
    end_run,
    event_of,
    one,
    receipt,
    run_of,
    source_event,
    take_in,
    waiting,
    waits_for_a_lock,
)
from neural_pipeline_tests.replaying import (
    PAYLOADS,
    WISH,
    appended,
    end,
    ended,
    never_asked,
    number_of,
    replayed,
)

RUNS = "select count(*) from lightfast_workspace_workflow_runs"


def run_numbered(connection: Connection, number: int | None) -> Any:
    return one(connection, "select * from lightfast_workspace_workflow_runs where id = :id", id=number)


@pytest.mark.parametrize("function", PAYLOADS)
@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
def test_a_run_of_any_function_that_has_ended_gets_a_new_run_of_the_same_data(
    scratch: Connection, function: str, outcome: str
) -> None:
    event_id = appended(scratch, PAYLOADS[function])
    old = end(scratch, event_id, outcome)
    [answer] = replayed(scratch, old)
    assert (answer.run_id, answer.refusal, answer.asked_before) == (old, None, False)
    new, before = run_numbered(scratch, answer.new_run_id), run_numbered(scratch, old)
    copied = ("workspace_id", "clerk_org_id", "repository_id", "inngest_function_id", "name", "input")
    assert [new[name] for name in copied] == [before[name] for name in copied]
    assert (new["status"], new["trigger"], new["triggered_by"]) == ("queued", "manual", "grace")
    assert (new["replay_of"], new["replay_request_id"]) == (old, "request-1")
    assert new["inngest_run_id"] != before["inngest_run_id"]
    event, source = event_of(scratch, new["event_id"]), event_of(scratch, event_id)
    assert (event["payload"], event["payload_bytes"]) == (source["payload"], source["payload_bytes"])
    assert (event["outcome"], event["attempt"], event["received_at"]) == (None, 0, new["created_at"])
    assert unexplained(scratch) == 0


def test_a_second_identical_replay_does_nothing_and_says_so(scratch: Connection) -> None:
    old = [ended(scratch, name) for name in "abc"]
    first = replayed(scratch, *old)
    runs = column(scratch, RUNS)
    assert replayed(scratch, *old) == [replace(answer, asked_before=True) for answer in first]
    assert column(scratch, RUNS) == runs
    again = replayed(scratch, *old, wish=Replay("request-2", "grace"))
    assert not any(answer.asked_before for answer in again)
    assert column(scratch, RUNS) == [runs[0] + 3]


def test_two_that_ask_at_once_under_one_request_id_make_one_replay(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        old = [ended(connection, name) for name in "abc"]

    def ask() -> list[Answer]:
        with engine.begin() as connection:
            return replayed(connection, *reversed(old))

    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            first = replayed(connection, *old)
            second = pool.submit(ask)
            assert waits_for_a_lock(second)
        answers = second.result(timeout=30)
    assert [answer.asked_before for answer in first] == [False] * 3
    assert [(answer.run_id, answer.asked_before) for answer in answers] == [(id_, True) for id_ in reversed(old)]
    with engine.begin() as connection:
        assert column(connection, RUNS) == [6]
        assert unexplained(connection) == 0


def test_what_has_not_ended_is_refused_with_what_to_do(scratch: Connection) -> None:
    waits, works = waiting(scratch, 2)
    token = begun_batch(scratch, [works])
    lifecycle.record_batch(scratch, token.batch_id)
    refusals = [answer.refusal for answer in replayed(scratch, *(number_of(scratch, id_) for id_ in (waits, works)))]
    assert [str(refusal).partition(":")[0] for refusal in refusals] == ["it is queued", "it is running"]
    assert all("neural runs cancel" in str(refusal) for refusal in refusals)
    assert column(scratch, RUNS) == [2]


def test_what_was_pruned_is_refused_and_the_rest_goes_through(scratch: Connection) -> None:
    pruned, whole = ended(scratch, "pruned"), ended(scratch, "whole")
    sql = "update incoming_events set payload = null, pruned_at = '2026-03-02T12:00Z' where delivery_id = 'pruned'"
    scratch.execute(text(sql))
    refused, accepted = replayed(scratch, pruned, whole)
    assert refused.refusal == "its stored payload was pruned on 2026-03-02: hand the payload in again"
    assert (accepted.refusal, accepted.new_run_id is not None) == (None, True)
    assert column(scratch, RUNS) == [3]


def test_retention_waits_until_a_replay_has_its_copy(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        old = ended(connection)

    def prune() -> None:
        with engine.begin() as connection:
            connection.execute(text("update incoming_events set payload = null, pruned_at = now() where outcome <> ''"))

    with ThreadPoolExecutor(1) as pool, engine.begin() as connection:
        replayed(connection, old)
        pruning = pool.submit(prune)
        assert waits_for_a_lock(pruning)


def test_a_run_whose_event_is_gone_is_refused(scratch: Connection) -> None:
    old = ended(scratch)
    scratch.execute(text("delete from incoming_events"))
    assert replayed(scratch, old) == [
        Answer(old, source_event().title, "its stored event is gone: hand the payload in again")
    ]


def test_a_preview_answers_alike_and_writes_nothing(scratch: Connection) -> None:
    old, waits = ended(scratch), number_of(scratch, appended(scratch, PAYLOADS["profile"]))
    seen = preview(scratch, [old, waits], WISH, judge=never_asked)
    assert column(scratch, RUNS) == [2]
    assert [replace(answer, new_run_id=None) for answer in replayed(scratch, old, waits)] == seen
    assert [answer.asked_before for answer in preview(scratch, [old], WISH, judge=never_asked)] == [True]


def test_only_captures_are_asked_to_reprocess(scratch: Connection) -> None:
    old = [end(scratch, appended(scratch, payload, name)) for name, payload in PAYLOADS.items()]
    replayed(scratch, *old, wish=Replay("request-1", "grace", reprocess=True))
    sql = "select function_id from incoming_events where reprocess"
    assert column(scratch, sql) == ["neural.observation.capture"]


def test_a_replayed_child_does_not_stand_in_for_the_one_its_parent_asked_for(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [captured] = waiting(connection)
        token = begun_batch(connection, [captured])
    capture(engine, token)
    with engine.begin() as connection:
        end_run(connection, token)
        sql = "select id from incoming_events where function_id = 'neural.cluster.summary'"
        [child] = column(connection, sql)
        [answer] = replayed(connection, end(connection, child))
        assert unexplained(connection) == 0
        assert answer.new_run_id is not None
        connection.execute(text("delete from lightfast_workspace_workflow_runs where event_id = :id"), {"id": child})
        connection.execute(text("delete from incoming_events where id = :id"), {"id": child})
        assert unexplained(connection) == 1


def bulk(connection: Connection, wanted: RunFilter, **how: Any) -> list[int]:
    given = {"request_id": "request-1", "until": newest_run(connection), "limit": 100} | how
    return [place.id for place in runs_to_replay(connection, wanted, **given)]


def test_a_bulk_replay_takes_what_its_filter_says_oldest_first_and_at_most_so_many(scratch: Connection) -> None:
    old = [ended(scratch, name, "failed", error=f"pipe {name}") for name in "abc"]
    ended(scratch, "healthy")
    assert bulk(scratch, RunFilter(status="failed")) == old
    assert bulk(scratch, RunFilter(error="PIPE B")) == [old[1]]
    assert bulk(scratch, RunFilter(status="failed"), limit=2) == old[:2]
    [_, second, _] = runs_to_replay(
        scratch, RunFilter(status="failed"), request_id="request-1", until=newest_run(scratch), limit=100
    )
    assert bulk(scratch, RunFilter(status="failed"), after=second) == old[2:]


def test_a_bulk_replay_never_takes_a_run_that_it_has_made_itself(scratch: Connection) -> None:
    old = [ended(scratch, name) for name in "ab"]
    [first, _] = replayed(scratch, *old)
    end(scratch, run_numbered(scratch, first.new_run_id)["event_id"])
    assert bulk(scratch, RunFilter(workspace_id="ws_test")) == old
    assert first.new_run_id in bulk(scratch, RunFilter(workspace_id="ws_test"), request_id="request-2")


def test_a_bulk_replay_takes_the_replay_of_a_run_and_not_the_run_again(scratch: Connection) -> None:
    [old] = [ended(scratch, "a", "failed", error="broken")]
    [answer] = replayed(scratch, old)
    new = answer.new_run_id
    end(scratch, run_numbered(scratch, new)["event_id"], "failed")
    assert bulk(scratch, RunFilter(status="failed"), request_id="request-2") == [new]


def test_a_bulk_replay_takes_nothing_that_came_after_it_had_begun(scratch: Connection) -> None:
    old = ended(scratch)
    until = newest_run(scratch)
    ended(scratch, "later")
    assert bulk(scratch, RunFilter(status="completed"), until=until) == [old]


def rejected(connection: Connection) -> int:
    """A capture of a payload that the transformer had misread."""
    [admission] = take_in(connection, receipt(body=b"as received"))
    assert admission.event_id is not None
    sql = "update incoming_events set payload = '{\"sourceEvent\": {}}' where id = :id"
    connection.execute(text(sql), {"id": admission.event_id})
    return end(connection, admission.event_id, "failed", error="unreadable", cause="rejected")


def test_what_was_rejected_is_replayed_through_the_transformer(scratch: Connection) -> None:
    old = rejected(scratch)
    seen: list[StoredPayload] = []
    event = source_event(
        "healed", title="[PR Opened] Healed", source_type="pull-request.closed", metadata={"repoId": 9}
    )

    def fixed(stored: StoredPayload) -> Judgement:
        seen.append(stored)
        return Judgement("accepted", event=event)

    [answer] = replay(scratch, [old], WISH, judge=fixed)
    [stored] = seen
    assert (stored.body, stored.source, stored.event_type, stored.channel) == (
        b"as received",
        "github",
        "pull_request",
        "ingest",
    )
    new = run_numbered(scratch, answer.new_run_id)
    assert (new["name"], new["repository_id"]) == ("Capture github/pull-request.closed", "9")
    assert (new["input"]["sourceId"], new["replay_of"]) == ("healed", old)
    assert event_of(scratch, new["event_id"])["payload"]["sourceEvent"] == event.to_json()
    assert event_of(scratch, new["event_id"])["raw_payload_id"] == stored.id
    assert unexplained(scratch) == 0


def test_what_the_transformer_still_refuses_is_refused_with_its_reason(scratch: Connection) -> None:
    old = rejected(scratch)
    [answer] = replay(scratch, [old], WISH, judge=lambda _: Judgement("invalid", reason="no number"))
    assert answer.refusal == "its payload is still refused as invalid: no number"
    assert column(scratch, RUNS) == [1]


def test_what_was_rejected_and_has_no_raw_payload_is_replayed_as_it_was_stored(scratch: Connection) -> None:
    old = ended(scratch, "d", "failed", cause="rejected")
    assert replayed(scratch, old)[0].new_run_id is not None


def test_what_failed_otherwise_needs_no_transformer_and_keeps_its_raw_payload(scratch: Connection) -> None:
    [admission] = take_in(scratch, receipt())
    assert admission.event_id is not None
    old = end(scratch, admission.event_id, "failed", cause="code_error")
    [answer] = replayed(scratch, old)
    event = event_of(scratch, run_numbered(scratch, answer.new_run_id)["event_id"])
    assert event["raw_payload_id"] == event_of(scratch, admission.event_id)["raw_payload_id"]
    assert unexplained(scratch) == 0


def test_the_replays_of_a_run_are_shown_with_it(scratch: Connection) -> None:
    old = ended(scratch)
    [answer] = replayed(scratch, old)
    found = find_run(scratch, str(old))
    assert found is not None
    assert [(row["id"], row["replay_request_id"]) for row in found["replays"]] == [(answer.new_run_id, "request-1")]
    again = find_run(scratch, str(answer.new_run_id))
    assert again is not None
    assert (again["replay_of"], again["replays"]) == (old, [])
    assert run_of(scratch, again["event_id"])["id"] == answer.new_run_id
