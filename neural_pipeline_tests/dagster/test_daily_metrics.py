"""The numbers of each day: kept by the job, for any day and as often as one likes, and asked for by the schedule."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
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


def tell(site: Site, day: object) -> dg.ExecuteInProcessResult:
    return day_metrics.execute_in_process(
        partition_key=str(day), instance=site.instance, resources={"pipeline": Pipeline()}
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
    tell(site, yesterday)
    assert told(site)[str(yesterday)]["executions_failed"] == 0
    worked_off(site)
    site.execute("update lightfast_workspace_operations_metrics set timestamp = timestamp - interval '1 day'")
    tell(site, yesterday)
    assert {day: numbers["executions_failed"] for day, numbers in told(site).items()} == {str(yesterday): 1}


def test_what_was_told_stays_when_its_run_is_removed(site: Site) -> None:
    result = tell(site, TODAY)
    site.instance.delete_run(result.run_id)
    assert list(told(site)) == [str(TODAY)]


def test_there_is_no_day_to_tell_before_it_has_begun(site: Site) -> None:
    with pytest.raises(dg.DagsterUnknownPartitionError):
        tell(site, TODAY + timedelta(days=1))


def requested(site: Site, schedule: dg.ScheduleDefinition) -> tuple[list[dg.RunRequest], str | None]:
    after_midnight = datetime.combine(TODAY, datetime.min.time(), UTC) + timedelta(minutes=20)
    with dg.build_schedule_context(
        instance=site.instance,
        scheduled_execution_time=after_midnight,
        resources={"pipeline": Pipeline()},
        repository_def=defs.get_repository_def(),
    ) as context:
        ticked = schedule.evaluate_tick(context)
    return list(ticked.run_requests or []), ticked.skip_message


def test_the_schedule_asks_for_the_day_that_is_over_and_for_those_that_were_missed(site: Site) -> None:
    days = [TODAY - timedelta(days=back) for back in range(7, 0, -1)]
    requests, _ = requested(site, day_metrics_schedule())
    assert [request.partition_key for request in requests] == [str(day) for day in days]
    for day in days[:-2]:
        tell(site, day)
    requests, _ = requested(site, day_metrics_schedule())
    assert [request.partition_key for request in requests] == [str(day) for day in days[-2:]]


@pytest.mark.parametrize("schedule", [day_metrics_schedule(), metrics_schedule()], ids=lambda one: one.name)
def test_nothing_is_begun_while_everything_is_being_shut_down(site: Site, schedule: dg.ScheduleDefinition) -> None:
    assert requested(site, schedule)[0]
    with site.engine.connect() as connection:
        start_draining(connection)
        requests, reason = requested(site, schedule)
        connection.detach()
    assert requests == []
    assert "shutting down" in str(reason)
