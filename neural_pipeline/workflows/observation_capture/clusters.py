"""Topic clusters: how near an observation is to one, and what becomes of a cluster that it joins. Pure.

The formulas are those of spec 3.11 with D-15 to D-18 fixed: distance in time is absolute, every candidate is compared
with its own centroid, candidates are near the event rather than near today, and a cluster's picture keeps moving.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from neural_pipeline.contracts.memory import Cluster, Vector

MAX_ENTITIES = 20
MAX_ACTORS = 10
MAX_KEYWORDS = 20
MAX_LABEL = 100


@dataclass(frozen=True, slots=True)
class ClusterRules:
    """When an observation joins: points out of 100, how far to look back, how many clusters to compare."""

    threshold: float = 60.0
    lookback: timedelta = timedelta(days=7)
    candidates: int = 10


@dataclass(frozen=True, slots=True, eq=False)
class Newcomer:
    """What of an observation decides on its cluster; `entities` are `category:key`, `vector` is its content vector."""

    external_id: str
    title: str
    topics: tuple[str, ...]
    entities: tuple[str, ...]
    actor: str | None
    occurred_at: datetime
    vector: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where an observation went: the cluster afterwards, and its points there (None if new) and at the best refusal."""

    cluster: Cluster
    is_new: bool
    affinity: float | None
    best_rejected: float | None


class ClusterSet:
    """The open clusters of one workspace, found by time: arrays, because every event of a batch asks."""

    def __init__(self, clusters: Iterable[Cluster] = ()) -> None:
        self._clusters: list[Cluster] = []
        self._place: dict[str, int] = {}
        self._span = np.empty((0, 2))
        for cluster in clusters:
            self.put(cluster)

    def put(self, cluster: Cluster) -> None:
        """Add a cluster, or its new state."""
        place = self._place.setdefault(cluster.external_id, len(self._clusters))
        if place == len(self._clusters):
            self._clusters.append(cluster)
            if place == len(self._span):
                self._span = np.resize(self._span, (max(16, 2 * place), 2))
        self._clusters[place] = cluster
        self._span[place] = cluster.first_at.timestamp(), cluster.last_at.timestamp()

    def latest(self, cluster: Cluster) -> Cluster:
        """Return the latest state of a cluster that is known here, else the one given."""
        place = self._place.get(cluster.external_id)
        return cluster if place is None else self._clusters[place]

    def near(self, moment: datetime, rules: ClusterRules) -> list[Cluster]:
        """Return the clusters that were active within the look-back of a moment, the nearest first."""
        first, last = self._span[: len(self._clusters)].T
        at = moment.timestamp()
        distance = np.maximum(np.maximum(first - at, at - last), 0.0)
        near = np.flatnonzero(distance <= rules.lookback.total_seconds())
        order = sorted(near, key=lambda i: (distance[i], -last[i], self._clusters[i].external_id))
        return [self._clusters[i] for i in order[: rules.candidates]]


def place(newcomer: Newcomer, clusters: ClusterSet, rules: ClusterRules) -> Placement:
    """Let an observation join the nearest of the clusters, or begin its own; the set learns of it."""
    scored = [(affinity(newcomer, cluster), cluster) for cluster in clusters.near(newcomer.occurred_at, rules)]
    best = max(scored, key=lambda pair: pair[0], default=None)
    if best is not None and best[0] >= rules.threshold:
        placement = Placement(_joined(best[1], newcomer), is_new=False, affinity=best[0], best_rejected=None)
    else:
        placement = Placement(_begun_by(newcomer), is_new=True, affinity=None, best_rejected=best[0] if best else None)
    clusters.put(placement.cluster)
    return placement


def affinity(newcomer: Newcomer, cluster: Cluster) -> float:
    """Return 0 to 100 points: 40 for the text, 30 for the entities, 20 for the actor, 10 for the time."""
    hours = abs(newcomer.occurred_at - cluster.last_at) // timedelta(hours=1)
    return (
        40.0 * _cosine(newcomer.vector, cluster.centroid)
        + 30.0 * _jaccard(set(newcomer.entities), set(cluster.entities))
        + (20.0 if newcomer.actor is not None and newcomer.actor in cluster.actors else 0.0)
        + max(0.0, 10.0 - hours)
    )


def _cosine(left: Vector, right: Vector) -> float:
    """Cosine similarity, 0 where it is negative or the vectors come from different models."""
    if left.shape != right.shape:
        return 0.0
    norms = float(np.linalg.norm(left)) * float(np.linalg.norm(right))
    return min(1.0, max(0.0, float(np.dot(left, right)) / norms)) if norms else 0.0


def _jaccard(left: set[str], right: set[str]) -> float:
    return len(left & right) / len(left | right) if left and right else 0.0


def _begun_by(newcomer: Newcomer) -> Cluster:
    return Cluster(
        external_id=newcomer.external_id,
        label=_label(newcomer.title),
        keywords=newcomer.topics[:MAX_KEYWORDS],
        entities=newcomer.entities[:MAX_ENTITIES],
        actors=(newcomer.actor,) if newcomer.actor else (),
        count=1,
        first_at=newcomer.occurred_at,
        last_at=newcomer.occurred_at,
        centroid=newcomer.vector,
    )


def _joined(cluster: Cluster, newcomer: Newcomer) -> Cluster:
    actors = (newcomer.actor,) if newcomer.actor else ()
    return replace(
        cluster,
        keywords=_latest_first(newcomer.topics, cluster.keywords, MAX_KEYWORDS),
        entities=_latest_first(newcomer.entities, cluster.entities, MAX_ENTITIES),
        actors=_latest_first(actors, cluster.actors, MAX_ACTORS),
        count=cluster.count + 1,
        first_at=min(cluster.first_at, newcomer.occurred_at),
        last_at=max(cluster.last_at, newcomer.occurred_at),
        centroid=_mean_with(cluster, newcomer.vector),
    )


def _latest_first(new: tuple[str, ...], old: tuple[str, ...], limit: int) -> tuple[str, ...]:
    """Union that keeps what was seen last when there is no room for all."""
    return tuple(dict.fromkeys(new + old))[:limit]


def _mean_with(cluster: Cluster, vector: Vector) -> Vector:
    """Running mean in single precision, as Postgres stores it: a batch and its events one by one agree to the bit."""
    if cluster.centroid.shape != vector.shape:
        return cluster.centroid
    step = (vector - cluster.centroid) / np.float32(cluster.count + 1)
    return (cluster.centroid + step).astype(np.float32)


def _label(title: str) -> str:
    """The title without its `[PR Opened]` prefix."""
    bare = title.partition("] ")[2] if title.startswith("[") else title
    return (bare.strip() or title)[:MAX_LABEL]
