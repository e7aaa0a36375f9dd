"""The schedule that has new vectors indexed. How, is in `workflows.vector_indexing`."""

import dagster as dg

from neural_pipeline.resources import Pipeline
from neural_pipeline.store.drain import is_draining
from neural_pipeline.workflows.vector_indexing.indexing import VectorIndexing
from neural_pipeline.workflows.vector_indexing.job import vector_indexing

_OFTEN = "*/5 * * * *"
"""A tail that grows faster than that is searched all the same, only slower."""


def vector_indexing_schedule() -> dg.ScheduleDefinition:
    """Build the schedule that runs the job every few minutes, where there is something to do."""

    @dg.schedule(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
        name=f"{vector_indexing.name}_often",
        job=vector_indexing,
        cron_schedule=_OFTEN,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every few minutes, moves new vectors into the indexed part where enough of them wait.",
    )
    def evaluate(pipeline: Pipeline) -> dg.RunRequest | dg.SkipReason:
        settings = pipeline.settings
        with pipeline.transaction() as connection:
            if is_draining(connection):
                return dg.SkipReason("shutting down: nothing new is begun")
        if VectorIndexing(pipeline.engine, tail=settings.vector_tail, seconds=settings.run_max_seconds).has_work():
            return dg.RunRequest()
        return dg.SkipReason(f"no model has more than {settings.vector_tail} vectors waiting, and no index is missing")

    return evaluate
