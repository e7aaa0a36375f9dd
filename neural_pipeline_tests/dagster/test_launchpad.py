"""Runs that a person launches: what is due, one workspace, raw events; refusals; and runs that come too late."""

from typing import Any

import pytest

from neural_pipeline_tests.building import source_event, workspaces
from neural_pipeline_tests.dagster.launching import UNSTORABLE, Site, batch_tag, failure_of, metadata_of

SOURCE_EVENT = source_event("typed").to_json()
WEBHOOK: dict[str, Any] = {
    "source": "github",
    "eventType": "issues",
    "payload": {
        "action": "opened",
        "repository": {"id": 42, "full_name": "acme/shop", "html_url": "https://github.com/acme/shop"},
        "sender": {"id": 7, "login": "ada"},
        "issue": {"number": 5, "title": "Checkout breaks", "body": "", "updated_at": "2026-03-02T12:00:00Z"},
    },
}


def another_workspace(site: Site, id_: str = "ws_other") -> None:
    with site.engine.begin() as connection:
        workspaces(connection, id_)


def test_without_configuration_a_run_works_on_whatever_is_due(site: Site):
    another_workspace(site)
    site.ingest(source_event("a"))
    site.ingest(source_event("b"), workspace_id="ws_other")
    result = site.capture()
    assert metadata_of(result, "load") == {"events": 2, "unreadable": 0, "workspaces": 2}
    assert site.statuses() == ["completed", "completed"]
    [batch] = site.batches()
    assert (batch["trigger"], batch["state"], batch["run_id"]) == ("manual", "closed", result.run_id)


def test_a_run_ends_cleanly_where_nothing_is_due(site: Site):
    result = site.capture()
    assert result.success
    assert metadata_of(result, "load")["note"] == "nothing is due"
    assert site.batches() == []


def test_events_that_are_not_due_yet_are_left_alone(site: Site):
    site.ingest(source_event("a"))
    site.execute("update incoming_events set due_at = clock_timestamp() + interval '1 hour'")
    assert metadata_of(site.capture(), "load")["note"] == "nothing is due"
    assert site.statuses() == ["queued"]


def test_a_workspace_alone_limits_the_run_to_it(site: Site):
    another_workspace(site)
    [ours] = site.ingest(source_event("a"))
    [other] = site.ingest(source_event("b"), workspace_id="ws_other")
    site.capture({"workspace_id": "ws_other"})
    assert (site.run_of(ours)["status"], site.run_of(other)["status"]) == ("queued", "completed")


def test_raw_events_are_taken_in_and_captured_whatever_form_they_have(site: Site):
    site.ingest(source_event("waiting"))
    result = site.capture({"workspace_id": "ws_test", "events": [SOURCE_EVENT, WEBHOOK]})
    sources = "select source_id from lightfast_workspace_neural_observations order by id"
    assert site.column(sources) == ["typed", "issue:acme/shop#5:opened@2026-03-02T12:00:00Z"]
    rows = site.rows("select * from lightfast_workspace_workflow_runs where event_id in (2, 3) order by event_id")
    assert [(row["status"], row["trigger"], row["triggered_by"]) for row in rows] == [
        ("completed", "manual", "dagster")
    ] * 2
    assert metadata_of(result, "load") == {"events": 2, "unreadable": 0, "workspaces": 1}
    assert site.run_of(1)["status"] == "queued", "what waited already is not mixed in"


def test_the_person_who_launched_is_recorded(site: Site):
    site.record(site.launch({"workspace_id": "ws_test", "events": [SOURCE_EVENT]}, tags={"user": "grace"}).run_id)
    assert site.run_of(1)["triggered_by"] == "grace"
    assert site.row("select channel, triggered_by from intakes") == {"channel": "launchpad", "triggered_by": "grace"}


def test_an_invalid_event_is_reported_and_the_rest_is_done(site: Site):
    bad = [SOURCE_EVENT | {"title": ""}, {"source": "github", "eventType": "star", "payload": {}}, {"payload": None}]
    events = [bad[0], SOURCE_EVENT, bad[1], WEBHOOK, bad[2]]
    result = site.capture({"workspace_id": "ws_test", "events": events})
    assert result.success
    note = metadata_of(result, "load")["note"]
    assert [part.partition(": ")[0] for part in note.split("; ")] == ["event 1", "event 3", "event 5"]
    assert "event 1: title: " in note
    dispositions = site.rows("select disposition, reason from raw_payloads order by id")
    assert [row["disposition"] for row in dispositions] == [
        "invalid",
        "accepted",
        "unsupported",
        "accepted",
        "unsupported",
    ]
    assert all(row["reason"] in note for row in dispositions if row["reason"])
    assert site.statuses() == ["completed", "completed"]
    intake = site.row("select received, accepted, unsupported, invalid from intakes")
    assert intake == {"received": 5, "accepted": 2, "unsupported": 2, "invalid": 1}


def test_what_is_no_object_at_all_is_reported_like_any_other_invalid_event(site: Site):
    result = site.capture({"workspace_id": "ws_test", "events": ["text", 5, [WEBHOOK], SOURCE_EVENT]})
    assert metadata_of(result, "load")["note"].count("source event: ") == 3
    assert site.column("select disposition from raw_payloads order by id") == ["invalid"] * 3 + ["accepted"]


