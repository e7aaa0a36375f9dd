"""From a verdict to what is recorded of it: output, metrics and child executions. Pure. Spec, 3.3 and 3.13."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from neural_pipeline.contracts.debounce import Period
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import ExtractionPayload, IncomingEvent, ProfilePayload, SummaryPayload
from neural_pipeline.contracts.memory import Handover, NewObservation, stays_in_its_cluster
from neural_pipeline.contracts.metrics import (
    ActorResolution,
    ActorResolutionTags,
    ClusterAffinity,
    ClusterAffinityTags,
    ClusterAssigned,
    ClusterTags,
    EntitiesExtracted,
    EntitiesExtractedTags,
    Metric,
    ObservationBelowThreshold,
    ObservationCaptured,
    ObservationDuplicate,
    ObservationFiltered,
    ObservationTags,
)
from neural_pipeline.contracts.workflows import CaptureFailure, CaptureFiltered, CaptureSuccess, WorkflowOutput
from neural_pipeline.workflows.batch_work.committing import Decided
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Filtered


@dataclass(frozen=True, slots=True)
class ChildRules:
    """Above how many characters of body a model is asked for entities, and how long each child waits for news."""

    longer_than: int = 200
    periods: Mapping[FunctionId, Period] = field(default_factory=dict[FunctionId, Period])


_FILTER_METRICS = {
    "duplicate": ObservationDuplicate,
    "event_not_allowed": ObservationFiltered,
    "below_threshold": ObservationBelowThreshold,
}


def output_of(decided: Decided[CaptureEvent, NewObservation | Filtered], *, cluster_id: int | None) -> WorkflowOutput:
    """Return the output of an event's execution; `cluster_id` is the stored id of an observation's cluster."""
    source_id = decided.event.source_event.source_id
    match decided.verdict:
        case NewObservation() as one:
            return CaptureSuccess(
                observation_id=one.external_id,
                observation_type=one.observation_type,
                significance_score=one.significance,
                entities_extracted=len(one.entities),
                cluster_id=str(cluster_id),
                cluster_is_new=one.cluster_is_new,
            )
        case Filtered(reason=reason, significance=score):
            return CaptureFiltered.model_validate(
                {"reason": reason, "source_id": source_id, "significance_score": score}
            )
        case Failure() as failure:
            return CaptureFailure(source_id=source_id, error=failure.message, step=failure.step)


def metrics_of(
    decided: Decided[CaptureEvent, NewObservation | Filtered], *, cluster_id: int | None, work_ms: int
) -> tuple[Metric, ...]:
    """Return the metrics of an event, each kind once; a failure has none here (its row's move writes `errors`)."""
    match decided.verdict:
        case NewObservation() as one:
            return tuple(_of_capture(one, str(cluster_id), work_ms))
        case Filtered(reason=reason, significance=score):
            event = decided.event.source_event
            tags = ObservationTags(
                source=event.source, source_type=event.source_type, significance_score=score, duration_ms=work_ms
            )
            return (_FILTER_METRICS[reason](tags=tags),)
        case Failure():
            return ()


def _of_capture(one: NewObservation, cluster_id: str, work_ms: int) -> Iterator[Metric]:
    event = one.source_event
    if event.actor is not None:  # where nobody acted, there is nobody to be found
        yield ActorResolution(
            tags=ActorResolutionTags(resolved=_is_resolved(one), source=event.source, method=one.actor.method)
        )
    if not stays_in_its_cluster(one):  # where it stays, nothing was compared
        yield ClusterAffinity(
            tags=ClusterAffinityTags(
                affinity_score=one.affinity,
                best_rejected_score=one.best_rejected,
                joined=not one.cluster_is_new,
                cluster_id=cluster_id,
            )
        )
    yield ObservationCaptured(
        tags=ObservationTags(
            source=event.source,
            source_type=event.source_type,
            observation_type=one.observation_type,
            significance_score=one.significance,
            duration_ms=work_ms,
            classification_fallback=one.is_fallback if _was_a_model_asked(one) else None,
        )
    )
    entities = EntitiesExtractedTags(
        observation_id=one.external_id, entity_count=len(one.entities), source=event.source
    )
    yield EntitiesExtracted(value=len(one.entities), tags=entities)
    yield ClusterAssigned(
        tags=ClusterTags(cluster_id=cluster_id, is_new=one.cluster_is_new, observation_count=one.cluster.count)
    )


def _was_a_model_asked(one: NewObservation) -> bool:
    return one.is_fallback or not one.classified_by.startswith("offline:")


def _is_resolved(one: NewObservation) -> bool:
    """A user name alone does not tell a person for certain (D-28)."""
    return one.actor.method in {"email", "github_id", "commit_sha"}


def children_of(one: NewObservation, *, cluster_id: int, rules: ChildRules) -> Iterator[IncomingEvent]:
    """Return the executions that a captured observation asks for."""
    if one.actor.canonical_id is not None:
        yield ProfilePayload(
            actor_id=one.actor.canonical_id, observation_id=one.external_id, source_actor=one.actor.actor
        )
    yield SummaryPayload(cluster_id=str(cluster_id), observation_count=one.cluster.count)
    length = len(one.source_event.body)
    if length > rules.longer_than:
        yield ExtractionPayload(observation_id=one.external_id, content_length=length)


def recount_of(handover: Handover) -> ProfilePayload:
    """Return the execution that takes an observation off the profile whose actor it is no longer."""
    return ProfilePayload(
        actor_id=handover.old_actor_id, observation_id=handover.observation_id, merged_into=handover.merged_into
    )
