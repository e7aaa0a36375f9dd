"""What the memory is made of, as the workflows work it out and the store writes it. Plain values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neural_pipeline.contracts.events import Actor, SourceEvent

Vector = NDArray[np.float32]
ActorMethod = Literal["email", "username", "github_id", "commit_sha", "none"]


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing an observation speaks of; `key` identifies it within its category, whatever its case."""

    category: str
    key: str
    value: str | None
    confidence: float
    evidence: str


@dataclass(frozen=True, slots=True)
class CommitAuthor:
    """A GitHub account known to have acted on a commit: numeric id, login, and the names its commits carry."""

    id: str
    login: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolvedActor:
    """The actor of an event as stored, its canonical id (`github:583231`), and how that was found."""

    actor: Actor | None
    canonical_id: str | None
    method: ActorMethod


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """A topic cluster after some observation joined it; `centroid` is the mean of its content vectors."""

    external_id: str
    label: str
    keywords: tuple[str, ...]
    entities: tuple[str, ...]
    actors: tuple[str, ...]
    count: int
    first_at: datetime
    last_at: datetime
    centroid: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Replaced:
    """A stored observation that a new one replaces, and the cluster in which both stand; None if it is in none."""

    id: int
    external_id: str
    cluster: Cluster | None


@dataclass(frozen=True, slots=True, eq=False)
class NewObservation:
    """An observation to be stored, with everything that is stored with it; `vectors` has shape (3, dimension)."""

    event_id: int
    workspace_id: str
    clerk_org_id: str
    repository_id: str | None
    external_id: str
    source_event: SourceEvent
    observation_type: str
    significance: int
    significance_factors: tuple[str, ...]
    primary_category: str
    secondary_categories: tuple[str, ...]
    classification_confidence: float
    classified_by: str
    topics: tuple[str, ...]
    entities: tuple[Entity, ...]
    actor: ResolvedActor
    vectors: Vector
    embedded_by: str
    cluster: Cluster
    cluster_is_new: bool
    affinity: float | None
    best_rejected: float | None
    replaces: Replaced | None = None


def stays_in_its_cluster(one: NewObservation) -> bool:
    """Tell whether an observation takes the place of another in a cluster, which does not change by that."""
    return one.replaces is not None and one.replaces.cluster is not None
