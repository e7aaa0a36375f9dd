"""What the doctor reads from Dagster, with a real instance: daemons, sensors and ticks, runs and our batches."""

import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from neural_pipeline.cli.checkup import functions_with_a_job
from neural_pipeline.cli.checkup_dagster import judge_gaps, judge_switches, judge_ticks
from neural_pipeline.cli.dagster_facts import DagsterFacts, heartbeats, read_facts, starters
from neural_pipeline.cli.findings import Status
from neural_pipeline.definitions import defs
from neural_pipeline.store.leases import unfinished_batches
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.launching import Site
from neural_pipeline_tests.dagster.test_reconciler import reconciled, run_for, taken

JOBS = [observation_capture.name]
BOOM = SerializableErrorInfo("Exception: boom\nand more", [], "Exception")
WRAPPED = SerializableErrorInfo("Error occurred during the evaluation", [], "SensorExecutionError", cause=BOOM)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance on disk: the one in memory has nowhere to keep sensors. `site` takes it too."""
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def own(instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """The same, with nothing left in it of what a test had it remember."""
    yield instance
    instance.wipe_daemon_heartbeats()
    for state in instance.all_instigator_state():
        instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)


def remember(
    instance: dg.DagsterInstance,
    name: str,
    *ticks: TickStatus,
    status: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE,
    location: str = "neural_pipeline",
) -> None:
    """Have an instance remember a sensor as its daemon does, with ticks a second apart, the last one just now."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
    origin = RemoteInstigatorOrigin(repository, name)
    data = SensorInstigatorData(min_interval=1)
    state = InstigatorState(origin, InstigatorType.SENSOR, status, data)
    instance.add_instigator_state(state)
    for age, tick in reversed(list(enumerate(reversed(ticks)))):
        instance.create_tick(
            TickData(
                state.instigator_origin_id, name, InstigatorType.SENSOR, tick, time.time() - age,
                run_ids=[] if tick is TickStatus.SUCCESS else None,
                error=WRAPPED if tick is TickStatus.FAILURE else None, selector_id=state.selector_id,
            )
        )  # fmt: skip


def test_a_sensor_that_was_switched_off_is_found_and_named(own: dg.DagsterInstance) -> None:
    remember(own, "reconciler", status=InstigatorStatus.STOPPED)
    remember(own, "lifecycle_success")
    remember(own, "lifecycle_failure", status=InstigatorStatus.RUNNING)
    found = starters(own, now=time.time())
    assert {one.name: one.is_on for one in found} == {
        "reconciler": False,
        "lifecycle_success": True,
        "lifecycle_failure": True,
    }
    finding = judge_switches(found, workspace="w.yaml")
    assert (finding.status, finding.found) == (Status.FAIL, "1 of 3 switched off: reconciler")
    assert "dagster sensor start -w w.yaml reconciler" in str(finding.todo)


def test_sensors_of_other_projects_are_none_of_our_business(own: dg.DagsterInstance) -> None:
    remember(own, "theirs", status=InstigatorStatus.STOPPED, location="dashboards")
    remember(own, "ours", location="neural_pipeline.definitions")
    assert [one.name for one in starters(own, now=time.time())] == ["ours"]


def test_failed_ticks_are_counted_from_the_last_one_and_tell_the_innermost_error(own: dg.DagsterInstance) -> None:
    failure, success, started = TickStatus.FAILURE, TickStatus.SUCCESS, TickStatus.STARTED
    remember(own, "broken", failure, success, failure, failure, failure, started)
    remember(own, "healed", failure, failure, failure, success)
    remember(own, "new")
    broken, healed, new = starters(own, now=time.time())
    assert (broken.failures, broken.error) == (3, "Exception: boom")
    assert (healed.failures, healed.error) == (0, None)
    assert broken.seconds == pytest.approx(0, abs=3)
    assert (new.failures, new.seconds) == (0, None)
    assert judge_ticks([broken, healed]).found == "failing: broken, 3 in a row: Exception: boom"


