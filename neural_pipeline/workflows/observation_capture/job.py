"""The job `observation_capture`: one run works off one batch of source events. Ops are thin; decisions stand beside.

The parallel steps prepare findings for each event as if it stood alone; `assign_clusters` then decides in order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import random
from typing import Any

import dagster as dg
from pydantic import Field

from neural_pipeline.contracts.memory import NewObservation
from neural_pipeline.resources import Pipeline
from neural_pipeline.sources.intake import DEFAULT_ALLOWED
from neural_pipeline.store import batches, capture_inputs
from neural_pipeline.store.batches import BatchLost, WorkspaceHeld
from neural_pipeline.workflows.observation_capture import analysis, reporting
from neural_pipeline.workflows.observation_capture.analysis import (
    Analysis,
    Classifications,
    Embeddings,
    Extractions,
    examine,
)
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules
from neural_pipeline.workflows.observation_capture.gate import Gated, Thresholds
from neural_pipeline.workflows.observation_capture.gate import gate as pass_gate
from neural_pipeline.workflows.observation_capture.intake import FUNCTION, Door
from neural_pipeline.workflows.observation_capture.loading import (
    LaunchRefused,
    Loaded,
    Request,
    Terms,
    claim,
    with_events,
)
from neural_pipeline.workflows.observation_capture.persist import Persistence
from neural_pipeline.workflows.observation_capture.recall import (
    KnownAuthors,
    recall_authors,
    recall_for_gate,
    recall_memory,
)
from neural_pipeline.workflows.observation_capture.verdicts import Decided, Decisions, Examined, decide
from neural_pipeline.workflows.observation_capture.work import Step
from neural_pipeline.workflows.run_failures import settles_its_batch

BATCH_TAG = "neural/batch"
"""The run tag that names the batch a sensor has assigned."""


_LONGEST_ID = 18
"""Digits that fit into a bigint whatever they are."""

_REPLACING_CHUNK = 50
"""Events committed at once where some replace their observation: those are written one by one."""


def batch_named(tags: Mapping[str, str]) -> int | None:
    """Return the batch that a run's tags name; what somebody typed there and is no number names none."""
    tag = tags.get(BATCH_TAG, "")
    return int(tag) if tag.isascii() and tag.isdigit() and len(tag) <= _LONGEST_ID else None


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
    loaded = _load(context, config, pipeline)
    workspaces = {event.workspace_id for event in loaded.events}
    context.log.info("loaded %d events of %d workspaces. %s", len(loaded.events), len(workspaces), loaded.note or "")
    numbers = {"events": len(loaded.events), "unreadable": len(loaded.unreadable), "workspaces": len(workspaces)}
    context.add_output_metadata(reporting.counts(numbers) | ({"note": loaded.note} if loaded.note else {}))
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
def classify(context: dg.OpExecutionContext, batch: GatedBatch) -> Classifications:
    """Give every event a primary category, up to three others, and its topics."""
    step = analysis.classify(batch.gated.open_events())
    categories = Counter(found.classification.primary for found in step.found.values())
    _report(context, step, **categories)
    return step


@dg.op(out=dg.Out(description="Three unit vectors per event: title, content, summary."))
def embed(context: dg.OpExecutionContext, pipeline: Pipeline, batch: GatedBatch) -> Embeddings:
    """Embed the three views of every event."""
    step = analysis.embed(batch.gated.open_events(), pipeline.embedder())
    _report(context, step, vectors=analysis.VIEWS_PER_EVENT * len(step.found))
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
    findings = Analysis(classified, embedded, entities, pipeline.embedder().name)
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
    return DecidedBatch(batch.loaded, Decisions(examined, decided, findings.seconds(batch.gated)))


@dg.op(out=dg.Out(dg.Nothing))
def store(context: dg.OpExecutionContext, pipeline: Pipeline, batch: DecidedBatch) -> None:
    """Commit observations, outcomes, metrics and child executions, chunk by chunk, while the batch is this run's."""
    loaded, decisions = batch.loaded, batch.decisions
    if loaded.token is None:
        return
    persistence = Persistence(
        engine=pipeline.engine,
        token=loaded.token,
        decide=partial(_decide_anew, pipeline),
        chunk=_chunk(pipeline, loaded),
        seconds=decisions.seconds,
        deadline=loaded.deadline,
        retries=pipeline.retries,
        draw=random,
    )
    try:
        report = persistence.keep(decisions.examined, decisions.decided)
    except BatchLost as lost:
        with pipeline.transaction() as connection:
            batches.count_stale_write(connection, loaded.token)
        raise dg.Failure(f"{lost}: nothing more was written", allow_retries=False) from lost
    events = {event.id: event for event in loaded.events}
    numbers = {**report.outcomes, "chunks repeated": report.repeats, "left to a later run": report.released}
    context.log.info("stored: %s", ", ".join(f"{name} {value}" for name, value in numbers.items()))
    failures = reporting.failure_table(report.failures, events)
    context.add_output_metadata(reporting.counts(numbers) | {"failures": failures})


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


def _load(context: dg.OpExecutionContext, config: Launch, pipeline: Pipeline) -> Loaded:
    request = Request(
        run_id=context.run_id,
        batch_id=batch_named(context.run.tags),
        workspace_id=config.workspace_id,
        events=config.events,
        launched_by=context.run.tags.get("user", "dagster"),
    )
    settings = pipeline.settings
    terms = Terms(
        limits=pipeline.limits,
        working=min(settings.run_max_seconds, settings.capture_timeout_seconds / 2),
        timeout=settings.capture_timeout_seconds,
        lease=settings.lease_seconds,
        pause=settings.retry_base_seconds,
        door=_door(pipeline),
    )
    try:
        with pipeline.transaction() as connection:
            claimed = claim(connection, request, terms)
    except (WorkspaceHeld, LaunchRefused) as refusal:
        raise dg.Failure(str(refusal), allow_retries=False) from refusal
    if claimed.token is None:
        return claimed
    pipeline.keep_lease(claimed.token)
    with pipeline.transaction() as connection:
        rows = capture_inputs.events_of(connection, claimed.token.batch_id)
    return with_events(claimed, rows)


@dg.job(  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
    executor_def=dg.in_process_executor,
    resource_defs={"io_manager": dg.mem_io_manager, "pipeline": Pipeline()},
    tags={"neural/function": FUNCTION.value},
    hooks={settles_its_batch},
)
def observation_capture() -> None:
    """Turn source events into observations: scored, classified, embedded, with entities, an actor and a cluster."""
    gated = gate(load())
    store(assign_clusters(gated, classify(gated), embed(gated), extract_entities(gated), resolve_actors(gated)))
