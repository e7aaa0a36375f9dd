"""The one step that must go event by event: each event sees what the events before it left behind. Pure.

Duplicates, actors and clusters depend on the earlier events of the batch, and on these having been captured. So the
steps before prepare their findings for every event as if it stood alone, and this pass decides, in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from neural_pipeline.contracts.memory import NewObservation, Replaced, ResolvedActor, Vector
from neural_pipeline.workflows.batch_work import committing
from neural_pipeline.workflows.batch_work.steps import Failure, failure_of
from neural_pipeline.workflows.observation_capture.actors import CommitAuthors, author_told_by, commits_of, resolve
from neural_pipeline.workflows.observation_capture.clusters import (
    ClusterRules,
    ClusterSet,
    Newcomer,
    Placement,
    compared_entities,
    place,
)
from neural_pipeline.workflows.observation_capture.identity import external_id
from neural_pipeline.workflows.observation_capture.labels import label_of
from neural_pipeline.workflows.observation_capture.logic import Classification, Entity, Significance, observation_type
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Filtered

STEP = "assign_clusters"
CONTENT = 1
"""The row of the content view in an event's vectors."""

_BEFORE_DUPLICATES = frozenset({"load", "gate"})


@dataclass(frozen=True, slots=True)
class Findings:
    """What the parallel steps found out about one event that passed the gate."""

    significance: Significance
    classification: Classification
    classified_by: str
    classification_note: str | None
    is_fallback: bool
    topics: tuple[str, ...]
    entities: tuple[Entity, ...]
    vectors: Vector
    embedded_by: str


@dataclass(frozen=True, slots=True)
class Examined:
    """An event and its findings, or the reason why there are none."""

    event: CaptureEvent
    result: Findings | Filtered | Failure


class Decided(committing.Decided[CaptureEvent, NewObservation | Filtered]):
    """An event and what is to become of it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Decisions:
    """The examined events of a batch, what is to become of them, the seconds of work on each so far, and who waits.

    The `deferred` wait for a later run, at least so many seconds: there was no time for them, or no answer.
    """

    examined: Sequence[Examined]
    decided: Sequence[Decided]
    seconds: dict[int, float]
    deferred: Mapping[int, float] = field(default_factory=dict[int, float])


@dataclass(slots=True)
class Memory:
    """What is known so far: clusters per workspace, accounts per commit, and the source ids captured by this batch.

    `replaceable` are stored observations by (workspace id, source id) that an event of the batch is to replace.
    """

    clusters: dict[str, ClusterSet] = field(default_factory=dict[str, ClusterSet])
    authors: CommitAuthors = field(default_factory=dict)
    captured: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    replaceable: dict[tuple[str, str], Replaced] = field(default_factory=dict[tuple[str, str], Replaced])


def decide(examined: Sequence[Examined], memory: Memory, rules: ClusterRules) -> list[Decided]:
    """Decide on the events of a batch in their order; the memory learns from each that is captured."""
    return [Decided(one.event, _isolated(one, memory, rules)) for one in examined]


def _isolated(one: Examined, memory: Memory, rules: ClusterRules) -> NewObservation | Filtered | Failure:
    try:
        return _verdict(one, memory, rules)
    except Exception as error:
        return failure_of(error, step=STEP)


def _verdict(one: Examined, memory: Memory, rules: ClusterRules) -> NewObservation | Filtered | Failure:
    identity = (one.event.workspace_id, one.event.source_event.source_id)
    if identity in memory.captured and not _failed_early(one.result):
        return Filtered("duplicate")
    if not isinstance(one.result, Findings):
        return one.result
    observation = _observe(one.event, one.result, memory, rules=rules)
    memory.captured.add(identity)
    _remember_author(one.event, memory)
    return observation


def _failed_early(result: Findings | Filtered | Failure) -> bool:
    """Tell whether an event failed before the gate asks for duplicates, as it would in a batch of its own."""
    return isinstance(result, Failure) and result.step in _BEFORE_DUPLICATES


def _observe(event: CaptureEvent, found: Findings, memory: Memory, *, rules: ClusterRules) -> NewObservation:
    source_event = event.source_event
    known = [author for sha in commits_of(source_event) for author in memory.authors.get((event.workspace_id, sha), [])]
    actor = resolve(source_event, known)
    replaces = memory.replaceable.get((event.workspace_id, source_event.source_id)) if event.reprocess else None
    clusters = memory.clusters.setdefault(event.workspace_id, ClusterSet())
    if replaces is not None and replaces.cluster is not None:
        stays = Placement(clusters.latest(replaces.cluster), is_new=False, affinity=None, best_rejected=None)
        return _new_observation(event, found, actor=actor, placement=stays, replaces=replaces)
    newcomer = Newcomer(
        external_id=external_id("cluster", event.workspace_id, source_event.source_id),
        label=label_of(source_event),
        topics=found.topics,
        entities=compared_entities(source_event, found.entities),
        actor=actor.canonical_id,
        occurred_at=source_event.occurred_at,
        vector=found.vectors[CONTENT],
        embedded_by=found.embedded_by,
    )
    placement = place(newcomer, clusters, rules)
    return _new_observation(event, found, actor=actor, placement=placement, replaces=replaces)


def _new_observation(
    event: CaptureEvent, found: Findings, *, actor: ResolvedActor, placement: Placement, replaces: Replaced | None
) -> NewObservation:
    own_id = external_id("observation", event.workspace_id, event.source_event.source_id)
    return NewObservation(
        event_id=event.id,
        workspace_id=event.workspace_id,
        clerk_org_id=event.clerk_org_id,
        repository_id=event.repository_id,
        external_id=own_id if replaces is None else replaces.external_id,
        source_event=event.source_event,
        observation_type=observation_type(event.source_event),
        significance=found.significance.score,
        significance_factors=found.significance.factors,
        primary_category=found.classification.primary,
        secondary_categories=found.classification.secondaries,
        classification_confidence=found.classification.confidence,
        classified_by=found.classified_by,
        classification_note=found.classification_note,
        is_fallback=found.is_fallback,
        topics=found.topics,
        entities=found.entities,
        actor=actor,
        vectors=found.vectors,
        embedded_by=found.embedded_by,
        cluster=placement.cluster,
        cluster_is_new=placement.is_new,
        affinity=placement.affinity,
        best_rejected=placement.best_rejected,
        replaces=replaces,
    )


def _remember_author(event: CaptureEvent, memory: Memory) -> None:
    author = author_told_by(event.source_event)
    if author is None:
        return
    for sha in commits_of(event.source_event):
        memory.authors.setdefault((event.workspace_id, sha), []).append(author)
