"""The thirteen kinds of metric rows: value, unit and tags of each, checked before anything is written. Spec, 5.5.

What is counted, and when, is decided by the workflows; reports and views are elsewhere.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StrictBool, TypeAdapter

from neural_pipeline.contracts.events import Source
from neural_pipeline.contracts.functions import Count, FunctionId, Number, SyncMode
from neural_pipeline.contracts.lifecycle import Cause, RunStatus, Trigger
from neural_pipeline.contracts.shape import Shape


class MetricType(StrEnum):
    """The kind of a metric row."""

    JOB_DURATION = "job_duration"
    DOCUMENTS_INDEXED = "documents_indexed"
    ERRORS = "errors"
    OBSERVATION_CAPTURED = "observation_captured"
    OBSERVATION_FILTERED = "observation_filtered"
    OBSERVATION_DUPLICATE = "observation_duplicate"
    OBSERVATION_BELOW_THRESHOLD = "observation_below_threshold"
    ENTITIES_EXTRACTED = "entities_extracted"
    CLUSTER_ASSIGNED = "cluster_assigned"
    CLUSTER_SUMMARY_GENERATED = "cluster_summary_generated"
    PROFILE_UPDATED = "profile_updated"
    ACTOR_RESOLUTION = "actor_resolution"
    CLUSTER_AFFINITY = "cluster_affinity"


Stored = Annotated[Count, Field(lt=2**31)]
"""A count that fits the integer column of a metric's value."""

Affinity = Annotated[Number, Field(ge=0, le=100)]
"""Points of the four affinity terms together."""

Outcome = Literal[RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED]


class _Occurrence(Shape):
    value: Literal[1] = 1
    unit: Literal["count"] = "count"


class _Tally(Shape):
    value: Stored
    unit: Literal["count"] = "count"


class JobDurationTags(Shape):
    """Which function ran, what started it, how it ended, and how long it waited.

    `result`: the status its output names, or superseded. `begun`: false where it ended before its turn came; it has no
    run time then and no queue wait. Queue wait: from when it was due to its start. Total: from acceptance to its end.
    `source_type`: the provider that a capture's event or a synchronisation is of; absent for child workflows.
    """

    job_type: FunctionId
    trigger: Trigger
    sync_mode: SyncMode | None = None
    source_type: Source | None = None
    outcome: Outcome | None = None
    result: Literal["success", "filtered", "skipped", "failure", "superseded"] | None = None
    begun: StrictBool | None = None
    queue_wait_ms: Stored | None = None
    total_ms: Stored | None = None


class JobDuration(Shape):
    """The run time of an execution, in milliseconds; it may take none. One row for each that ended."""

    type: Literal[MetricType.JOB_DURATION] = MetricType.JOB_DURATION
    value: Stored
    unit: Literal["ms"] = "ms"
    tags: JobDurationTags


class DocumentsIndexedTags(Shape):
    """Which synchronisation indexed the documents."""

    job_type: FunctionId
    source_type: Source
    sync_mode: SyncMode | None = None
    files_processed: Count | None = None


class DocumentsIndexed(_Tally):
    """The number of documents that a synchronisation indexed."""

    type: Literal[MetricType.DOCUMENTS_INDEXED] = MetricType.DOCUMENTS_INDEXED
    tags: DocumentsIndexedTags


class ErrorsTags(Shape):
    """Which function failed, and why. `source_type`: as for durations."""

    job_type: FunctionId
    error_type: str
    trigger: Trigger | None = None
    source_type: Source | None = None
    cause: Cause | None = None


class Errors(_Occurrence):
    """A run failed."""

    type: Literal[MetricType.ERRORS] = MetricType.ERRORS
    tags: ErrorsTags


class ObservationTags(Shape):
    """Which event was captured or kept out; `classification_fallback`: the model failed and the rules classified it."""

    source: Source
    source_type: str
    observation_type: str | None = None
    significance_score: Number | None = None
    duration_ms: Count | None = None
    classification_fallback: StrictBool | None = None


