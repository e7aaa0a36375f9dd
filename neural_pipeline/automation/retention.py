"""The job that removes what is old, and the schedule that runs it every day. What is old, the settings say."""

import dagster as dg

from neural_pipeline.resources import Pipeline
from neural_pipeline.store.retention import Removed
from neural_pipeline.workflows.batch_work.tags import batch_named
from neural_pipeline.workflows.retention.dagster_records import DagsterRecords
from neural_pipeline.workflows.retention.pruning import PruneRefused, Retention

_DAILY = "17 3 * * *"
"""At a minute when little else is scheduled; UTC."""


@dg.op(out=dg.Out(dg.Nothing))
def prune(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
    """Remove what is old, from our records and from Dagster's; leave at once where somebody else is at it."""
    dagster = DagsterRecords(context.instance, batch_named)
    try:
        removed = Retention(pipeline.engine, pipeline.settings, dagster).prune()
    except PruneRefused as refused:
        context.log.warning(str(refused))
        context.add_output_metadata({"removed": 0, "note": str(refused)})
        return
    context.add_output_metadata({"removed": removed.total(), **_shown(removed)})


def _shown(removed: Removed) -> dict[str, int]:
    return {f"{kind.name}: {kind.state}": count for kind, count in sorted(removed.items())}


@dg.job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    executor_def=dg.in_process_executor,
    resource_defs={"io_manager": dg.mem_io_manager, "pipeline": Pipeline()},
)
def retention() -> None:
    """Remove payloads, records, metrics, and Dagster's own runs and ticks that are older than the settings say."""
    prune()


def retention_schedule() -> dg.ScheduleDefinition:
    """Build the schedule that runs the job once a day."""
    return dg.ScheduleDefinition(
        name=f"{retention.name}_daily",
        job=retention,
        cron_schedule=_DAILY,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Removes once a day what is older than the settings say.",
    )