def test_a_source_event_may_say_null_where_a_field_may_be_absent(site: Site):
    site.capture({"workspace_id": "ws_test", "events": [SOURCE_EVENT | {"actor": None}]})
    assert site.statuses() == ["completed"]


def test_a_launch_of_nothing_but_invalid_events_ends_cleanly_and_says_why(site: Site):
    result = site.capture({"workspace_id": "ws_test", "events": [{}]})
    assert result.success
    assert metadata_of(result, "load")["note"].startswith("event 1: source: ")
    assert site.batches() == []


def test_events_for_a_workspace_that_does_not_exist_are_kept_with_the_reason(site: Site):
    result = site.capture({"workspace_id": "ws_nowhere", "events": [SOURCE_EVENT]})
    assert "workspace 'ws_nowhere' does not exist" in metadata_of(result, "load")["note"]
    assert site.column("select disposition from raw_payloads") == ["invalid"]


def test_the_allow_list_holds_for_webhooks_of_a_launch_too(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_ALLOWED_EVENTS", "push")
    site.capture({"workspace_id": "ws_test", "events": [WEBHOOK]})
    assert site.column("select disposition from raw_payloads") == ["unsupported"]


def test_launching_the_same_events_again_makes_duplicates_not_observations(site: Site):
    for _ in range(2):
        site.capture({"workspace_id": "ws_test", "events": [SOURCE_EVENT]})
    assert site.column("select output ->> 'status' from incoming_events where function_id ~ 'capture' order by id") == [
        "success",
        "filtered",
    ]
    assert site.count("select count(*) from lightfast_workspace_neural_observations") == 1


def test_events_without_a_workspace_are_refused_and_nothing_is_taken_in(site: Site):
    before = site.contents()
    result = site.capture({"events": [SOURCE_EVENT]})
    assert not result.success
    assert "events were given without workspace_id" in failure_of(result)
    assert site.contents() == before


@pytest.mark.parametrize("config", [{}, {"events": [SOURCE_EVENT]}], ids=["what is due", "raw events"])
def test_a_workspace_that_a_run_holds_is_refused_naming_the_run(site: Site, config: dict[str, Any]):
    site.ingest(source_event("a"))
    [request] = site.tick()
    holder = site.launch(tags=dict(request.tags) | {"who": "first"})
    site.execute("update batch_workspaces set closed_at = null")
    site.ingest(source_event("b"))
    before = site.contents()
    result = site.capture({"workspace_id": "ws_test", **config})
    assert not result.success
    assert f"workspace ws_test is being worked on by run {holder.run_id}" in failure_of(result)
    assert site.contents() == before


def test_a_workspace_on_a_batch_that_waits_for_its_run_is_refused_naming_the_batch(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    result = site.capture({"workspace_id": "ws_test"})
    assert f"is being worked on by batch {request.run_key}, which waits for its run" in failure_of(result)


def test_a_launch_without_configuration_passes_by_workspaces_that_are_held(site: Site):
    another_workspace(site)
    site.ingest(source_event("a"))
    site.tick()
    [other] = site.ingest(source_event("b"), workspace_id="ws_other")
    site.capture()
    assert site.statuses() == ["queued", "completed"]
    assert site.run_of(other)["status"] == "completed"


def test_a_re_execution_of_a_finished_run_changes_nothing_and_says_why(site: Site):
    site.ingest(source_event("a"), source_event("b", title=UNSTORABLE))
    [first] = site.work_off()
    before = site.contents()
    again = site.launch(tags={**first.dagster_run.tags, "dagster/parent_run_id": first.run_id})
    site.record(again.run_id)
    assert again.success
    assert again.run_id != first.run_id
    note = metadata_of(again, "load")["note"]
    assert note == "batch 1 is taken or closed: another run has done, or does, its work"
    assert metadata_of(again, "load")["events"] == 0
    assert site.contents() == before


def test_of_two_runs_of_one_batch_the_second_does_nothing(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    first = site.launch(tags=dict(request.tags))
    before = site.contents()
    second = site.launch(tags=dict(request.tags))
    assert second.success
    assert "is taken or closed" in metadata_of(second, "load")["note"]
    site.record(second.run_id)
    assert site.contents() == before, "the end of a run settles only the batch that it has taken"
    site.record(first.run_id)
    assert site.statuses() == ["completed"]


def test_a_run_of_a_batch_that_does_not_exist_ends_cleanly(site: Site):
    result = site.launch(tags=batch_tag(77))
    site.record(result.run_id)
    assert result.success
    assert "batch 77 is taken or closed" in metadata_of(result, "load")["note"]


def test_a_run_also_takes_what_became_due_after_the_assignment(site: Site):
    another_workspace(site)
    site.ingest(source_event("a"))
    [request] = site.tick()
    site.ingest(source_event("b"))
    site.ingest(source_event("c"), workspace_id="ws_other")
    result = site.launch(tags=dict(request.tags))
    assert metadata_of(result, "load")["events"] == 2
    assert site.batches()[0]["events"] == 2
