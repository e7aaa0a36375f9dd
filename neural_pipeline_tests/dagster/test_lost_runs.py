"""Runs that die, hang, fail or cannot write: who notices, what becomes of their events, and who is not blamed."""

import time
from typing import Any

import dagster as dg
import pytest

from neural_pipeline.automation.reconciler import reconcile
from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.store import batches
from neural_pipeline.store.batches import Token
from neural_pipeline.workflows.observation_capture import classifying
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline.workflows.observation_capture.logic import Classification
from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.launching import FATAL, UNEMBEDDABLE, Site, StumblingPipeline, failure_of

STARTED = dg.DagsterRunStatus.STARTED


def taken(site: Site) -> tuple[dg.DagsterRun, Token]:
    """A run that has taken its batch, begun, and is never heard of again."""
    [request] = site.tick()
    run = site.instance.create_run_for_job(observation_capture, tags=dict(request.tags), status=STARTED)
    with site.engine.begin() as connection:
        token = batches.take(connection, int(request.run_key or 0), run_id=run.run_id, seconds=600, lease=60)
        assert token is not None
        batches.begin(connection, token)
    return run, token


def reconciled(site: Site) -> dict[str, int]:
    return reconcile(StumblingPipeline(), site.instance)


def status(site: Site, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = site.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_a_run_without_a_sign_of_life_loses_its_batch_and_is_reported_as_failed(site: Site):
    site.ingest(source_event("a"))
    run, _ = taken(site)
    assert reconciled(site) == {"recorded": 1, "settled": 0}
    site.execute("update event_batches set lease_until = clock_timestamp()")
    assert reconciled(site)["settled"] == 1
    assert site.batches()[0]["close_reason"] == "lost"
    assert status(site, run) is dg.DagsterRunStatus.FAILURE
    assert [(row["status"], row["losses"], row["attempt"]) for row in site.rows_of_runs()] == [("queued", 1, 0)]
    assert [result.success for result in site.work_off()] == [True]
    assert site.statuses() == ["completed"]


def test_a_run_whose_time_is_over_loses_its_batch(site: Site):
    site.ingest(source_event("a"))
    run, _ = taken(site)
    site.execute("update event_batches set deadline_at = clock_timestamp()")
    assert reconciled(site)["settled"] == 1
    assert site.batches()[0]["close_reason"] == "timeout"
    assert status(site, run) in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELING}


def test_a_run_that_has_ended_well_is_not_lost_because_its_lease_ran_out(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    assert site.launch(tags=dict(request.tags)).success
    site.execute("update event_batches set lease_until = clock_timestamp(), deadline_at = clock_timestamp()")
    reconciled(site)
    assert site.batches()[0]["close_reason"] == "success"
    assert site.statuses() == ["completed"]


def test_the_run_that_a_sensor_asks_for_is_ended_by_dagster_soon_after_its_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_CAPTURE_TIMEOUT_SECONDS", "77")
    site.ingest(source_event("a"))
    [request] = site.tick()
    assert request.tags["dagster/max_runtime"] == str(77 + 60)


def test_a_run_at_work_keeps_its_lease_and_stops_with_its_end(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_LEASE_SECONDS", "3")
    real = classifying.classify_by_rules
    leases: list[Any] = []

    def dawdle(event: SourceEvent) -> Classification:
        for _ in range(2):
            leases.append(site.row("select lease_until from event_batches")["lease_until"])
            time.sleep(1.5)
        return real(event)

    monkeypatch.setattr(classifying, "classify_by_rules", dawdle)
    site.ingest(source_event("a"))
    assert site.launch().success
    assert leases[0] < leases[1]
    last = site.row("select lease_until from event_batches")
    time.sleep(1.5)
    assert site.row("select lease_until from event_batches") == last


def test_a_run_that_hangs_gives_its_own_batch_up_when_its_time_is_over(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_LEASE_SECONDS", "3")
    real = classifying.classify_by_rules

    def hang(event: SourceEvent) -> Classification:
        site.execute("update event_batches set deadline_at = clock_timestamp() where state = 'running'")
        time.sleep(2.5)
        return real(event)

    monkeypatch.setattr(classifying, "classify_by_rules", hang)
    site.ingest(source_event("a"))
    result = site.launch()
    assert "no longer belongs to run" in failure_of(result)
    [batch] = site.batches()
    assert (batch["close_reason"], batch["stale_writes"]) == ("timeout", 1)
    assert site.count("select count(*) from lightfast_workspace_neural_observations") == 0


def test_an_op_that_fails_settles_its_batch_before_any_sensor_looks(site: Site):
    site.ingest(source_event("a", title=FATAL))
    [request] = site.tick()
    assert not site.launch(tags=dict(request.tags)).success
    assert site.batches()[0]["close_reason"] == "failure"
    assert [(row["status"], row["losses"]) for row in site.rows_of_runs()] == [("queued", 1)]
    [kept] = site.rows("select step, cause, error_class, message, stack from workflow_run_attempts")
    assert (kept["step"], kept["cause"], kept["error_class"]) == ("store", "code_error", "InternalError_")
    assert kept["message"].startswith("nothing can be stored")
    assert "Traceback" in kept["stack"]


READ_ONLY = """
create function be_read_only() returns trigger language plpgsql as $$
begin raise exception 'cannot write' using errcode = '{code}'; end $$;
create trigger be_read_only before insert on lightfast_workspace_neural_observations
  for each statement execute function be_read_only();
"""


@pytest.mark.parametrize("code", ["53100", "25006", "42501", "57P01", "08006"])
def test_circumstances_hand_the_batch_back_after_a_pause_and_blame_nobody(site: Site, code: str):
    site.execute(READ_ONLY.format(code=code))
    try:
        site.ingest(source_event("a"))
        [request] = site.tick()
        assert not site.launch(tags=dict(request.tags)).success
    finally:
        site.execute("drop function be_read_only cascade")
    assert site.batches()[0]["close_reason"] == f"handed_back: {code}"
    [row] = site.rows_of_runs()
    assert (row["status"], row["losses"], row["attempt"]) == ("queued", 0, 0)
    assert site.count("select count(*) from workflow_run_attempts") == 0
    assert site.tick() == []
    site.execute("update incoming_events set due_at = clock_timestamp()")
    site.work_off()
    assert site.statuses() == ["completed"]


def test_a_stumbling_event_is_tried_again_and_its_failures_are_shown(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_CAPTURE_RETRIES", "1")
    monkeypatch.setenv("NEURAL_RETRY_BASE_SECONDS", "0")
    stumbling, other = site.ingest(source_event("a", title=UNEMBEDDABLE), source_event("b"))
    assert [result.success for result in site.work_off()] == [True, True]
    run = site.run_of(stumbling)
    assert (run["status"], run["attempt"], run["cause"]) == ("failed", 2, "code_error")
    assert site.run_of(other)["attempt"] == 1
    kept = site.rows("select attempt, step, error_class from workflow_run_attempts order by attempt")
    assert kept == [{"attempt": n, "step": "embed", "error_class": "ValueError"} for n in (1, 2)]


def test_an_event_that_waits_for_its_next_attempt_does_not_hold_up_its_workspace(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_CAPTURE_RETRIES", "1")
    monkeypatch.setenv("NEURAL_RETRY_BASE_SECONDS", "3600")
    site.ingest(source_event("a", title=UNEMBEDDABLE))
    site.work_off()
    site.ingest(source_event("b"))
    site.work_off()
    assert site.statuses() == ["queued", "completed"]
