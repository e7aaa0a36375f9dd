"""What the memory is made of, as the workflows work it out and the store writes it. Plain values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neural_pipeline.contracts.events import Actor, SourceEvent

Vector = NDArray[np.float32]
ActorMethod = Literal["email", "username", "github_id", "commit_sha", "none"]

ActorKey = tuple[str, str]
"""Workspace id and canonical actor id."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing an observation speaks of; `key` identifies it within its category, whatever its case."""

    category: str
    key: str
    value: str | None
    confidence: float
    evidence: str


@dataclass(frozen=True, slots=True)
class ObservedText:
    """What a stored observation says, and its id: an observation that replaces it has another."""

    id: int
    title: str
    content: str


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


@dataclass(frozen=True, slots=True)
class Handover:
    """An observation that was one actor's and is another's now, by the event `event_id`; ids are canonical.

    `merged_into` is the account where the two are one person, None where the old actor was simply wrong.
    """

    event_id: int
    workspace_id: str
    observation_id: str
    old_actor_id: str
    merged_into: str | None = None


@dataclass(frozen=True, slots=True)
class ActorNews:
    """What is told of an actor whose profile is to be updated; `merged_into` is the account behind a user name."""

    workspace_id: str
    clerk_org_id: str
    actor_id: str
    name: str | None = None
    email: str | None = None
    avatar_url: str | None = None
    merged_into: str | None = None


@dataclass(frozen=True, slots=True)
class KeptProfile:
    """A profile after its update; `merged_into` names the profile that counts its person, if that is another."""

    observation_count: int
    is_new: bool
    merged_into: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """A topic cluster after some observation joined it.

    `centroid` is the mean of the content vectors made by the embedder `centroid_model`; None if that is not known.
    """

    external_id: str
    label: str
    keywords: tuple[str, ...]
    entities: tuple[str, ...]
    actors: tuple[str, ...]
    count: int
    first_at: datetime
    last_at: datetime
    centroid: Vector
    centroid_model: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Replaced:
    """A stored observation that a new one replaces, and the cluster in which both stand; None if it is in none."""

    id: int
    external_id: str
    cluster: Cluster | None


@dataclass(frozen=True, slots=True, eq=False)
class NewObservation:
    """An observation to be stored, with everything that is stored with it; `vectors` has shape (3, dimension).

    `is_fallback`: a model was to classify it, and the rules did; the note says why. Else it is the model's reasoning.
    """

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
    classification_note: str | None
    is_fallback: bool
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


SUMMARY_BODY = 1_000
"""Characters of the body that the summary view takes."""


def views_of_text(title: str, body: str) -> tuple[str, str, str]:
    """Return the texts that an observation's three vectors are made of: title, content, summary."""
    if not body.strip():
        return title, title, title
    return title, body, f"{title}\n\n{body[:SUMMARY_BODY]}"
