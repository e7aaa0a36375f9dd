"""The reconciler: alone it suffices, it shows progress, and it gives up a batch only for a reason."""

import dagster as dg
import pytest

from neural_pipeline.automation.reconciler import MIN_AGE_OF_LOSS, reconcile, reconciler_sensor
from neural_pipeline.store import batches
from neural_pipeline.store.batches import Token
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import capture, decided, examined, persistence, source_event, workspaces
from neural_pipeline_tests.dagster.launching import UNSTORABLE, Site, StumblingPipeline

STARTED = dg.DagsterRunStatus.STARTED


def reconciled(site: Site) -> dict[str, int]:
    return reconcile(StumblingPipeline(), site.instance)


def run_for(site: Site, request: dg.RunRequest, status: dg.DagsterRunStatus = STARTED) -> dg.DagsterRun:
    return site.instance.create_run_for_job(observation_capture, tags=dict(request.tags), status=status)


def taken(site: Site, run: dg.DagsterRun) -> Token:
    with site.engine.begin() as connection:
        token = batches.take(connection, int(run.tags["neural/batch"]), run_id=run.run_id, seconds=600, lease=60)
        assert token is not None
        batches.begin(connection, token)
    return token


def age(site: Site, seconds: float) -> None:
    site.execute("update event_batches set taken_at = taken_at - make_interval(secs => :seconds)", seconds=seconds)


def ended_run(site: Site, how: str) -> None:
    """Bring about a run that has ended in one of the ways there are; nobody has recorded it."""
    site.ingest(source_event("a"), source_event("b", title=UNSTORABLE))
    [request] = site.tick()
    if how == "succeeds":
        site.launch(tags=dict(request.tags))
        return
    run = run_for(site, request)
    taken(site, run)
    {"is failed": site.instance.report_run_failed, "is cancelled": site.instance.report_run_canceled}[how](run)


WAYS = ("succeeds", "is failed", "is cancelled")


@pytest.mark.parametrize("way", WAYS)
def test_the_reconciler_alone_does_what_the_sensors_do(site: Site, monkeypatch: pytest.MonkeyPatch, way: str):
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", "1")
    ended_run(site, way)
    assert reconciled(site)["settled"] == 1
    by_reconciler, closed = site.rows_of_runs(), [batch["close_reason"] for batch in site.batches()]
    with site.engine.begin() as connection:
        connection.exec_driver_sql(
            "truncate incoming_events, lightfast_workspace_workflow_runs, event_batches, batch_workspaces, "
            "lightfast_workspace_neural_observations, lightfast_workspace_observation_clusters, raw_payloads, "
            "lightfast_workspace_operations_metrics, lightfast_workspace_neural_entities restart identity cascade"
        )
    for run in site.instance.get_runs():
        site.instance.delete_run(run.run_id)
    ended_run(site, way)
    [run] = site.instance.get_runs()
    site.record(run.run_id)
    assert site.rows_of_runs() == by_reconciler
    assert [batch["close_reason"] for batch in site.batches()] == closed


def test_a_second_look_finds_nothing_to_do(site: Site):
    ended_run(site, "succeeds")
    reconciled(site)
    before = site.contents()
    assert reconciled(site) == {"recorded": 0, "settled": 0}
    assert site.contents() == before


def test_after_the_sensors_there_is_nothing_left_to_do(site: Site):
    ended_run(site, "succeeds")
    [run] = site.instance.get_runs()
    site.record(run.run_id)
    assert reconciled(site) == {"recorded": 0, "settled": 0}


def test_a_run_that_is_still_going_shows_its_progress(site: Site):
    site.ingest(source_event("a"), source_event("b"))
    [request] = site.tick()
    token = taken(site, run_for(site, request))
    assert reconciled(site) == {"recorded": 2, "settled": 0}
    assert site.statuses() == ["running", "running"]
    capture(site.engine, token)
    assert reconciled(site)["recorded"] == 2
    assert site.statuses() == ["completed", "completed"]
    assert site.batches()[0]["state"] == "running"


