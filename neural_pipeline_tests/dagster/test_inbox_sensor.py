"""The inbox sensor: what it assigns, what it asks for again, and when it asks for nothing."""

import pytest

from neural_pipeline.settings import SettingsInvalid
from neural_pipeline.store.drain import start_draining
from neural_pipeline_tests.building import source_event, workspaces
from neural_pipeline_tests.dagster.launching import Site, metadata_of


def test_due_events_are_put_on_a_batch_and_a_run_is_asked_for(site: Site):
    ids = site.ingest(source_event("a"), source_event("b"))
    data = site.evaluate()
    assert data.skip_message is None
    [request] = data.run_requests
    [batch] = site.batches()
    assert request.run_key == str(batch["id"])
    assert request.tags["neural/batch"] == str(batch["id"])
    assert (batch["state"], batch["trigger"], batch["events"], batch["run_id"]) == ("open", "automatic", 2, None)
    assert site.column("select id from incoming_events where batch_id = :id order by id", id=batch["id"]) == ids


def test_a_batch_that_no_run_has_taken_is_asked_for_again_and_nothing_else_happens(site: Site):
    site.ingest(source_event("a"))
    first = site.tick()
    before = site.contents()
    again = site.tick()
    assert [(request.run_key, dict(request.tags)) for request in again] == [
        (request.run_key, dict(request.tags)) for request in first
    ]
    assert site.contents() == before


def test_a_batch_that_a_run_has_taken_is_not_asked_for_again(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    site.launch(tags=dict(request.tags))
    assert site.batches()[0]["state"] == "running"
    assert site.evaluate().skip_message == "nothing is due, or no batch is free"


def test_the_run_that_is_asked_for_works_on_that_batch(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    result = site.launch(tags=dict(request.tags))
    [batch] = site.batches()
    assert (batch["run_id"], batch["epoch"]) == (result.run_id, 1)
    assert metadata_of(result, "load")["events"] == 1


def test_what_arrives_later_waits_while_its_workspace_is_held(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    site.ingest(source_event("b"))
    assert [again.run_key for again in site.tick()] == [request.run_key]
    with site.engine.begin() as connection:
        workspaces(connection, "ws_other")
    site.ingest(source_event("c"), workspace_id="ws_other")
    assert len(site.tick()) == 2


def test_no_more_batches_are_open_than_the_settings_allow(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_MAX_OPEN_BATCHES", "2")
    with site.engine.begin() as connection:
        names = workspaces(connection, "ws_a", "ws_b", "ws_c")
    for name in names:
        site.ingest(source_event("a"), workspace_id=name)
    assert len(site.tick()) == 2
    site.execute("update incoming_events set batch_id = null where workspace_id = 'ws_c'")
    assert len(site.tick()) == 2


def test_a_batch_holds_no_more_events_than_the_settings_allow(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_CAPTURE_MAX_BATCH", "2")
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", "1")
    site.ingest(*[source_event(name) for name in "abcde"])
    results = site.work_off()
    assert [metadata_of(result, "load")["events"] for result in results] == [2, 2, 1]
    assert site.statuses() == ["completed"] * 5


def test_nothing_due_is_a_skip_with_a_reason(site: Site):
    data = site.evaluate()
    assert (data.run_requests, data.skip_message) == ([], "nothing is due, or no batch is free")
    site.ingest(source_event("a"))
    site.execute("update incoming_events set due_at = clock_timestamp() + interval '1 hour'")
    assert site.evaluate().skip_message == "nothing is due, or no batch is free"


def test_while_the_daemon_shuts_down_nothing_new_is_assigned(site: Site):
    site.ingest(source_event("a"))
    with site.engine.connect() as connection:
        start_draining(connection)
        data = site.evaluate()
        connection.commit()
        connection.invalidate()
    assert (data.run_requests, data.skip_message) == ([], "shutting down: nothing new is assigned")
    assert site.batches() == []
    assert len(site.tick()) == 1


def test_while_the_daemon_shuts_down_a_batch_that_waits_is_still_asked_for(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    with site.engine.connect() as connection:
        start_draining(connection)
        again = site.tick()
        connection.commit()
        connection.invalidate()
    assert [one.run_key for one in again] == [request.run_key]


def test_an_error_is_an_error_of_the_tick_and_no_reason_to_skip(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_CAPTURE_MAX_BATCH", "many")
    with pytest.raises(SettingsInvalid):
        site.evaluate()
