"""The job that materialises everything there is, and the schedule that runs it every hour."""

import dagster as dg

from neural_pipeline.resources import Pipeline
from neural_pipeline.store.drain import is_draining

TAGS = {"neural/metrics": "true"}
"""dagster.yaml lets one run with them go on at a time: to tell a year of days must not keep captures waiting."""

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
        description="Every hour, adds metrics up, materialises every view, checks what must hold, writes the report.",
    )
    def evaluate(pipeline: Pipeline) -> dg.RunRequest | dg.SkipReason:
        with pipeline.transaction() as connection:
            draining = is_draining(connection)
        return dg.SkipReason("shutting down: nothing new is begun") if draining else dg.RunRequest()

    return evaluate
