"""The numbers of each day: kept by the job, for any day and as often as one likes, and asked for by the schedule."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from sqlalchemy.engine import URL

from neural_pipeline.definitions import defs
from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.daily import DAILY, day_metrics, day_metrics_schedule
from neural_pipeline.metrics.schedules import metrics_schedule
from neural_pipeline.resources import Pipeline
from neural_pipeline.store.drain import start_draining
from neural_pipeline_tests.dagster.launching import Site
from neural_pipeline_tests.dagster.measuring import site_of, worked_off

TODAY = datetime.now(UTC).date()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def site(run_database: URL, instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[Site]:
    with site_of(run_database, instance, tmp_path / "home") as site:
        yield site


def tell(site: Site, day: object, *, fails: bool = False) -> dg.ExecuteInProcessResult:
    return day_metrics.execute_in_process(
        partition_key=str(day),
        instance=site.instance,
        resources={"pipeline": Pipeline()},
        raise_on_error=not fails,
    )


def measured(site: Site, *, days_ago: int) -> None:
    """Have a metric of a day."""
    site.execute(
        "insert into lightfast_workspace_operations_metrics (clerk_org_id, workspace_id, type, value, unit, timestamp)"
        " values ('org_test', 'ws_test', 'observation_captured', 1, 'count', :timestamp)",
        timestamp=datetime.now(UTC) - timedelta(days=days_ago),
    )


def told(site: Site) -> dict[str, dict[str, Any]]:
    """Return the numbers of each day that was told, as they were told last."""
    records = site.instance.fetch_materializations(DAILY, limit=100, ascending=True).records
    made = [record.asset_materialization for record in records]
    return {
        str(one.partition): {name: cast("Any", value).value for name, value in one.metadata.items()}
        for one in made
        if one is not None
    }


def test_a_day_has_the_numbers_of_all_views_by_days(site: Site) -> None:
    worked_off(site)
    assert tell(site, TODAY).success
    [(day, numbers)] = told(site).items()
    assert day == str(TODAY)
    names = {number.name for view in VIEWS if view.by_day for number in view.numbers}
    assert numbers.keys() <= names
    assert {number.name for view in VIEWS if view.by_day for number in view.numbers if number.unit == "count"} <= (
        numbers.keys()
    )
    assert (numbers["executions_failed"], numbers["observations_captured"]) == (1, 3)


def test_a_day_can_be_told_again_and_one_on_which_nothing_ended_too(site: Site) -> None:
    yesterday = TODAY - timedelta(days=1)
    measured(site, days_ago=3)
    tell(site, yesterday)
    assert told(site)[str(yesterday)]["executions_failed"] == 0
    worked_off(site)
    site.execute("update lightfast_workspace_operations_metrics set timestamp = timestamp - interval '1 day'")
    tell(site, yesterday)
    assert {day: numbers["executions_failed"] for day, numbers in told(site).items()} == {str(yesterday): 1}


def test_what_was_told_of_a_day_stays_when_its_metrics_are_removed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(site, days_ago=6)
    tell(site, TODAY - timedelta(days=4))
    monkeypatch.setenv("NEURAL_KEEP_METRIC_DAYS", "3")
    result = tell(site, TODAY - timedelta(days=4), fails=True)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "have been removed" in str(failure.step_failure_data.error)
    assert tell(site, TODAY - timedelta(days=3)).success
    told_twice = site.instance.fetch_materializations(DAILY, limit=100, ascending=True).records
    assert [one.partition_key for one in told_twice] == [str(TODAY - timedelta(days=back)) for back in (4, 3)]


def test_a_day_before_the_first_metric_is_not_told(site: Site) -> None:
    assert tell(site, TODAY).success
    assert told(site) == {}, "there is none yet"
    measured(site, days_ago=2)
    result = tell(site, TODAY - timedelta(days=3))
    [output] = [event for event in result.all_events if event.is_successful_output]
    assert "nothing to tell" in str(output.step_output_data.metadata["skipped"].value)
    assert told(site) == {}
    tell(site, TODAY - timedelta(days=2))
    assert list(told(site)) == [str(TODAY - timedelta(days=2))]


def test_what_was_told_stays_when_its_run_is_removed(site: Site) -> None:
    measured(site, days_ago=0)
    result = tell(site, TODAY)
    site.instance.delete_run(result.run_id)
    assert list(told(site)) == [str(TODAY)]


def test_there_is_no_day_to_tell_before_it_has_begun(site: Site) -> None:
    with pytest.raises(dg.DagsterUnknownPartitionError):
        tell(site, TODAY + timedelta(days=1))


AFTER_MIDNIGHT = datetime.combine(TODAY, datetime.min.time(), UTC) + timedelta(minutes=20)


def requested(
    site: Site, schedule: dg.ScheduleDefinition, *, at: datetime = AFTER_MIDNIGHT
) -> tuple[list[dg.RunRequest], str | None]:
    with dg.build_schedule_context(
        instance=site.instance,
        scheduled_execution_time=at,
        resources={"pipeline": Pipeline()},
        repository_def=defs.get_repository_def(),
    ) as context:
        ticked = schedule.evaluate_tick(context)
    return list(ticked.run_requests or []), ticked.skip_message


def test_the_schedule_asks_for_the_day_that_is_over_and_for_those_that_were_missed(site: Site) -> None:
    days = [TODAY - timedelta(days=back) for back in range(7, 0, -1)]
    measured(site, days_ago=8)
    assert asked_for(site) == days
    for day in days[:-3]:
        tell(site, day)
    assert asked_for(site) == days[-3:]


def asked_for(site: Site) -> list[date]:
    requests, _ = requested(site, day_metrics_schedule())
    return [date.fromisoformat(str(request.partition_key)) for request in requests]


def test_the_last_two_days_are_told_again_as_an_outcome_may_come_late(site: Site) -> None:
    days = [TODAY - timedelta(days=back) for back in (3, 2, 1)]
    measured(site, days_ago=3)
    for day in days:
        tell(site, day)
    assert asked_for(site) == days[-2:]


def test_no_day_is_asked_for_that_has_no_metrics_to_tell(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    requests, reason = requested(site, day_metrics_schedule())
    assert (requests, reason) == ([], "there is no metric yet")
    measured(site, days_ago=4)
    assert asked_for(site)[0] == TODAY - timedelta(days=4)
    monkeypatch.setenv("NEURAL_KEEP_METRIC_DAYS", "3")
    assert asked_for(site)[0] == TODAY - timedelta(days=3)


def test_an_hour_that_was_missed_is_not_made_up_for_while_everything_is_starting(site: Site) -> None:
    now = datetime.now(UTC)
    requests, reason = requested(site, metrics_schedule(), at=now - timedelta(minutes=11))
    assert requests == []
    assert "11 minutes late" in str(reason)
    assert len(requested(site, metrics_schedule(), at=now - timedelta(minutes=9))[0]) == 1


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_hours_do_not_pile_up_while_one_is_not_done(site: Site, status: dg.DagsterRunStatus) -> None:
    now = datetime.now(UTC)
    here = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("neural_pipeline"), "__repository__")
    origin = RemoteJobOrigin(here, "metrics")
    run = create_run_for_test(site.instance, job_name="metrics", status=status, remote_job_origin=origin)
    requests, reason = requested(site, metrics_schedule(), at=now)
    assert (requests, reason) == ([], "the run of an earlier hour has not ended")
    site.instance.report_run_canceled(run)
    assert len(requested(site, metrics_schedule(), at=now)[0]) == 1


@pytest.mark.parametrize("schedule", [day_metrics_schedule(), metrics_schedule()], ids=lambda one: one.name)
def test_nothing_is_begun_while_everything_is_being_shut_down(site: Site, schedule: dg.ScheduleDefinition) -> None:
    measured(site, days_ago=3)
    now = datetime.now(UTC)
    assert requested(site, schedule, at=now)[0]
    with site.engine.connect() as connection:
        start_draining(connection)
        requests, reason = requested(site, schedule, at=now)
        connection.detach()
    assert requests == []
    assert "shutting down" in str(reason)
