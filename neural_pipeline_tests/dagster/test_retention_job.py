"""Retention of Dagster's own records, on Postgres as in production: old finished runs and ticks go, the rest stays."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy import Connection, Engine, text

from neural_pipeline.automation.retention import retention
from neural_pipeline.cli.instance import dagster_instance
from neural_pipeline.postgres.target import DAGSTER_SCHEMA, resolve_database
from neural_pipeline.resources import Pipeline
from neural_pipeline.settings import Settings
from neural_pipeline.store import batches
from neural_pipeline.store.retention import Removed
from neural_pipeline.workflows.batch_work.tags import batch_named
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline.workflows.retention import dagster_records
from neural_pipeline.workflows.retention.dagster_records import DagsterRecords
from neural_pipeline.workflows.retention.pruning import PruneRefused, Retention
from neural_pipeline_tests.building import column, open_batch, waiting
from neural_pipeline_tests.dagster.launching import batch_tag, metadata_of
from neural_pipeline_tests.retention_world import age_everything, captured, contents

STATUS = dg.DagsterRunStatus
FINISHED = (STATUS.SUCCESS, STATUS.FAILURE, STATUS.CANCELED)
OLD, YOUNG = 15, 13


@pytest.fixture
def instance(
    engine: Engine, workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance with its storage beside the tables of this test's own database."""
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path))
    with engine.begin() as connection:
        connection.execute(text(f"create schema {DAGSTER_SCHEMA}"))
    with dagster_instance(resolve_database(Settings.load())) as instance:
        yield instance


@pytest.fixture
def records(engine: Engine, instance: dg.DagsterInstance) -> Retention:
    """What is kept of this test's database, Dagster's records among it."""
    return Retention(engine, Settings.load(), DagsterRecords(instance, batch_named))


def a_run(
    instance: dg.DagsterInstance, engine: Engine, status: dg.DagsterRunStatus, days: float, **tags: str
) -> dg.DagsterRun:
    """Make a run that got so far and no further, so many days ago."""
    run = instance.create_run_for_job(observation_capture, tags=tags, status=STATUS.STARTED)
    match status:
        case STATUS.SUCCESS:
            event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name)
            instance.report_dagster_event(event, run.run_id)
        case STATUS.FAILURE:
            instance.report_run_failed(run)
        case STATUS.CANCELED:
            instance.report_run_canceled(run)
        case _:
            instance.report_run_canceling(run)
    with engine.begin() as connection:
        set_back(connection, run.run_id, days)
    return run


def set_back(connection: Connection, run_id: str, days: float) -> None:
    sql = f"""
    update {DAGSTER_SCHEMA}.runs set create_timestamp = create_timestamp - make_interval(days => :days),
      update_timestamp = update_timestamp - make_interval(days => :days), end_time = end_time - :days * 86400
    where run_id = :id
    """
    connection.execute(text(sql), {"id": run_id, "days": days})


def remaining(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def named(removed: Removed) -> dict[str, int]:
    return {f"{kind.name} {kind.state}": number for kind, number in removed.items()}


@pytest.mark.parametrize("size", [1, 2, 100])
def test_old_finished_runs_go_with_their_event_logs_and_the_rest_stays(
    instance: dg.DagsterInstance, engine: Engine, records: Retention, monkeypatch: pytest.MonkeyPatch, size: int
):
    monkeypatch.setattr(dagster_records, "PAGE", size)
    gone, kept = set[str](), set[str]()
    for status in FINISHED:
        gone.add(a_run(instance, engine, status, OLD).run_id)
        kept.add(a_run(instance, engine, status, YOUNG).run_id)
    kept.add(a_run(instance, engine, STATUS.CANCELING, 4000).run_id)
    gone.add(a_run(instance, engine, STATUS.SUCCESS, OLD).run_id)
    expected = {"Dagster run success": 2, "Dagster run failure": 1, "Dagster run canceled": 1}
    assert named(records.preview()) == expected
    assert remaining(instance) == gone | kept
    assert named(records.prune()) == expected
    assert remaining(instance) == kept
    with engine.begin() as connection:
        logged = column(connection, f"select distinct run_id from {DAGSTER_SCHEMA}.event_logs")
    assert set(logged) == kept
    assert records.prune() == {}


def test_a_run_that_began_long_ago_but_ended_lately_stays(
    instance: dg.DagsterInstance, engine: Engine, records: Retention
):
    run = a_run(instance, engine, STATUS.FAILURE, OLD)
    with engine.begin() as connection:
        connection.execute(text(f"update {DAGSTER_SCHEMA}.runs set end_time = extract(epoch from now())"))
    records.prune()
    assert remaining(instance) == {run.run_id}


def test_a_run_whose_batch_is_not_closed_stays_however_old_it_is(
    instance: dg.DagsterInstance, engine: Engine, records: Retention
):
    with engine.begin() as connection:
        batch_id = open_batch(connection, waiting(connection))
    asked_for = a_run(instance, engine, STATUS.FAILURE, 4000, **batch_tag(batch_id))
    by_hand = a_run(instance, engine, STATUS.SUCCESS, 4000)
    other = a_run(instance, engine, STATUS.SUCCESS, 4000, **batch_tag(batch_id + 1))
    with engine.begin() as connection:
        batches.take(connection, batch_id, run_id=by_hand.run_id, seconds=600, lease=60)
    assert named(records.preview()) == {"Dagster run success": 1}
    records.prune()
    assert remaining(instance) == {asked_for.run_id, by_hand.run_id}
    assert other.run_id not in remaining(instance)
    with engine.begin() as connection:
        connection.execute(text("update event_batches set state = 'closed', closed_at = now()"))
    records.prune()
    assert remaining(instance) == set()


def an_instigator(instance: dg.DagsterInstance, name: str, type_: InstigatorType) -> InstigatorState:
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("tests"), "tests"), name)
    data = ScheduleInstigatorData(cron_schedule="@daily") if type_ is InstigatorType.SCHEDULE else None
    return instance.add_instigator_state(InstigatorState(origin, type_, InstigatorStatus.DECLARED_IN_CODE, data))


