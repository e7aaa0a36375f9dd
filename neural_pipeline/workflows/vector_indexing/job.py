"""The job that indexes vectors. It has no executions in the record: what it did is the metadata of its op."""

from collections.abc import Mapping

import dagster as dg

from neural_pipeline.resources import Pipeline
from neural_pipeline.workflows.vector_indexing.indexing import Indexed, IndexingRefused, VectorIndexing


class IndexingConfig(dg.Config):
    """What a run is to do: `everything` moves tails however short they are."""

    everything: bool = False


@dg.op(out=dg.Out(dg.Nothing))
def index_vectors(context: dg.OpExecutionContext, pipeline: Pipeline, config: IndexingConfig) -> None:
    """Move new vectors into the indexed part where enough of them wait; leave at once where somebody else is at it."""
    settings = pipeline.settings
    tail = 0 if config.everything else settings.vector_tail
    try:
        done = VectorIndexing(pipeline.engine, tail=tail, seconds=settings.run_max_seconds).run()
    except IndexingRefused as refused:
        context.log.warning(str(refused))
        context.add_output_metadata({"moved": 0, "note": str(refused)})
        return
    context.add_output_metadata(_shown(done))


def _shown(done: Indexed) -> Mapping[str, int | str]:
    lists = {"made": done.made, "mended": done.mended, "removed": done.removed, "note": done.notes}
    return {
        "moved": sum(done.moved.values()),
        "left in the tail": done.left,
        **{f"moved: {model}": count for model, count in sorted(done.moved.items())},
        **{name: ", ".join(listed) for name, listed in lists.items() if listed},
    }


@dg.job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    executor_def=dg.in_process_executor,
    resource_defs={"io_manager": dg.mem_io_manager, "pipeline": Pipeline()},
)
def vector_indexing() -> None:
    """Move vectors that captures have written into the part that has indexes, and make the indexes that are missing."""
    index_vectors()
