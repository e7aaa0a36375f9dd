"""The inbox sensor of a workflow: puts due events on batches, commits, and asks for one run per batch.

The dispatcher does the same with the same functions, only sooner; the sensor makes good what that missed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
from sqlalchemy import Connection

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches
from neural_pipeline.store.announcements import left_to_the_sensor
from neural_pipeline.store.drain import is_draining
from neural_pipeline.workflows.batch_work.tags import BATCH_TAG

MAX_RUNTIME_SECONDS_TAG = "dagster/max_runtime"
_GRACE = 60
"""Seconds a run gets beyond its time-out to end by itself before Dagster's monitor ends it."""


def longest_run(pipeline: Pipeline, function_id: FunctionId) -> str:
    """Return the seconds after which Dagster is to end a run of a function that hangs."""
    return str(round(pipeline.timeout_of(function_id)) + _GRACE)


@dataclass(frozen=True, slots=True)
class Assignment:
    """The batches that were made of due events; none while somebody asks for nothing new."""

    batch_ids: list[int]
    is_draining: bool = False


def assign_due(connection: Connection, pipeline: Pipeline, function_id: FunctionId) -> Assignment:
    """Put the due events of a function on batches; the caller commits before it asks for their runs."""
    if is_draining(connection):
        return Assignment([], is_draining=True)
    return Assignment(batches.assign(connection, function_id=function_id, limits=pipeline.limits_of(function_id)))


def run_request(pipeline: Pipeline, function_id: FunctionId, batch_id: int) -> dg.RunRequest:
    """Return what is asked of Dagster for a batch: its key is how Dagster knows a run that it has."""
    tags = {BATCH_TAG: str(batch_id), MAX_RUNTIME_SECONDS_TAG: longest_run(pipeline, function_id)}
    return dg.RunRequest(run_key=str(batch_id), tags=tags)


def sensor_name(job_name: str) -> str:
    """Return the name of the inbox sensor of a job; runs carry it as a tag."""
    return f"{job_name}_inbox"


def inbox_sensor(job: dg.JobDefinition, function_id: FunctionId) -> dg.SensorDefinition:
    """Build the sensor that feeds a job from the inbox.

    A batch that no run has taken is asked for again at every tick: Dagster skips a run key it knows, so that costs
    nothing, and a run request that was lost between the commit and the launch is made good.
    """

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
        name=sensor_name(job.name),
        job=job,
        # 0 would mean 30 seconds; at 1 the daemon's own loop sets the pace.
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Puts due events of {function_id} on batches and asks for a run per batch.",
    )
    def sensor(pipeline: Pipeline) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with pipeline.brief_transaction() as connection:
            # First, as it holds off the dispatcher: what is assigned from here on is this sensor's to ask for.
            waiting = left_to_the_sensor(connection, function_id=function_id)
            assignment = assign_due(connection, pipeline, function_id)
        waiting += assignment.batch_ids
        for batch_id in waiting:
            yield run_request(pipeline, function_id, batch_id)
        if not waiting:
            yield dg.SkipReason(
                "shutting down: nothing new is assigned"
                if assignment.is_draining
                else "nothing is due, or no batch is free"
            )

    return sensor
