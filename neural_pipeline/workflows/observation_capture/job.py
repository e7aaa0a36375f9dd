"""The job `observation_capture`: one run works off one batch of source events. Ops are thin; decisions stand beside.

The parallel steps prepare findings for each event as if it stood alone; `assign_clusters` then decides in order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import random
from typing import Any

import dagster as dg
from pydantic import Field

from neural_pipeline.contracts.integrations import EmbeddingSettings
from neural_pipeline.contracts.memory import NewObservation
from neural_pipeline.models.access import ModelMisconfigured
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.language import Trouble
from neural_pipeline.resources import Pipeline
from neural_pipeline.sources.intake import DEFAULT_ALLOWED
from neural_pipeline.store import capture_inputs
from neural_pipeline.workflows.batch_work import ops, reporting
from neural_pipeline.workflows.batch_work.claiming import Claim
from neural_pipeline.workflows.batch_work.recorded_embedding import recorded, tally_of
from neural_pipeline.workflows.batch_work.steps import Step
from neural_pipeline.workflows.batch_work.tags import FUNCTION_TAG
from neural_pipeline.workflows.observation_capture import analysis
from neural_pipeline.workflows.observation_capture.analysis import Analysis, Extractions, examine
from neural_pipeline.workflows.observation_capture.classifying import STEP as CLASSIFY
from neural_pipeline.workflows.observation_capture.classifying import Classifications, classify_by_model
from neural_pipeline.workflows.observation_capture.classifying import classify as classify_all
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules
from neural_pipeline.workflows.observation_capture.embedding import VIEWS_PER_EVENT, Embeddings, embed_by_workspace
from neural_pipeline.workflows.observation_capture.gate import Gated, Thresholds
from neural_pipeline.workflows.observation_capture.gate import gate as pass_gate
from neural_pipeline.workflows.observation_capture.intake import FUNCTION, Door
from neural_pipeline.workflows.observation_capture.loading import Loaded, RawEvents, claim, with_events
from neural_pipeline.workflows.observation_capture.outcomes import ChildRules
from neural_pipeline.workflows.observation_capture.persist import Persistence
from neural_pipeline.workflows.observation_capture.recall import (
    KnownAuthors,
    recall_authors,
    recall_for_gate,
    recall_memory,
)
from neural_pipeline.workflows.observation_capture.verdicts import Decided, Decisions, Examined, decide
from neural_pipeline.workflows.observation_capture.work import CaptureEvent
from neural_pipeline.workflows.run_failures import settles_its_batch

_REPLACING_CHUNK = 50
"""Events committed at once where some replace their observation: those are written one by one."""


class Launch(dg.Config):
    """What a person may ask for in the Launchpad; without anything the run works on whatever is due."""

    workspace_id: str | None = Field(default=None, description="Only this workspace; needed together with events.")
    # Not dict: Dagster refuses null as a value of a map, and a source event may well have `"actor": null`.
    events: list[Any] = Field(
        default_factory=list[Any],
        description="Raw events to take in and capture: source events, or webhooks {source, eventType, payload}.",
    )


@dataclass(frozen=True, slots=True)
class GatedBatch:
    """The batch of this run, and which of its events passed the gate."""

    loaded: Loaded
    gated: Gated


@dataclass(frozen=True, slots=True)
class DecidedBatch:
    """The batch of this run, and what is to become of its events."""

    loaded: Loaded
    decisions: Decisions


@dg.op(out=dg.Out(description="The events of the batch, in the order of their work."))
def load(context: dg.OpExecutionContext, config: Launch, pipeline: Pipeline) -> Loaded:
    """Take the batch that a sensor assigned, or make one: of raw events, or of whatever is due."""
    raw = RawEvents(config.events, context.run.tags.get("user", "dagster"), _door(pipeline))
    request, terms = ops.request_of(context, config.workspace_id), ops.terms_of(pipeline, FUNCTION)
    loaded = with_events(*ops.claimed(pipeline, lambda connection: claim(connection, request, terms, raw=raw)))
    ops.report_loaded(context, loaded)
    return loaded


@dg.op(out=dg.Out(description="Every event with its score; those that stop here with the reason."))
def gate(context: dg.OpExecutionContext, pipeline: Pipeline, loaded: Loaded) -> GatedBatch:
    """Stop duplicates, events nobody subscribed to, and those that are not significant."""
    with pipeline.transaction() as connection:
        knowledge = recall_for_gate(connection, loaded.events)
    settings = pipeline.settings
    thresholds = Thresholds(settings.significance_threshold, settings.git_significance_threshold)
    gated = pass_gate(loaded.events, knowledge, thresholds, unreadable=loaded.unreadable)
    reasons = Counter(getattr(verdict, "reason", "failed") for verdict in gated.stopped.values())
    context.log.info("%d of %d events pass", len(gated.passed), len(gated.events))
    context.add_output_metadata(reporting.counts({"passed": len(gated.passed), **reasons}))
    return GatedBatch(loaded, gated)


@dg.op(out=dg.Out(description="Categories and topics per event."))
def classify(context: dg.OpExecutionContext, pipeline: Pipeline, batch: GatedBatch) -> Classifications:
    """Give every event a primary category, up to three others, and its topics; by a model if one is chosen."""
    events = batch.gated.open_events()
    step, numbers = _classifications(context, pipeline, events, claim=batch.loaded.claim)
    categories = Counter(found.classification.primary for found in step.found.values())
    _report(context, step, **categories, **numbers)
    context.add_output_metadata({"model": pipeline.settings.classify_model})
    return step


@dg.op(out=dg.Out(description="Three unit vectors per event: title, content, summary."))
def embed(
    context: dg.OpExecutionContext, pipeline: Pipeline, batch: GatedBatch, classified: Classifications
) -> Embeddings:
    """Embed the three views of every event, but for those that a model had no time to classify."""
    events = [event for event in batch.gated.open_events() if event.id not in classified.unasked]
    with pipeline.transaction() as connection:
        settings = capture_inputs.settings_of(connection, [event.workspace_id for event in events])
    made: list[Embedder] = []
    deadline = batch.loaded.claim.deadline
    step = embed_by_workspace(events, settings, partial(_embedder_of, pipeline, made), deadline=deadline)
    _report(context, step, vectors=VIEWS_PER_EVENT * len(step.found), waiting=len(step.waiting), **tally_of(made))
    context.add_output_metadata({"embedder": ", ".join(sorted(set(step.embedded_by.values())))})
    return step


@dg.op(out=dg.Out(description="Entities per event."))
def extract_entities(context: dg.OpExecutionContext, batch: GatedBatch) -> Extractions:
    """Find people, projects, endpoints, settings and code that the events speak of."""
    step = analysis.find_entities(batch.gated.open_events())
    _report(context, step, entities=sum(map(len, step.found.values())))
    return step


@dg.op(out=dg.Out(description="The GitHub accounts known for the commits of deployments."))
def resolve_actors(context: dg.OpExecutionContext, pipeline: Pipeline, batch: GatedBatch) -> KnownAuthors:
    """Look up who stands behind the commits of deployments; each event's actor follows when its turn comes."""
    with pipeline.transaction() as connection:
        authors = recall_authors(connection, batch.gated.open_events())
    context.log.info("%d commits have a known author", len(authors.by_commit))
    context.add_output_metadata(reporting.counts({"commits with a known author": len(authors.by_commit)}))
    return authors


