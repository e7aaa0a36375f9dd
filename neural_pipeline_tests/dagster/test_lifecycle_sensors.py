"""The lifecycle sensors, driven with real runs: alone they suffice, in any order, and as often as one likes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from neural_pipeline.automation.lifecycle import lifecycle_sensors, record_run
from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.store import batches
from neural_pipeline.workflows.observation_capture import classifying
from neural_pipeline.workflows.observation_capture.classification import Classification
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.launching import FATAL, UNSTORABLE, Site, StumblingPipeline, batch_tag

SENSORS = {sensor.name: sensor for sensor in lifecycle_sensors(observation_capture)}


class Watch:
    """The lifecycle sensors of a site with their cursors; made before the first run, as a daemon would be."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cursors: dict[str, str | None] = dict.fromkeys(SENSORS)
        self.tick(*SENSORS)

    def tick(self, *names: str) -> list[str]:
        """Evaluate sensors; return the names of those that reacted to a run. Their errors are raised."""
        return [name for name in names or SENSORS for _ in self._reactions(name)]

    def _reactions(self, name: str) -> list[Any]:
        given = {"pipeline": StumblingPipeline()}
        with dg.build_sensor_context(
            instance=self.site.instance, cursor=self.cursors[name], resources=given
        ) as context:
            data = SENSORS[name].evaluate_tick(context)
        self.cursors[name] = data.cursor
        errors = [reaction.error for reaction in data.dagster_run_reactions if reaction.error]
        assert not errors, errors
        assert data.run_requests == []
        return list(data.dagster_run_reactions)


@pytest.fixture
def watch(site: Site) -> Watch:
    return Watch(site)


