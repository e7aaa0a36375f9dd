"""The job `cluster_summary`: one run works off one batch of requests for summaries. Ops are thin."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

import dagster as dg

from neural_pipeline.contracts.answers import SummaryAnswer
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import SummaryPayload
from neural_pipeline.models.access import ModelMisconfigured
from neural_pipeline.resources import Pipeline
from neural_pipeline.workflows.batch_work import reporting
from neural_pipeline.workflows.batch_work.asking import ask_all
from neural_pipeline.workflows.batch_work.claiming import LoadedBatch
from neural_pipeline.workflows.batch_work.events import BatchEvent
from neural_pipeline.workflows.batch_work.ops import Launch, asker_of, load_batch, named, store_conclusions
from neural_pipeline.workflows.batch_work.questions import Answers, Asked
from neural_pipeline.workflows.batch_work.steps import failure_of
from neural_pipeline.workflows.batch_work.tags import CHILD_TAGS, FUNCTION_TAG
from neural_pipeline.workflows.cluster_summary.conclusions import STEP, Conclusion, conclude, keep
from neural_pipeline.workflows.cluster_summary.logic import Requested, SummaryRules
from neural_pipeline.workflows.cluster_summary.prompt import question_about
from neural_pipeline.workflows.cluster_summary.recall import Extent, Recalled
from neural_pipeline.workflows.cluster_summary.recall import recall as recall_clusters
from neural_pipeline.workflows.run_failures import settles_its_batch

FUNCTION = FunctionId.CLUSTER_SUMMARY

Loaded = LoadedBatch[BatchEvent[SummaryPayload]]


@dataclass(frozen=True, slots=True)
class RecalledBatch:
    """The batch of this run, and what is known of its clusters."""

    loaded: Loaded
    recalled: Recalled


@dataclass(frozen=True, slots=True)
class ConcludedBatch:
    """The batch of this run, what is to become of its events, and the seconds of work on each."""

    loaded: Loaded
    conclusions: dict[int, Conclusion]
    seconds: dict[int, float] = field(default_factory=dict[int, float])


@dg.op(
    name="cluster_summary_load",
    out=dg.Out(LoadedBatch, description="The requests of the batch, in the order of their work."),
)
def load(context: dg.OpExecutionContext, config: Launch, pipeline: Pipeline) -> Loaded:
    """Take the batch that a sensor assigned, or make one of whatever is due."""
    return load_batch(context, pipeline, payload=SummaryPayload, launch=config, function_id=FUNCTION)


@dg.op(
    ins={"loaded": dg.In(LoadedBatch)},
    out=dg.Out(description="The clusters to be summarised with what they hold; the other requests with the reason."),
)
def recall(context: dg.OpExecutionContext, pipeline: Pipeline, loaded: Loaded) -> RecalledBatch:
    """Look which clusters are there, large enough and not summarised lately; read the observations of those."""
    settings = pipeline.settings
    rules = SummaryRules(settings.summary_min_observations, timedelta(hours=settings.summary_min_age_hours))
    requests = [
        Requested(event.id, event.workspace_id, event.payload.cluster_id)
        for event in loaded.events
        if event.id not in loaded.unreadable
    ]
    with pipeline.transaction() as connection:
        extent = Extent(settings.summary_observations, settings.summary_snippet)
        recalled = recall_clusters(connection, requests, rules, extent)
    plan = recalled.plan
    reasons = Counter(skip.reason for skip in plan.skipped.values())
    observations = sum(len(subject.picture.latest) for subject in recalled.subjects.values())
    numbers = {"clusters": len(recalled.subjects), "observations": observations, "repeated": len(plan.repeats)}
    context.log.info("%d of %d requests ask for a summary", len(plan.wanted), len(requests))
    context.add_output_metadata(reporting.counts({**numbers, **reasons}))
    return RecalledBatch(loaded, recalled)


@dg.op(out=dg.Out(description="A summary per cluster, or why there is none."))
def summarise(context: dg.OpExecutionContext, pipeline: Pipeline, batch: RecalledBatch) -> ConcludedBatch:
    """Let a model, or the rules, summarise each cluster."""
    try:
        asker = asker_of(pipeline, "summary", batch.loaded.claim, step=STEP)
    except ModelMisconfigured as error:
        name, answers = pipeline.settings.summary_model, _failed(batch, error)
    else:
        name, answers = asker.model.name, ask_all(asker, _questions(batch))
    conclusions = conclude(batch.recalled, answers)
    context.log.info("%s: %d summaries, %d failures", name, len(answers.found), len(answers.failures))
    context.add_output_metadata(
        {"model": name, **reporting.counts({"summaries": len(answers.found)} | answers.metadata())}
    )
    return ConcludedBatch(batch.loaded, conclusions, answers.clock.seconds)


@dg.op(name="cluster_summary_store", out=dg.Out(dg.Nothing))
def store(context: dg.OpExecutionContext, pipeline: Pipeline, batch: ConcludedBatch) -> None:
    """Commit summaries, outcomes and metrics, chunk by chunk, while the batch is this run's."""
    store_conclusions(
        context,
        pipeline,
        loaded=batch.loaded,
        conclusions=batch.conclusions,
        keep=keep,
        function_id=FUNCTION,
        seconds=batch.seconds,
    )


def _questions(batch: RecalledBatch) -> list[Asked[SummaryAnswer]]:
    return [
        Asked(event_id, subject.key[0], question_about(subject.picture))
        for event_id, subject in batch.recalled.subjects.items()
    ]


def _failed(batch: RecalledBatch, error: ModelMisconfigured) -> Answers[SummaryAnswer]:
    """No event is at fault, but each says what has to be set, and is tried again as often as its retries go."""
    return Answers(failures=dict.fromkeys(batch.recalled.subjects, failure_of(error, step=STEP)))


@dg.job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    executor_def=dg.in_process_executor,
    resource_defs={"io_manager": dg.mem_io_manager, "pipeline": Pipeline()},
    tags={FUNCTION_TAG: FUNCTION.value, **CHILD_TAGS},
    hooks={settles_its_batch},
)
def cluster_summary() -> None:
    """Summarise topic clusters: a few sentences, key topics, key contributors and how things stand."""
    named(store, "store")(summarise(recall(named(load, "load")())))
