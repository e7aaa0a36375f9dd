"""Five sensors, one function: whenever a run changes its status, the facts of its batch reach the lifecycle rows.

They are prompt but not complete (Dagster drops an event whose sensor raised); the reconciler makes good what they miss.
"""

import dagster as dg

from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches, settlement
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.workflows.observation_capture.job import batch_named

ENDS = {
    dg.DagsterRunStatus.SUCCESS: RunEnd.SUCCESS,
    dg.DagsterRunStatus.FAILURE: RunEnd.FAILURE,
    dg.DagsterRunStatus.CANCELED: RunEnd.CANCELED,
}


def record_run(pipeline: Pipeline, run: dg.DagsterRun, status: dg.DagsterRunStatus) -> None:
    """Project what a run has done onto the lifecycle rows; settle its batch if the status is a final one."""
    end = ENDS.get(status)
    with pipeline.transaction() as connection:
        if end is None:
            settlement.record_run(connection, run.run_id)
            return
        held = {token.batch_id for token in batches.batches_of(connection, run.run_id)}
        asked_for = batch_named(run.tags)
        for batch_id in sorted(held | ({asked_for} if asked_for else set())):
            settlement.settle(
                connection,
                batch_id,
                run_id=run.run_id,
                end=end,
                isolating_losses=pipeline.limits.isolating_losses,
            )


def lifecycle_sensors(*jobs: dg.JobDefinition) -> list[dg.SensorDefinition]:
    """Build one sensor per run status over the given jobs."""
    statuses = (
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.CANCELED,
    )
    return [_lifecycle_sensor(status, jobs) for status in statuses]


def _lifecycle_sensor(status: dg.DagsterRunStatus, jobs: tuple[dg.JobDefinition, ...]) -> dg.SensorDefinition:
    @dg.run_status_sensor(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
        name=f"lifecycle_{status.value.lower()}",
        run_status=status,
        monitored_jobs=list(jobs),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Records in the lifecycle rows that a run is {status.value}.",
    )
    def sensor(context: dg.RunStatusSensorContext, pipeline: Pipeline) -> None:
        record_run(pipeline, context.dagster_run, status)

    return sensor