@dg.op(
    out=dg.Out(description="What is to become of every event: an observation in its cluster, or the reason why not.")
)
def assign_clusters(
    context: dg.OpExecutionContext,
    pipeline: Pipeline,
    batch: GatedBatch,
    classified: Classifications,
    embedded: Embeddings,
    entities: Extractions,
    authors: KnownAuthors,
) -> DecidedBatch:
    """Let each observation join a topic cluster or begin one, in order: every event sees the ones before it."""
    findings = Analysis(classified, embedded, entities)
    examined = examine(batch.gated, findings)
    with pipeline.transaction() as connection:
        memory = recall_memory(connection, examined, _rules(pipeline), authors=authors)
    decided = decide(examined, memory, _rules(pipeline))
    observations = [one.verdict for one in decided if isinstance(one.verdict, NewObservation)]
    began = sum(one.cluster_is_new for one in observations)
    methods = Counter(f"actor by {one.actor.method}" for one in observations)
    context.log.info("%d observations begin %d clusters", len(observations), began)
    numbers = {"observations": len(observations), "new clusters": began, "joined": len(observations) - began}
    context.add_output_metadata(reporting.counts({**numbers, **methods}))
    waits = _pauses(pipeline, findings.waiting())
    decisions = Decisions(examined, decided, findings.seconds(batch.gated), waits)
    return DecidedBatch(batch.loaded, decisions)


