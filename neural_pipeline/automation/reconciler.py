"""The reconciler: looks at every unfinished batch and does what the lifecycle sensors should have done.

It also shows progress: the facts of runs that are still going reach the lifecycle rows here; and it gives up the
batches of runs that show no sign of life or have had their time, whatever Dagster says of them.
"""

import dagster as dg

from neural_pipeline.automation.lifecycle import ENDS, spent_run_key
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import leases, lifecycle, settlement
from neural_pipeline.store.leases import UnfinishedBatch
from neural_pipeline.store.settlement import RunEnd

MIN_AGE_OF_LOSS = 30
"""Seconds a batch must have been running before a run that Dagster does not know counts as deleted."""


def reconcile(pipeline: Pipeline, instance: dg.DagsterInstance) -> dict[str, int]:
    """Bring every unfinished batch in line with what Dagster says of its run; return what was done, counted.

    Batches are read first and runs afterwards, so that a batch made in between is left to the next call; settling
    locks the batch and checks again. A batch is never given up merely because no run exists yet.
    """
    done = {"recorded": 0, "settled": 0}
    with pipeline.transaction() as connection:
        unfinished = leases.unfinished_batches(connection)
    errors: list[Exception] = []
    for batch in unfinished:
        try:
            _reconcile_batch(pipeline, batch, instance, done=done)
        except Exception as error:  # one batch's error must not hold up the others
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(unfinished)} batches could not be reconciled", errors)
    return done


def _reconcile_batch(
    pipeline: Pipeline, batch: UnfinishedBatch, instance: dg.DagsterInstance, *, done: dict[str, int]
) -> None:
    verdict = _verdict(batch, instance)
    with pipeline.brief_transaction() as connection:
        if verdict is None:
            done["recorded"] += lifecycle.record_batch(connection, batch.id) if batch.run_id else 0
            return
        run_id, end = verdict
        isolating = pipeline.limits.isolating_losses
        is_settled = settlement.settle(connection, batch.id, run_id=run_id, end=end, isolating_losses=isolating)
    done["settled"] += is_settled
    if is_settled and end in {RunEnd.LOST, RunEnd.TIMEOUT}:
        _end_run(instance, run_id, end)


def _verdict(batch: UnfinishedBatch, instance: dg.DagsterInstance) -> tuple[str, RunEnd] | None:
    """Return the run whose end settles a batch, None if there is nothing to settle yet."""
    if batch.run_id is None:
        return spent_run_key(instance, batch.id)
    run = instance.get_run_by_id(batch.run_id)
    if run is not None and (end := ENDS.get(run.status)):
        return batch.run_id, end
    if batch.is_overdue:
        return batch.run_id, RunEnd.TIMEOUT
    if batch.is_abandoned:
        return batch.run_id, RunEnd.LOST
    return (batch.run_id, RunEnd.DELETED) if run is None and batch.running_seconds > MIN_AGE_OF_LOSS else None


def _end_run(instance: dg.DagsterInstance, run_id: str, end: RunEnd) -> None:
    """Have Dagster see that the run is over: it would hold its place in the queue for as long as it counts as going."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    if end is RunEnd.TIMEOUT and _is_being_terminated(instance, run_id):
        return
    instance.report_run_failed(run, f"its batch was taken from it: {_REASONS[end]}")


def _is_being_terminated(instance: dg.DagsterInstance, run_id: str) -> bool:
    try:
        return instance.run_launcher.terminate(run_id)
    except Exception:  # whatever a launcher may raise: then the run is reported as failed
        return False


_REASONS = {
    RunEnd.LOST: "its worker has shown no sign of life for longer than its lease",
    RunEnd.TIMEOUT: "its time is over",
}


def reconciler_sensor() -> dg.SensorDefinition:
    """Build the sensor that reconciles."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
        name="reconciler",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Does what the lifecycle sensors missed, gives up batches of lost workers, and records progress.",
    )
    def sensor(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SkipReason:
        done = reconcile(pipeline, context.instance)
        return dg.SkipReason(f"{done['recorded']} rows recorded, {done['settled']} batches settled")

    return sensor
