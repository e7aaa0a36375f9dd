"""The inbox sensor of a workflow: puts due events on batches, commits, and asks for one run per batch."""

from collections.abc import Iterator

import dagster as dg

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches
from neural_pipeline.store.drain import is_draining
from neural_pipeline.workflows.batch_work.tags import BATCH_TAG

MAX_RUNTIME_SECONDS_TAG = "dagster/max_runtime"
_GRACE = 60
"""Seconds a run gets beyond its time-out to end by itself before Dagster's monitor ends it."""


def longest_run(pipeline: Pipeline, function_id: FunctionId) -> str:
    """Return the seconds after which Dagster is to end a run of a function that hangs."""
    return str(round(pipeline.timeout_of(function_id)) + _GRACE)


def inbox_sensor(job: dg.JobDefinition, function_id: FunctionId) -> dg.SensorDefinition:
    """Build the sensor that feeds a job from the inbox.

    A batch that no run has taken is asked for again at every tick: Dagster skips a run key it knows, so that costs
    nothing, and a run request that was lost between the commit and the launch is made good.
    """

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
        name=f"{job.name}_inbox",
        job=job,
        # 0 would mean 30 seconds; at 1 the daemon's own loop sets the pace.
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Puts due events of {function_id} on batches and asks for a run per batch.",
    )
    def sensor(pipeline: Pipeline) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with pipeline.transaction() as connection:
            draining = is_draining(connection)
            if not draining:
                batches.assign(connection, function_id=function_id, limits=pipeline.limits_of(function_id))
            waiting = batches.open_batches(connection, function_id=function_id)
        longest = longest_run(pipeline, function_id)
        for batch_id in waiting:
            tags = {BATCH_TAG: str(batch_id), MAX_RUNTIME_SECONDS_TAG: longest}
            yield dg.RunRequest(run_key=str(batch_id), tags=tags)
        if not waiting:
            yield dg.SkipReason(
                "shutting down: nothing new is assigned" if draining else "nothing is due, or no batch is free"
            )

    return sensor