def test_every_daemon_that_is_needed_is_listed_heard_or_not(own: dg.DagsterInstance) -> None:
    needed = sorted(own.get_required_daemon_types())
    now = time.time()
    own.add_daemon_heartbeat(DaemonHeartbeat(now - 50, needed[0], "id", [WRAPPED]))
    own.add_daemon_heartbeat(DaemonHeartbeat(now, "NO_LONGER_NEEDED", "id", []))
    found = heartbeats(own, now=now)
    assert [one.daemon for one in found] == needed
    assert (found[0].seconds, found[0].error) == (pytest.approx(50), "Exception: boom")
    assert {one.seconds for one in found[1:]} == {None}


def read(site: Site, *, older_than: float = 0) -> tuple[DagsterFacts, list[str]]:
    """What is read of the runs, and the gaps that are seen."""
    with site.engine.begin() as connection:
        batches = unfinished_batches(connection)
    run_ids = [batch.run_id for batch in batches if batch.run_id]
    facts = read_facts(site.instance, run_ids=run_ids, jobs=JOBS, older_than=older_than)
    finding = judge_gaps(batches, known=facts.known, unfinished=facts.unfinished, bound=older_than)
    return facts, [finding.found] if finding.status is Status.FAIL else []


def an_hour_passes(site: Site) -> None:
    """An ended run ended an hour ago, by Dagster's clock, and its batch was taken before that."""
    site.execute("update event_batches set taken_at = taken_at - interval '2 hours'")
    storage = site.instance.run_storage
    with storage.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        connection.exec_driver_sql("update runs set end_time = end_time - 3600")
        connection.exec_driver_sql("update runs set create_timestamp = datetime(create_timestamp, '-1 hour')")


def test_a_batch_whose_run_died_is_a_gap_until_the_reconciler_has_settled_it(site: Site) -> None:
    site.ingest(source_event("a"))
    run = run_for(site, site.tick()[0])
    taken(site, run)
    assert read(site)[1] == []
    site.instance.report_run_failed(run)
    assert read(site)[1] == [], "there is a moment to settle it"
    an_hour_passes(site)
    _, [gap] = read(site)
    assert f"batch 1, run {run.run_id} ended as FAILURE" in gap
    reconciled(site)
    assert read(site)[1] == []


def test_a_batch_whose_run_was_deleted_is_a_gap(site: Site) -> None:
    site.ingest(source_event("a"))
    run = run_for(site, site.tick()[0])
    taken(site, run)
    site.instance.delete_run(run.run_id)
    assert read(site)[1] == []
    site.execute("update event_batches set taken_at = taken_at - interval '2 minutes'")
    assert f"batch 1, run {run.run_id} is unknown to Dagster" in read(site)[1][0]


def test_a_run_that_dagster_believes_to_be_going_long_after_its_batch_was_closed_is_a_gap(site: Site) -> None:
    site.ingest(source_event("a"))
    run = run_for(site, site.tick()[0])
    token = taken(site, run)
    an_hour_passes(site)
    facts, gaps = read(site, older_than=900)
    assert ([one.run_id for one in facts.unfinished], gaps) == ([run.run_id], [])
    site.execute("update event_batches set state = 'closed' where id = :id", id=token.batch_id)
    _, [gap] = read(site, older_than=900)
    assert f"{run.run_id} (STARTED" in gap
    assert read(site, older_than=7200)[0].unfinished == []
    site.instance.report_run_failed(run)
    assert read(site, older_than=900)[0].unfinished == []


def test_the_functions_with_a_workflow_are_those_that_have_an_inbox_sensor() -> None:
    inboxes = {sensor.name for sensor in defs.sensors or () if sensor.name.endswith("_inbox")}
    assert inboxes
    assert {f"{function.name.lower()}_inbox" for function in functions_with_a_job()} == inboxes
