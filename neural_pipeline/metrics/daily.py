"""The numbers of each day, kept as partitions of one asset: history that outlives Dagster's runs.

The asset is external, as `dagster asset materialize --select '*'` takes no asset with partitions without naming one.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.frames import Period, numbers_of
from neural_pipeline.metrics.schedules import TAGS
from neural_pipeline.metrics.tables import OWNERS
from neural_pipeline.resources import Pipeline
from neural_pipeline.store.drain import is_draining
from neural_pipeline.store.sql import scalar
from neural_pipeline.workflows.retention.pruning import cutoffs

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_offset=1, timezone="UTC")
"""Every day (UTC) up to today, of which a part has passed."""

DAILY = dg.AssetKey("daily_metrics")

_CATCH_UP = 7
"""Days back to which the schedule makes good what it missed."""

_SHORTLY_AFTER_MIDNIGHT = "20 0 * * *"


def daily_spec() -> dg.AssetSpec:
    """Return the asset that has a partition per day."""
    return dg.AssetSpec(
        DAILY,
        deps=[view.name for view in VIEWS if view.by_day],
        group_name="reports",
        owners=OWNERS,
        kinds={"postgres"},
        description="The numbers of each day (UTC). Kept for good; the job `day_metrics` tells a day anew.",
        partitions_def=DAYS,
    )


@dg.op(out=dg.Out(dg.Nothing))
def tell_day(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Read the numbers of one day from the views by days and keep them as that day's partition.

    Raises dg.Failure for a day whose metrics have been removed: what was told of it stays.
    """
    asked = date.fromisoformat(context.partition_key)
    if asked < _kept_since(pipeline):
        raise dg.Failure(
            f"the metrics of {asked} have been removed, which are kept for NEURAL_KEEP_METRIC_DAYS;"
            " what was told of that day stays as it is",
            allow_retries=False,
        )
    first = _first_day(pipeline)
    if first is None or asked < first:
        context.add_output_metadata({"skipped": f"no metric is as old as {asked}: there is nothing to tell"})
        return
    numbers = numbers_of_day(pipeline, asked)
    day = dg.AssetMaterialization(DAILY, partition=context.partition_key, metadata=dict(numbers))
    # Not an event of this run: those go with the run, after NEURAL_KEEP_DAGSTER_DAYS.
    context.instance.report_runless_asset_event(day)
    context.add_output_metadata(dict(numbers))


def _kept_since(pipeline: Pipeline) -> date:
    return cutoffs(datetime.now(UTC), pipeline.settings).metric.date()


def _first_day(pipeline: Pipeline) -> date | None:
    with pipeline.transaction() as connection:
        return scalar(connection, "select min(day) from metric_totals")


def numbers_of_day(pipeline: Pipeline, day: date) -> dict[str, int | float]:
    """Return the numbers of all views by days for one day."""
    period = Period(day, day + timedelta(days=1))
    with pipeline.transaction() as connection:
        parts = [numbers_of(connection, view, period) for view in VIEWS if view.by_day]
    return {name: value for part in parts for name, value in part.items()}


@dg.job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    executor_def=dg.in_process_executor,
    resource_defs={"io_manager": dg.mem_io_manager, "pipeline": Pipeline()},
    partitions_def=DAYS,
    tags=TAGS,
)
def day_metrics() -> None:
    """Keep the numbers of a day as a partition of `daily_metrics`; a day can be told again at any time."""
    tell_day()


def day_metrics_schedule() -> dg.ScheduleDefinition:
    """Build the schedule that tells each day when it is over, and days before it that nobody has told."""

    @dg.schedule(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
        name=f"{day_metrics.name}_daily",
        job=day_metrics,
        cron_schedule=_SHORTLY_AFTER_MIDNIGHT,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every day, keeps the numbers of the day that is over, and of days before it that were missed."
        " The last two are told each time: an outcome may come late.",
    )
    def evaluate(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with pipeline.transaction() as connection:
            draining = is_draining(connection)
        if draining:
            yield dg.SkipReason("shutting down: nothing new is begun")
            return
        today = context.scheduled_execution_time.astimezone(UTC).date()
        first = _first_day(pipeline)
        if first is None:
            yield dg.SkipReason("there is no metric yet")
            return
        since = max(first, _kept_since(pipeline))
        for day in _untold(context.instance, today):
            if day >= since:
                yield dg.RunRequest(run_key=f"{day} {today}", partition_key=str(day))

    return evaluate


def _untold(instance: dg.DagsterInstance, today: date) -> list[date]:
    """Return the two days that have ended last and those before them that have no partition, oldest first."""
    told = instance.get_materialized_partitions(DAILY)
    past = [today - timedelta(days=back) for back in range(_CATCH_UP, 0, -1)]
    return [day for day in past if day in past[-2:] or str(day) not in told]
