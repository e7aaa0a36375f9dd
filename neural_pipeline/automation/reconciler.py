"""The reconciler: looks at every unfinished batch and does what the lifecycle sensors should have done.

It also shows progress: the facts of runs that are still going reach the lifecycle rows here.
"""

from collections.abc import Sequence

import dagster as dg

from neural_pipeline.automation.lifecycle import ENDS
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches, lifecycle, settlement
from neural_pipeline.store.batches import UnfinishedBatch
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.workflows.observation_capture.job import BATCH_TAG

MIN_AGE_OF_LOSS = 30
"""Seconds a batch must have been running before a run that Dagster does not know counts as deleted."""


def reconcile(pipeline: Pipeline, instance: dg.DagsterInstance) -> dict[str, int]:
    """Bring every unfinished batch in line with what Dagster says of its run; return what was done, counted.

    Batches are read first and runs afterwards, so that a batch made in between is left to the next call; settling
    locks the batch and checks again. A batch is never given up merely because no run exists yet.
    """
    done = {"recorded": 0, "settled": 0}
    with pipeline.transaction() as connection:
        unfinished = batches.unfinished_batches(connection)
    errors: list[Exception] = []
    for batch in unfinished:
        try:
            _reconcile_batch(pipeline, batch, _verdict(batch, instance), done=done)
        except Exception as error:  # one batch's error must not hold up the others
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(unfinished)} batches could not be reconciled", errors)
    return done


def _reconcile_batch(
    pipeline: Pipeline, batch: UnfinishedBatch, verdict: tuple[str, RunEnd] | None, *, done: dict[str, int]
) -> None:
    with pipeline.transaction() as connection:
        if verdict is None:
            done["recorded"] += lifecycle.record_batch(connection, batch.id) if batch.run_id else 0
        else:
            run_id, end = verdict
            isolating = pipeline.limits.isolating_losses
            done["settled"] += settlement.settle(
                connection, batch.id, run_id=run_id, end=end, isolating_losses=isolating
            )


def _verdict(batch: UnfinishedBatch, instance: dg.DagsterInstance) -> tuple[str, RunEnd] | None:
    """Return the run whose end settles a batch, None if there is nothing to settle yet."""
    if batch.run_id is None:
        return _spent(batch, instance)
    run = instance.get_run_by_id(batch.run_id)
    if run is None:
        return (batch.run_id, RunEnd.DELETED) if batch.running_seconds > MIN_AGE_OF_LOSS else None
    end = ENDS.get(run.status)
    return (run.run_id, end) if end else None


def _spent(batch: UnfinishedBatch, instance: dg.DagsterInstance) -> tuple[str, RunEnd] | None:
    """An open batch all of whose runs have ended will never be taken: Dagster launches a run key once."""
    runs: Sequence[dg.DagsterRun] = instance.get_runs(dg.RunsFilter(tags={BATCH_TAG: str(batch.id)}))
    ends = [ENDS.get(run.status) for run in runs]
    if not ends or None in ends:
        return None
    return (runs[0].run_id, ends[0]) if ends[0] else None


def reconciler_sensor() -> dg.SensorDefinition:
    """Build the sensor that reconciles."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
        name="reconciler",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Does what the lifecycle sensors missed, and records the progress of runs that are still going.",
    )
    def sensor(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SkipReason:
        done = reconcile(pipeline, context.instance)
        return dg.SkipReason(f"{done['recorded']} rows recorded, {done['settled']} batches settled")

    return sensor