@pytest.mark.slow
def test_a_batch_that_somebody_holds_does_not_hold_up_the_others(site: Site):
    with site.engine.begin() as connection:
        workspaces(connection, "ws_two")
    site.ingest(source_event("a"), workspace_id="ws_two")
    site.ingest(source_event("b"))
    held, other = (taken(site, run_for(site, request)) for request in site.tick())
    for token in (held, other):
        capture(site.engine, token)
    with site.engine.begin() as stopped:
        batches.hold_alone(stopped, held)
        with pytest.raises(ExceptionGroup, match="1 of 2 batches could not be reconciled"):
            reconciled(site)
        assert sorted(site.statuses()) == ["completed", "queued"]
    reconciled(site)
    assert site.statuses() == ["completed", "completed"]


def test_a_batch_without_any_run_is_left_alone_however_old_it_is(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    site.execute("update event_batches set assigned_at = assigned_at - interval '1 day'")
    before = site.contents()
    assert reconciled(site) == {"recorded": 0, "settled": 0}
    assert site.contents() == before
    assert [again.run_key for again in site.tick()] == [request.run_key]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, STARTED])
def test_an_open_batch_whose_run_may_still_come_is_left_alone(site: Site, status: dg.DagsterRunStatus):
    site.ingest(source_event("a"))
    [request] = site.tick()
    site.instance.report_run_failed(run_for(site, request))
    run_for(site, request, status)
    site.instance.report_run_failed(run_for(site, request))
    assert reconciled(site)["settled"] == 0
    assert site.batches()[0]["state"] == "open"


def test_an_open_batch_whose_runs_have_been_cancelled_is_cancelled(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    site.instance.report_run_canceled(run_for(site, request))
    assert reconciled(site)["settled"] == 1
    assert site.statuses() == ["cancelled"]
    assert site.tick() == []


def test_an_open_batch_whose_runs_have_all_failed_is_freed_and_assigned_anew(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    for _ in range(2):
        site.instance.report_run_failed(run_for(site, request))
    assert reconciled(site)["settled"] == 1
    assert site.batches()[0]["close_reason"] == "run_key_spent"
    [again] = site.tick()
    assert again.run_key != request.run_key
    site.launch(tags=dict(again.tags))
    reconciled(site)
    assert [(row["status"], row["losses"]) for row in site.rows_of_runs()[:1]] == [("completed", 0)]


def test_a_deleted_run_counts_as_lost_after_a_while_and_not_before(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    run = run_for(site, request)
    taken(site, run)
    site.instance.delete_run(run.run_id)
    age(site, MIN_AGE_OF_LOSS - 5)
    assert reconciled(site) == {"recorded": 1, "settled": 0}
    assert site.statuses() == ["running"]
    age(site, 10)
    assert reconciled(site)["settled"] == 1
    assert site.batches()[0]["close_reason"] == "deleted"
    row = site.rows_of_runs()[0]
    assert (row["status"], row["losses"], row["outcome"]) == ("queued", 1, None)
    site.work_off()
    assert site.statuses() == ["completed"]


def test_a_run_that_takes_long_is_not_lost(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    taken(site, run_for(site, request))
    age(site, 10 * MIN_AGE_OF_LOSS)
    assert reconciled(site)["settled"] == 0
    assert site.batches()[0]["state"] == "running"


def test_the_writer_of_a_batch_that_was_given_up_writes_nothing_more(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    run = run_for(site, request)
    token = taken(site, run)
    with site.engine.begin() as connection:
        seen = examined(connection, token)
    site.instance.delete_run(run.run_id)
    age(site, MIN_AGE_OF_LOSS + 1)
    reconciled(site)
    with pytest.raises(batches.BatchLost):
        persistence(site.engine, token).keep(seen, decided(seen))
    assert site.count("select count(*) from lightfast_workspace_neural_observations") == 0


def test_several_batches_are_each_brought_in_line_with_their_own_run(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    site.launch(tags=dict(request.tags))
    site.ingest(source_event("b"))
    site.tick()
    assert reconciled(site)["settled"] == 1
    [second] = site.tick()
    assert site.statuses() == ["completed", "queued"]
    taken(site, run_for(site, second))
    assert reconciled(site) == {"recorded": 1, "settled": 0}
    assert site.statuses() == ["completed", "running"]


def test_the_sensor_reconciles_and_says_what_it_did(site: Site):
    ended_run(site, "succeeds")
    given = {"pipeline": StumblingPipeline()}
    with dg.build_sensor_context(instance=site.instance, resources=given) as context:
        data = reconciler_sensor().evaluate_tick(context)
    assert (data.run_requests, data.skip_message) == ([], "0 rows recorded, 1 batches settled")
    assert site.statuses() == ["completed", "failed"]
