"""The job that materialises everything there is, and the schedule that runs it every hour."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from neural_pipeline.resources import Pipeline
from neural_pipeline.store.drain import is_draining

TAGS = {"neural/metrics": "true", "dagster/max_runtime": "900"}
"""dagster.yaml lets one run with them go on at a time: to tell a year of days must not keep captures waiting.

One whose worker has died gives its place back after 15 minutes.
"""

_LATE = timedelta(minutes=10)
"""Age of a tick that was missed: what it would check then has not caught up itself."""

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

_HOURLY = "7 * * * *"
"""After the full hour, so that the hour that has ended is in."""

metrics_job = dg.define_asset_job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    "metrics",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    tags=TAGS,
    description="Add metrics up, materialise every view, check what must hold, and write the report.",
)


def metrics_schedule() -> dg.ScheduleDefinition:
    """Build the schedule that materialises everything once an hour."""

    @dg.schedule(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
        name="metrics_hourly",
        job=metrics_job,
        cron_schedule=_HOURLY,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every hour, adds metrics up, materialises every view, checks what must hold, writes the report."
        " Skips an hour while the last one is not done, and one that it is ten minutes late for.",
    )
    def evaluate(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> dg.RunRequest | dg.SkipReason:
        with pipeline.transaction() as connection:
            draining = is_draining(connection)
        if draining:
            return dg.SkipReason("shutting down: nothing new is begun")
        reason = _why_not_now(context.instance, context.scheduled_execution_time)
        return dg.SkipReason(reason) if reason else dg.RunRequest()

    return evaluate


def _why_not_now(instance: dg.DagsterInstance, scheduled: datetime) -> str | None:
    late = datetime.now(UTC) - scheduled
    if late > _LATE:
        return f"{late.total_seconds() / 60:.0f} minutes late: what was missed is made up for in the next hour"
    going = instance.get_runs_count(dg.RunsFilter(job_name=metrics_job.name, statuses=_UNFINISHED))
    return "the run of an earlier hour has not ended" if going else None