@pytest.fixture
def during_classification(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something in the middle of a run."""
    real = classifying.classify_by_rules

    def arrange(action: Callable[[], None]) -> None:
        def classify(event: SourceEvent) -> Classification:
            action()
            return real(event)

        monkeypatch.setattr(classifying, "classify_by_rules", classify)

    return arrange


def taken_run(site: Site, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> dg.DagsterRun:
    """Return a run that has taken the one open batch and begun, as a process that then says nothing more."""
    [request] = site.tick()
    run = site.instance.create_run_for_job(observation_capture, tags=dict(request.tags), status=status)
    with site.engine.begin() as connection:
        token = batches.take(connection, int(request.run_key or 0), run_id=run.run_id, seconds=600, lease=60)
        assert token is not None
        batches.begin(connection, token)
    return run


def test_the_sensors_alone_bring_a_run_to_its_end(site: Site, watch: Watch):
    site.ingest(source_event("a"), source_event("b", title=UNSTORABLE), source_event("a"))
    [request] = site.tick()
    site.launch(tags=dict(request.tags))
    assert site.statuses() == ["queued"] * 3, "the job itself moves no row"
    assert watch.tick() == ["lifecycle_started", "lifecycle_success"]
    assert site.statuses() == ["completed", "failed", "completed"]
    assert (site.batches()[0]["state"], site.batches()[0]["close_reason"]) == ("closed", "success")


def test_while_a_run_is_going_its_rows_are_running(
    site: Site, watch: Watch, during_classification: Callable[[Callable[[], None]], None]
):
    seen: list[dict[str, Any]] = []

    def look() -> None:
        watch.tick("lifecycle_started")
        seen.append(site.run_of(1))

    during_classification(look)
    site.ingest(source_event("a"))
    [request] = site.tick()
    result = site.launch(tags=dict(request.tags))
    [row] = seen
    assert (row["status"], row["dagster_run_id"]) == ("running", result.run_id)
    assert row["created_at"] <= row["started_at"]
    assert (row["completed_at"], row["duration_ms"], row["output"]) == (None, None, None)
    watch.tick()
    ended = site.run_of(1)
    assert (ended["status"], ended["started_at"]) == ("completed", row["started_at"])


ORDERS = [
    ("lifecycle_queued", "lifecycle_started", "lifecycle_success", "lifecycle_failure"),
    ("lifecycle_success", "lifecycle_failure", "lifecycle_started", "lifecycle_queued"),
    ("lifecycle_started", "lifecycle_success", "lifecycle_started", "lifecycle_failure", "lifecycle_success"),
]


@pytest.mark.parametrize("order", ORDERS, ids=["in order", "end before beginning", "again and again"])
def test_the_order_in_which_sensors_see_a_run_does_not_matter(site: Site, watch: Watch, order: tuple[str, ...]):
    site.ingest(source_event("a"), source_event("b", title=UNSTORABLE))
    [request] = site.tick()
    result = site.launch(tags=dict(request.tags))
    for name in order:
        watch.tick(name)
    rows = [
        site.row(
            "select status, dagster_run_id, batch_id, attempt, started_at, completed_at, duration_ms::int as ms "
            "from lightfast_workspace_workflow_runs where event_id = :id",
            id=id_,
        )
        for id_ in (1, 2)
    ]
    events = [site.row("select begun_at, outcome_at from incoming_events where id = :id", id=id_) for id_ in (1, 2)]
    for row, event, status in zip(rows, events, ("completed", "failed"), strict=True):
        assert (row["status"], row["dagster_run_id"], row["batch_id"], row["attempt"]) == (
            status,
            result.run_id,
            1,
            1,
        )
        assert (row["started_at"], row["completed_at"]) == (event["begun_at"], event["outcome_at"])
        assert row["ms"] == (event["outcome_at"] - event["begun_at"]) // timedelta(milliseconds=1)
    kinds = "select type from lightfast_workspace_operations_metrics where type in ('job_duration', 'errors')"
    assert sorted(site.column(kinds)) == ["errors", "job_duration", "job_duration"]


def test_a_status_seen_again_changes_nothing(site: Site, watch: Watch):
    site.ingest(source_event("a"))
    [request] = site.tick()
    result = site.launch(tags=dict(request.tags))
    watch.tick()
    before = site.contents()
    site.record(result.run_id)
    Watch(site)
    assert site.contents() == before


def test_what_a_failed_run_had_committed_stays_and_the_rest_waits_again(
    site: Site, watch: Watch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", "1")
    site.ingest(source_event("a"), source_event("b", title=FATAL), source_event("c"))
    [request] = site.tick()
    assert not site.launch(tags=dict(request.tags)).success
    assert watch.tick() == ["lifecycle_started", "lifecycle_failure"]
    assert [(row["status"], row["losses"], row["attempt"], row["began"]) for row in site.rows_of_runs()[:3]] == [
        ("completed", 0, 1, True),
        ("queued", 1, 0, False),
        ("queued", 1, 0, False),
    ]
    assert site.batches()[0]["close_reason"] == "failure"
    assert site.column("select batch_id from incoming_events where losses = 1") == [None, None]


@pytest.mark.slow
def test_an_event_under_which_runs_keep_dying_ends_as_failed_and_the_others_do_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_CAPTURE_MAX_BATCH", "27")
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", "1")
    fatal = source_event("b", title=FATAL, references=())
    site.ingest(source_event("a"), fatal, *[source_event(f"c-{n}") for n in range(4)])
    results = site.work_off()
    assert site.statuses() == ["completed", "failed", *["completed"] * 4]
    row = site.run_of(2)
    assert (row["cause"], row["output"]["step"], row["output"]["sourceId"]) == ("code_error", "store", "b")
    assert row["error_message"].startswith("nothing can be stored")
    assert sum(not result.success for result in results) == 4


def test_a_cancelled_run_cancels_the_events_it_has_not_finished(site: Site, watch: Watch):
    site.ingest(source_event("a"), source_event("b"))
    run = taken_run(site)
    site.instance.report_run_canceled(run)
    assert watch.tick() == ["lifecycle_canceled"]
    rows = site.rows("select status, error_message, output, completed_at from lightfast_workspace_workflow_runs")
    assert [(row["status"], row["error_message"], row["output"]) for row in rows] == [
        ("cancelled", "the Dagster run was cancelled", None)
    ] * 2
    assert all(row["completed_at"] for row in rows)
    assert site.column("select outcome from incoming_events") == ["cancelled", "cancelled"]
    tags = site.column("select tags ->> 'outcome' from lightfast_workspace_operations_metrics")
    assert tags == ["cancelled", "cancelled"]
    assert site.tick() == []


def test_the_end_of_one_of_two_runs_asked_for_a_batch_leaves_it_to_the_other(site: Site, watch: Watch):
    site.ingest(source_event("a"))
    [request] = site.tick()
    first, second = (site.instance.create_run_for_job(observation_capture, tags=dict(request.tags)) for _ in range(2))
    site.instance.report_run_canceled(first)
    assert watch.tick() == ["lifecycle_canceled"]
    assert ([batch["state"] for batch in site.batches()], site.statuses()) == (["open"], ["queued"])
    site.instance.report_run_canceled(second)
    watch.tick()
    assert ([batch["state"] for batch in site.batches()], site.statuses()) == (["closed"], ["cancelled"])


def test_a_run_that_dagster_reports_failed_leaves_its_events_to_another(site: Site, watch: Watch):
    site.ingest(source_event("a"))
    site.instance.report_run_failed(taken_run(site))
    assert watch.tick() == ["lifecycle_failure"]
    assert site.statuses() == ["queued"]
    site.work_off()
    row = site.rows_of_runs()[0]
    assert (row["status"], row["losses"], row["attempt"]) == ("completed", 1, 1)


def test_a_run_that_fails_before_it_took_its_batch_frees_the_events_unharmed(site: Site, watch: Watch):
    site.ingest(source_event("a"))
    [request] = site.tick()
    run = site.instance.create_run_for_job(observation_capture, tags=dict(request.tags))
    site.instance.report_run_failed(run)
    watch.tick()
    assert [(batch["state"], batch["close_reason"]) for batch in site.batches()] == [("closed", "run_key_spent")]
    assert site.row("select batch_id, losses, outcome from incoming_events") == {
        "batch_id": None,
        "losses": 0,
        "outcome": None,
    }
    [again] = site.tick()
    assert again.run_key != request.run_key


def test_the_end_of_a_run_that_did_not_get_the_batch_leaves_it_to_the_one_that_did(site: Site, watch: Watch):
    site.ingest(source_event("a"))
    holder = taken_run(site)
    other = site.instance.create_run_for_job(observation_capture, tags=dict(holder.tags))
    site.instance.report_run_failed(other)
    assert watch.tick() == ["lifecycle_failure"]
    [batch] = site.batches()
    assert (batch["state"], batch["run_id"]) == ("running", holder.run_id)


def test_runs_of_other_jobs_are_none_of_their_business(site: Site, watch: Watch):
    @dg.op
    def nothing() -> None: ...

    @dg.job(executor_def=dg.in_process_executor)
    def something_else() -> None:
        nothing()

    site.ingest(source_event("a"))
    [request] = site.tick()
    before = site.contents()
    something_else.execute_in_process(instance=site.instance, tags=batch_tag(int(request.run_key or 0)))
    assert watch.tick() == []
    assert site.contents() == before


def test_that_a_run_is_queued_or_starts_before_it_took_its_batch_moves_nothing(site: Site):
    site.ingest(source_event("a"))
    [request] = site.tick()
    run = site.instance.create_run_for_job(observation_capture, tags=dict(request.tags))
    before = site.contents()
    for status in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED):
        record_run(StumblingPipeline(), site.instance, run, status)
    assert site.contents() == before
