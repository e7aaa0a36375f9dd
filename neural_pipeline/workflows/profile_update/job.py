"""The job `profile_update`: one run works off one batch of actors. Ops are thin; what is written stands in `store`.

Observations are counted where profiles are written: there is no step between in which a count could become wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from sqlalchemy import Connection

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import ProfilePayload
from neural_pipeline.contracts.memory import ActorKey, KeptProfile
from neural_pipeline.resources import Pipeline
from neural_pipeline.store.profiles import keep_profiles
from neural_pipeline.workflows.batch_work import reporting
from neural_pipeline.workflows.batch_work.claiming import LoadedBatch
from neural_pipeline.workflows.batch_work.committing import Written
from neural_pipeline.workflows.batch_work.events import BatchEvent
from neural_pipeline.workflows.batch_work.ops import Launch, load_batch, named, store_conclusions
from neural_pipeline.workflows.batch_work.tags import CHILD_TAGS, FUNCTION_TAG
from neural_pipeline.workflows.profile_update.logic import Recounted, metrics_of, news_of, outputs_of
from neural_pipeline.workflows.run_failures import settles_its_batch

FUNCTION = FunctionId.PROFILE_UPDATE

ProfileEvent = BatchEvent[ProfilePayload]
Loaded = LoadedBatch[ProfileEvent]


@dataclass(slots=True)
class Keeping:
    """Writes the profiles of a chunk; `profiles` are the ones that the chunks so far have left."""

    profiles: dict[ActorKey, KeptProfile] = field(default_factory=dict[ActorKey, KeptProfile])
    new: set[ActorKey] = field(default_factory=set[ActorKey])

    def keep(self, connection: Connection, decided: Sequence[tuple[ProfileEvent, Recounted]]) -> Mapping[int, Written]:
        """Write profiles and identities; return output and metric of each event by id."""
        events = [event for event, _ in decided]
        kept = keep_profiles(connection, [news_of(event) for event in events])
        self.profiles |= kept
        self.new |= {key for key, profile in kept.items() if profile.is_new}
        outputs = outputs_of(events, kept)
        return {event.id: Written(outputs[event.id], metrics_of(event, outputs[event.id])) for event in events}

    def numbers(self) -> dict[str, int]:
        """Return how many profiles there are after this run, how many of them are new, and how many are merged."""
        merged = sum(profile.merged_into is not None for profile in self.profiles.values())
        return {"profiles": len(self.profiles), "new profiles": len(self.new), "merged profiles": merged}


@dg.op(
    name="profile_update_load",
    out=dg.Out(LoadedBatch, description="The actors whose profiles are to be updated, in the order of their work."),
)
def load(context: dg.OpExecutionContext, config: Launch, pipeline: Pipeline) -> Loaded:
    """Take the batch that a sensor assigned, or make one of whatever is due."""
    return load_batch(context, pipeline, payload=ProfilePayload, launch=config, function_id=FUNCTION)


@dg.op(name="profile_update_store", ins={"loaded": dg.In(LoadedBatch)})
def store(context: dg.OpExecutionContext, pipeline: Pipeline, loaded: Loaded) -> None:
    """Count the observations of every actor and write profile and identity, chunk by chunk, while the batch is ours."""
    keeping = Keeping()
    readable = [event.id for event in loaded.events if event.id not in loaded.unreadable]
    store_conclusions(
        context,
        pipeline,
        loaded=loaded,
        conclusions=dict.fromkeys(readable, Recounted()),
        keep=keeping.keep,
        function_id=FUNCTION,
    )
    context.add_output_metadata(reporting.counts(keeping.numbers()))


@dg.job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    executor_def=dg.in_process_executor,
    resource_defs={"io_manager": dg.mem_io_manager, "pipeline": Pipeline()},
    tags={FUNCTION_TAG: FUNCTION.value, **CHILD_TAGS},
    hooks={settles_its_batch},
)
def profile_update() -> None:
    """Update the profiles of those who acted: their names, and how many observations are theirs, counted anew."""
    named(store, "store")(named(load, "load")())