def tick(instance: dg.DagsterInstance, state: InstigatorState, status: TickStatus, days: float) -> None:
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=state.instigator_name,
            instigator_type=state.instigator_type,
            status=status,
            timestamp=(datetime.now(UTC) - timedelta(days=days)).timestamp(),
            selector_id=state.selector_id,
            run_ids=["some-run"] if status is TickStatus.SUCCESS else None,
            error=SerializableErrorInfo("no", [], None) if status is TickStatus.FAILURE else None,
        )
    )


def ticks_of(instance: dg.DagsterInstance, state: InstigatorState) -> list[TickStatus]:
    """Return the ticks, oldest first."""
    return [tick.status for tick in reversed(instance.get_ticks(state.instigator_origin_id, state.selector_id))]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_old_ticks_of_sensors_and_schedules_go_but_for_the_newest_and_those_that_have_not_ended(
    instance: dg.DagsterInstance, records: Retention, monkeypatch: pytest.MonkeyPatch, size: int
):
    monkeypatch.setattr(dagster_records, "PAGE", size)
    sensor = an_instigator(instance, "inbox", InstigatorType.SENSOR)
    asleep = an_instigator(instance, "daily", InstigatorType.SCHEDULE)
    for status in (TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.SKIPPED, TickStatus.STARTED):
        tick(instance, sensor, status, OLD)
    tick(instance, sensor, TickStatus.FAILURE, YOUNG)
    for days in (4000, 3999):
        tick(instance, asleep, TickStatus.SUCCESS, days)
    expected = {"sensor tick success": 1, "sensor tick skipped": 2, "schedule tick success": 1}
    assert named(records.preview()) == expected
    assert len(ticks_of(instance, sensor)) == 5
    assert named(records.prune()) == expected
    assert ticks_of(instance, sensor) == [TickStatus.STARTED, TickStatus.FAILURE]
    assert ticks_of(instance, asleep) == [TickStatus.SUCCESS]


def launched(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return retention.execute_in_process(instance=instance, resources={"pipeline": Pipeline()})


def test_the_job_removes_what_is_old_and_says_what_that_was(instance: dg.DagsterInstance, engine: Engine):
    captured(engine)
    with engine.begin() as connection:
        age_everything(connection, 100)
    old = a_run(instance, engine, STATUS.SUCCESS, OLD)
    result = launched(instance)
    assert metadata_of(result, "prune") == {
        "removed": 3, "payload: completed": 1, "raw payload: accepted": 1, "Dagster run: success": 1
    }  # fmt: skip
    assert remaining(instance) == {result.run_id}
    assert old.run_id != result.run_id
    with engine.begin() as connection:
        assert column(connection, "select count(*) from incoming_events where pruned_at is not null") == [1]


class Meanwhile(DagsterRecords):
    """In the middle of a prune, others try one too."""

    def remove(self, before: datetime, unfinished: dagster_records.Unfinished) -> Removed:
        """Try two more prunes at once, by hand and as the job."""
        with pytest.raises(PruneRefused, match="another prune"):
            Retention(Pipeline().engine, Settings.load(), None).prune()
        result = launched(self.instance)
        assert metadata_of(result, "prune")["removed"] == 0
        assert "another prune" in metadata_of(result, "prune")["note"]
        return Removed({("tried", "again"): 1})


def test_only_one_prune_is_at_work_at_a_time_and_the_next_one_can_be(instance: dg.DagsterInstance, engine: Engine):
    captured(engine)
    first = Retention(engine, Settings.load(), Meanwhile(instance, batch_named))
    for _ in range(2):
        assert first.prune() == {("tried", "again"): 1}


def test_a_database_of_another_program_version_is_left_alone(engine: Engine, records: Retention):
    captured(engine)
    with engine.begin() as connection:
        age_everything(connection, 4000)
        connection.execute(text("update neural_alembic_version set version_num = '9999'"))
        before = contents(connection)
    with pytest.raises(PruneRefused, match="revision"):
        records.prune()
    with engine.begin() as connection:
        assert contents(connection) == before
