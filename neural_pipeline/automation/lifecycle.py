"""Five sensors, one function: whenever a run changes its status, the facts of its batch reach the lifecycle rows.

They are prompt but not complete (Dagster drops an event whose sensor raised); the reconciler makes good what they miss.
"""

from collections.abc import Sequence

import dagster as dg

from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches, settlement
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.workflows.batch_work.tags import BATCH_TAG, batch_named

ENDS = {
    dg.DagsterRunStatus.SUCCESS: RunEnd.SUCCESS,
    dg.DagsterRunStatus.FAILURE: RunEnd.FAILURE,
    dg.DagsterRunStatus.CANCELED: RunEnd.CANCELED,
}


def record_run(
    pipeline: Pipeline, instance: dg.DagsterInstance, run: dg.DagsterRun, status: dg.DagsterRunStatus
) -> None:
    """Project what a run has done onto the lifecycle rows; settle its batch if the status is a final one."""
    end = ENDS.get(status)
    with pipeline.brief_transaction() as connection:
        if end is None:
            settlement.record_run(connection, run.run_id)
            return
        ended = {token.batch_id: (run.run_id, end) for token in batches.batches_of(connection, run.run_id)}
        asked_for = batch_named(run.tags)
        if asked_for is not None and asked_for not in ended and (spent := spent_run_key(instance, asked_for)):
            ended[asked_for] = spent
        for batch_id, (run_id, how) in sorted(ended.items()):
            isolating = pipeline.limits.isolating_losses
            settlement.settle(connection, batch_id, run_id=run_id, end=how, isolating_losses=isolating)


def spent_run_key(instance: dg.DagsterInstance, batch_id: int) -> tuple[str, RunEnd] | None:
    """Return the last run asked for a batch and its end, None unless all of them have ended.

    If nobody has taken the batch by then nobody will: Dagster launches a run key once. But two daemons may both have
    launched it, and the end of one run is not that of the other.
    """
    runs: Sequence[dg.DagsterRun] = instance.get_runs(dg.RunsFilter(tags={BATCH_TAG: str(batch_id)}))
    ends = [ENDS.get(run.status) for run in runs]
    if not ends or None in ends:
        return None
    return (runs[0].run_id, ends[0]) if ends[0] else None


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
        record_run(pipeline, context.instance, context.dagster_run, status)

    return sensor
