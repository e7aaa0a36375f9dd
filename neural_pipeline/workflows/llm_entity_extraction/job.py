"""The job `llm_entity_extraction`: one run works off one batch of observations to be read. Ops are thin."""

from collections import Counter
from dataclasses import dataclass, field

import dagster as dg

from neural_pipeline.contracts.answers import ExtractionAnswer
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import ExtractionPayload
from neural_pipeline.contracts.memory import ObservedText
from neural_pipeline.models.access import ModelMisconfigured
from neural_pipeline.resources import Pipeline
from neural_pipeline.store.extracted_entities import texts_of
from neural_pipeline.workflows.batch_work import reporting
from neural_pipeline.workflows.batch_work.asking import ask_all
from neural_pipeline.workflows.batch_work.claiming import LoadedBatch
from neural_pipeline.workflows.batch_work.events import BatchEvent
from neural_pipeline.workflows.batch_work.ops import Launch, asker_of, load_batch, named, store_conclusions
from neural_pipeline.workflows.batch_work.questions import Answers, Asked
from neural_pipeline.workflows.batch_work.steps import failure_of
from neural_pipeline.workflows.batch_work.tags import CHILD_TAGS, FUNCTION_TAG
from neural_pipeline.workflows.llm_entity_extraction.conclusions import STEP, Conclusion, conclude, keep
from neural_pipeline.workflows.llm_entity_extraction.logic import Extracted, ExtractionRules, Skip, objection
from neural_pipeline.workflows.llm_entity_extraction.prompt import question_about
from neural_pipeline.workflows.run_failures import settles_its_batch

FUNCTION = FunctionId.LLM_ENTITY_EXTRACTION

Loaded = LoadedBatch[BatchEvent[ExtractionPayload]]


@dataclass(frozen=True, slots=True)
class FetchedBatch:
    """The batch of this run, the texts that are to be read, and why others are not; by event id."""

    loaded: Loaded
    texts: dict[int, ObservedText] = field(default_factory=dict[int, ObservedText])
    skipped: dict[int, Skip] = field(default_factory=dict[int, Skip])


@dataclass(frozen=True, slots=True)
class ConcludedBatch:
    """The batch of this run, what is to become of its events, and the seconds of work on each."""

    loaded: Loaded
    conclusions: dict[int, Conclusion]
    seconds: dict[int, float] = field(default_factory=dict[int, float])


@dg.op(
    name="llm_entity_extraction_load",
    out=dg.Out(LoadedBatch, description="The requests of the batch, in the order of their work."),
)
def load(context: dg.OpExecutionContext, config: Launch, pipeline: Pipeline) -> Loaded:
    """Take the batch that a sensor assigned, or make one of whatever is due."""
    return load_batch(context, pipeline, payload=ExtractionPayload, launch=config, function_id=FUNCTION)


@dg.op(
    ins={"loaded": dg.In(LoadedBatch)},
    out=dg.Out(description="The texts that are long enough to be read; the other requests with the reason."),
)
def fetch(context: dg.OpExecutionContext, pipeline: Pipeline, loaded: Loaded) -> FetchedBatch:
    """Read title and content of the observations, each in the workspace of its event."""
    readable = [event for event in loaded.events if event.id not in loaded.unreadable]
    with pipeline.transaction() as connection:
        known = texts_of(connection, [(event.workspace_id, event.payload.observation_id) for event in readable])
    batch = FetchedBatch(loaded)
    for event in readable:
        text = known.get((event.workspace_id, event.payload.observation_id))
        reason = objection(text, _rules(pipeline))
        if reason is not None:
            batch.skipped[event.id] = reason
        elif text is not None:
            batch.texts[event.id] = text
    reasons = Counter(skip.reason for skip in batch.skipped.values())
    context.log.info("%d of %d observations are to be read", len(batch.texts), len(readable))
    context.add_output_metadata(reporting.counts({"texts": len(batch.texts), **reasons}))
    return batch


@dg.op(out=dg.Out(description="The entities found in each text, or why there are none."))
def extract(context: dg.OpExecutionContext, pipeline: Pipeline, batch: FetchedBatch) -> ConcludedBatch:
    """Let a model, or the rules, find entities in each text."""
    rules = _rules(pipeline)
    try:
        asker = asker_of(pipeline, "extraction", batch.loaded.claim, step=STEP)
    except ModelMisconfigured as error:
        name, answers = pipeline.settings.extraction_model, _failed(batch, error)
    else:
        name, answers = asker.model.name, ask_all(asker, _questions(batch, rules.max_entities))
    concluded = conclude(batch.texts, answers, rules)
    entities = sum(len(one.entities) for one in concluded.values() if isinstance(one, Extracted))
    numbers = {"texts": len(answers.found), "entities": entities, **answers.metadata()}
    context.log.info("%s: %d texts read, %d entities", name, len(answers.found), entities)
    context.add_output_metadata({"model": name, **reporting.counts(numbers)})
    return ConcludedBatch(batch.loaded, {**batch.skipped, **concluded}, answers.clock.seconds)


@dg.op(name="llm_entity_extraction_store", out=dg.Out(dg.Nothing))
def store(context: dg.OpExecutionContext, pipeline: Pipeline, batch: ConcludedBatch) -> None:
    """Commit entities, links, outcomes and metrics, chunk by chunk, while the batch is this run's."""
    store_conclusions(
        context,
        pipeline,
        loaded=batch.loaded,
        conclusions=batch.conclusions,
        keep=keep,
        function_id=FUNCTION,
        seconds=batch.seconds,
    )


def _rules(pipeline: Pipeline) -> ExtractionRules:
    settings = pipeline.settings
    return ExtractionRules(
        settings.extraction_min_content, settings.extraction_min_confidence, settings.extraction_max_entities
    )


def _questions(batch: FetchedBatch, most: int) -> list[Asked[ExtractionAnswer]]:
    workspaces = {event.id: event.workspace_id for event in batch.loaded.events}
    return [
        Asked(event_id, workspaces[event_id], question_about(text, most=most)) for event_id, text in batch.texts.items()
    ]


def _failed(batch: FetchedBatch, error: ModelMisconfigured) -> Answers[ExtractionAnswer]:
    """No event is at fault, but each says what has to be set, and is tried again as often as its retries go."""
    return Answers(failures=dict.fromkeys(batch.texts, failure_of(error, step=STEP)))


@dg.job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    executor_def=dg.in_process_executor,
    resource_defs={"io_manager": dg.mem_io_manager, "pipeline": Pipeline()},
    tags={FUNCTION_TAG: FUNCTION.value, **CHILD_TAGS},
    hooks={settles_its_batch},
)
def llm_entity_extraction() -> None:
    """Find entities in the text of observations that patterns do not see: people, services, settings, concepts."""
    named(store, "store")(extract(fetch(named(load, "load")())))