class ObservationCaptured(_Occurrence):
    """An event became an observation."""

    type: Literal[MetricType.OBSERVATION_CAPTURED] = MetricType.OBSERVATION_CAPTURED
    tags: ObservationTags


class ObservationFiltered(_Occurrence):
    """An event was of a kind that its integration does not admit."""

    type: Literal[MetricType.OBSERVATION_FILTERED] = MetricType.OBSERVATION_FILTERED
    tags: ObservationTags


class ObservationDuplicate(_Occurrence):
    """An event was an observation already."""

    type: Literal[MetricType.OBSERVATION_DUPLICATE] = MetricType.OBSERVATION_DUPLICATE
    tags: ObservationTags


class ObservationBelowThreshold(_Occurrence):
    """An event was not significant enough."""

    type: Literal[MetricType.OBSERVATION_BELOW_THRESHOLD] = MetricType.OBSERVATION_BELOW_THRESHOLD
    tags: ObservationTags


class EntitiesExtractedTags(Shape):
    """Where the entities were found."""

    observation_id: str
    entity_count: Count
    source: str | None = None


class EntitiesExtracted(_Tally):
    """The number of entities found in one observation."""

    type: Literal[MetricType.ENTITIES_EXTRACTED] = MetricType.ENTITIES_EXTRACTED
    tags: EntitiesExtractedTags


class ClusterTags(Shape):
    """Which cluster was meant."""

    cluster_id: str
    is_new: StrictBool | None = None
    observation_count: Count | None = None


class ClusterAssigned(_Occurrence):
    """An observation joined or began a cluster, or took another's place in it."""

    type: Literal[MetricType.CLUSTER_ASSIGNED] = MetricType.CLUSTER_ASSIGNED
    tags: ClusterTags


class ClusterSummaryGenerated(_Occurrence):
    """A cluster was summarised."""

    type: Literal[MetricType.CLUSTER_SUMMARY_GENERATED] = MetricType.CLUSTER_SUMMARY_GENERATED
    tags: ClusterTags


class ProfileUpdatedTags(Shape):
    """Whose profile it was."""

    actor_id: str
    observation_id: str | None = None


class ProfileUpdated(_Occurrence):
    """A profile was written."""

    type: Literal[MetricType.PROFILE_UPDATED] = MetricType.PROFILE_UPDATED
    tags: ProfileUpdatedTags


class ActorResolutionTags(Shape):
    """Whether the actor was found, and by what; `none` stands in rows of former versions only."""

    resolved: StrictBool
    source: Source
    method: Literal["email", "username", "github_id", "commit_sha", "none"] | None = None


class ActorResolution(_Occurrence):
    """An attempt to find the canonical actor of an event that has one. A user name alone resolves nobody (D-28)."""

    type: Literal[MetricType.ACTOR_RESOLUTION] = MetricType.ACTOR_RESOLUTION
    tags: ActorResolutionTags


class ClusterAffinityTags(Shape):
    """The affinity to the cluster joined, absent for a new cluster; then the best one that did not suffice, if any."""

    affinity_score: Affinity | None = None
    best_rejected_score: Affinity | None = None
    joined: StrictBool
    cluster_id: str | None = None


class ClusterAffinity(_Occurrence):
    """How near an observation was to the cluster it joined; none where it takes another's place in its cluster."""

    type: Literal[MetricType.CLUSTER_AFFINITY] = MetricType.CLUSTER_AFFINITY
    tags: ClusterAffinityTags


Metric = Annotated[
    JobDuration
    | DocumentsIndexed
    | Errors
    | ObservationCaptured
    | ObservationFiltered
    | ObservationDuplicate
    | ObservationBelowThreshold
    | EntitiesExtracted
    | ClusterAssigned
    | ClusterSummaryGenerated
    | ProfileUpdated
    | ActorResolution
    | ClusterAffinity,
    Field(discriminator="type"),
]

_METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)


def parse_metric(data: object) -> Metric:
    """Read a metric of any type; raises pydantic's ValidationError."""
    return _METRIC.validate_python(data)