@dg.op(out=dg.Out(dg.Nothing))
def store(context: dg.OpExecutionContext, pipeline: Pipeline, batch: DecidedBatch) -> None:
    """Commit observations, outcomes, metrics and child executions, chunk by chunk, while the batch is this run's."""
    loaded, decisions = batch.loaded, batch.decisions
    token = loaded.claim.token
    if token is None:
        return
    persistence = Persistence(
        engine=pipeline.engine,
        token=token,
        decide=partial(_decide_anew, pipeline),
        children=ChildRules(pipeline.settings.extraction_min_content, pipeline.debounce_periods()),
        chunk=_chunk(pipeline, loaded),
        seconds=decisions.seconds,
        deadline=loaded.claim.deadline,
        retries=pipeline.retries_of(FUNCTION),
        draw=random,
    )
    report = ops.fenced(pipeline, token, lambda: persistence.keep_all(decisions))
    subjects = {event.id: (event.workspace_id, event.source_event.source_id) for event in loaded.events}
    ops.report_stored(context, report, subjects)


def _classifications(
    context: dg.OpExecutionContext, pipeline: Pipeline, events: Sequence[CaptureEvent], *, claim: Claim
) -> tuple[Classifications, dict[str, int]]:
    """Classify by the model that is chosen; one that cannot be asked leaves all to the rules, and that is told."""
    try:
        asker = ops.asker_of(pipeline, "classify", claim, step=CLASSIFY)
    except ModelMisconfigured as problem:
        context.log.warning("no model can be asked, the rules classify: %s", problem)
        return classify_all(events, instead=f"{problem}"), {"fallbacks": len(events)}
    return (classify_all(events), {}) if asker.model.is_offline else classify_by_model(events, asker)


def _embedder_of(pipeline: Pipeline, made: list[Embedder], workspace_id: str, chosen: EmbeddingSettings) -> Embedder:
    embedder = recorded(
        pipeline.embedder_of(chosen),
        pipeline.engine,
        workspace_id=workspace_id,
        function_id=FUNCTION,
        budget=pipeline.settings.model_daily_tokens,
    )
    made.append(embedder)
    return embedder


def _pauses(pipeline: Pipeline, waiting: Mapping[int, Trouble | None]) -> dict[int, float]:
    """Return the seconds that events wait: none for want of time, until tomorrow (UTC) for want of budget."""
    now = datetime.now(UTC)
    until_tomorrow = 86_400.0 - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    pauses = {None: 0.0, Trouble.BUDGET_EXHAUSTED: until_tomorrow}
    return {
        event_id: pauses.get(trouble, pipeline.settings.retry_base_seconds) for event_id, trouble in waiting.items()
    }


def _chunk(pipeline: Pipeline, loaded: Loaded) -> int:
    chunk = min(pipeline.settings.capture_chunk, pipeline.settings.capture_max_batch)
    return min(chunk, _REPLACING_CHUNK) if any(event.reprocess for event in loaded.events) else chunk


def _decide_anew(pipeline: Pipeline, examined: Sequence[Examined], captured: set[tuple[str, str]]) -> list[Decided]:
    """Judge the events after one that fell out: what stood before it is committed, so it is read back."""
    with pipeline.transaction() as connection:
        authors = recall_authors(connection, [one.event for one in examined])
        memory = recall_memory(connection, examined, _rules(pipeline), authors=authors)
    memory.captured.update(captured)
    return decide(examined, memory, _rules(pipeline))


def _rules(pipeline: Pipeline) -> ClusterRules:
    settings = pipeline.settings
    lookback = timedelta(days=settings.cluster_lookback_days)
    return ClusterRules(settings.cluster_affinity_threshold, lookback, settings.cluster_candidates)


def _door(pipeline: Pipeline) -> Door:
    settings = pipeline.settings
    allowed = DEFAULT_ALLOWED if settings.allowed_events is None else frozenset(settings.allowed_events)
    return Door(allowed, settings.max_payload_bytes)


def _report(context: dg.OpExecutionContext, step: Step[Any], **numbers: int) -> None:
    failed = len(step.failures)
    context.log.info("%d events done, %d failed", len(step.found), failed)
    context.add_output_metadata(reporting.counts({"events": len(step.found), "failed": failed, **numbers}))


@dg.job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    executor_def=dg.in_process_executor,
    resource_defs={"io_manager": dg.mem_io_manager, "pipeline": Pipeline()},
    tags={FUNCTION_TAG: FUNCTION.value},
    hooks={settles_its_batch},
)
def observation_capture() -> None:
    """Turn source events into observations: scored, classified, embedded, with entities, an actor and a cluster."""
    gated = gate(load())
    classified = classify(gated)
    embedded = embed(gated, classified)
    store(assign_clusters(gated, classified, embedded, extract_entities(gated), resolve_actors(gated)))
