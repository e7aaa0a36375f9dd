"""Topic clusters: how near an observation is to one, and what becomes of a cluster that it joins. Pure.

The formulas are those of spec 3.11 with D-15 to D-18 fixed: distance in time is absolute, every candidate is compared
with its own centroid, candidates are near the event rather than near today, and a cluster's picture keeps moving.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neural_pipeline.contracts.events import Source, SourceEvent
from neural_pipeline.contracts.memory import Cluster, Entity, Vector
from neural_pipeline.workflows.observation_capture.labels import prominence

MAX_ENTITIES = 20
MAX_ACTORS = 10
MAX_KEYWORDS = 20
_ID_LENGTH = 21
_HOUR = timedelta(hours=1)


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
    label: str
    topics: tuple[str, ...]
    entities: tuple[str, ...]
    actor: str | None
    occurred_at: datetime
    vector: Vector
    embedded_by: str


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where an observation went: the cluster afterwards, and its points there (None if new) and at the best refusal."""

    cluster: Cluster
    is_new: bool
    affinity: float | None
    best_rejected: float | None


class _Traits(NamedTuple):
    """What comparing needs of an observation or a cluster, worked out once: each is compared with many."""

    entities: frozenset[str]
    length: float


class ClusterSet:
    """The open clusters of one workspace, found by entity and time: indexed, because every event of a batch asks."""

    def __init__(self, clusters: Iterable[Cluster] = ()) -> None:
        self._clusters: list[Cluster] = []
        self._traits: list[_Traits] = []
        self._place: dict[str, int] = {}
        self._first = np.empty(0)
        self._last = np.empty(0)
        self._names = np.empty(0, dtype=f"S{_ID_LENGTH}")
        self._holders: dict[str, _Places] = {}
        for cluster in clusters:
            self.put(cluster)

    def put(self, cluster: Cluster) -> None:
        """Add a cluster, or its new state."""
        traits = _traits(cluster.entities, cluster.centroid)
        place = self._place.setdefault(cluster.external_id, len(self._clusters))
        if place == len(self._clusters):
            self._make_room(place)
            self._names[place] = cluster.external_id
            self._hold(place, before=frozenset(), now=traits.entities)
            self._clusters.append(cluster)
            self._traits.append(traits)
        else:
            self._hold(place, before=self._traits[place].entities, now=traits.entities)
            self._clusters[place], self._traits[place] = cluster, traits
        self._first[place], self._last[place] = cluster.first_at.timestamp(), cluster.last_at.timestamp()

    def _make_room(self, place: int) -> None:
        if place == len(self._names):
            size = max(16, 2 * place)
            self._first, self._last = np.resize(self._first, size), np.resize(self._last, size)
            self._names = np.resize(self._names, size)

    def _hold(self, place: int, *, before: frozenset[str], now: frozenset[str]) -> None:
        for entity in before - now:
            self._holders[entity].remove(place)
        for entity in now - before:
            self._holders.setdefault(entity, _Places()).add(place)

    def latest(self, cluster: Cluster) -> Cluster:
        """Return the latest state of a cluster that is known here, else the one given."""
        place = self._place.get(cluster.external_id)
        return cluster if place is None else self._clusters[place]

    def traits_of(self, cluster: Cluster) -> _Traits:
        """Return what comparing needs of a cluster of the set."""
        return self._traits[self._place[cluster.external_id]]

    def near(self, moment: datetime, rules: ClusterRules, *, entities: Iterable[str] = ()) -> list[Cluster]:
        """Return the clusters that were active within the look-back of a moment.

        First come those that share the most of the entities, then the nearest in time: a pull request that is merged
        after a busy day finds its cluster, though ten others were active since.
        """
        first, last = self._first[: len(self._clusters)], self._last[: len(self._clusters)]
        at = moment.timestamp()
        distance = np.maximum(np.maximum(first - at, at - last), 0.0)
        is_far = distance > rules.lookback.total_seconds()
        distance[is_far] = np.inf
        keys: list[NDArray[Any]] = [distance, -last, self._names[: len(self._clusters)]]
        chosen = _foremost(keys, rules.candidates, among=np.arange(len(self._clusters)))
        if held := [holders.array() for entity in set(entities) if (holders := self._holders.get(entity))]:
            shared = np.bincount(np.concatenate(held), minlength=len(self._clusters))
            keys.insert(0, -shared)
            sharing = shared.nonzero()[0]
            sharing = _foremost(keys, rules.candidates, among=sharing[~is_far[sharing]])
            chosen = np.concatenate([sharing, chosen[shared[chosen] == 0]])
        ordered = chosen[np.lexsort([key[chosen] for key in reversed(keys)])][: rules.candidates]
        return [self._clusters[i] for i in ordered[~is_far[ordered]].tolist()]


class _Places:
    """A set of places that is read as an array: made anew for every event, it would cost more than all the rest."""

    def __init__(self) -> None:
        self._array = np.empty(2, dtype=np.intp)
        self._position: dict[int, int] = {}

    def array(self) -> NDArray[np.intp]:
        """Return the places, good until the next change."""
        return self._array[: len(self._position)]

    def add(self, place: int) -> None:
        """Add a place that is not there."""
        size = len(self._position)
        if size == len(self._array):
            self._array = np.resize(self._array, 2 * size)
        self._array[size] = place
        self._position[place] = size

    def remove(self, place: int) -> None:
        """Remove a place that is there; the last one takes its position."""
        position, last = self._position.pop(place), int(self._array[len(self._position)])
        if last != place:
            self._array[position], self._position[last] = last, position


def _foremost(keys: Sequence[NDArray[Any]], count: int, *, among: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the places that sorting by the keys would put first, without sorting: most are compared once.

    They are in no order, and more than `count` where only the last key decides, which is not looked at.
    """
    ahead: list[NDArray[np.intp]] = []
    rivals = among
    for key in keys[:-1]:
        missing = count - sum(map(len, ahead))
        if len(rivals) <= missing:
            break
        values = key if len(rivals) == len(key) else key[rivals]
        bound = np.partition(values, missing - 1)[missing - 1]
        ahead.append(rivals[values < bound])
        rivals = rivals[values == bound]
    return np.concatenate([*ahead, rivals]) if ahead else rivals


def compared_entities(event: SourceEvent, entities: Sequence[Entity]) -> tuple[str, ...]:
    """Return what clusters compare of an event that names these entities, as `category:key`. Decision 13.

    Numbers of issues, pull requests and tickets tell what it is about; where there are any, nothing else is compared,
    as people, labels and branches differ between a pull request, its push and its deployment. A commit without a
    number is told by its files: its own hash nobody shares, its branch everybody.
    """
    numbers = [entity for entity in entities if entity.category == "project"]
    files = _files(event)
    if files and not numbers:
        return files
    return tuple(f"{entity.category}:{entity.key}" for entity in numbers or entities)


def _files(event: SourceEvent) -> tuple[str, ...]:
    """Return the files that a commit of git history changes, as many as a cluster remembers."""
    files = event.metadata.get("files") if event.source is Source.GIT else None
    return tuple(f"definition:{file}" for file in files[:MAX_ENTITIES]) if isinstance(files, list) else ()


def place(newcomer: Newcomer, clusters: ClusterSet, rules: ClusterRules) -> Placement:
    """Let an observation join the nearest of the clusters, or begin its own; the set learns of it."""
    candidates = clusters.near(newcomer.occurred_at, rules, entities=newcomer.entities)
    own = _traits(newcomer.entities, newcomer.vector)
    scored = [(_points(newcomer, own, cluster, clusters.traits_of(cluster)), cluster) for cluster in candidates]
    best = max(scored, key=lambda pair: pair[0], default=None)
    if best is not None and best[0] >= rules.threshold:
        placement = Placement(_joined(best[1], newcomer), is_new=False, affinity=best[0], best_rejected=None)
    else:
        placement = Placement(_begun_by(newcomer), is_new=True, affinity=None, best_rejected=best[0] if best else None)
    clusters.put(placement.cluster)
    return placement


def affinity(newcomer: Newcomer, cluster: Cluster) -> float:
    """Return 0 to 100 points: 40 for the text, 30 for the entities, 20 for the actor, 10 for the time."""
    own, others = _traits(newcomer.entities, newcomer.vector), _traits(cluster.entities, cluster.centroid)
    return _points(newcomer, own, cluster, others)


def _traits(entities: Iterable[str], vector: Vector) -> _Traits:
    # Not np.linalg.norm: what it does beside this takes longer than this.
    return _Traits(frozenset(entities), float(np.sqrt(vector.dot(vector))))


def _points(newcomer: Newcomer, own: _Traits, cluster: Cluster, others: _Traits) -> float:
    likeness = 0.0
    if _is_comparable(newcomer, cluster) and (lengths := own.length * others.length):
        likeness = min(1.0, max(0.0, float(newcomer.vector.dot(cluster.centroid)) / lengths))
    hours = abs(newcomer.occurred_at - cluster.last_at) // _HOUR
    return (
        40.0 * likeness
        + 30.0 * _jaccard(own.entities, others.entities)
        + (20.0 if newcomer.actor is not None and newcomer.actor in cluster.actors else 0.0)
        + max(0.0, 10.0 - hours)
    )


def _is_comparable(newcomer: Newcomer, cluster: Cluster) -> bool:
    """Vectors of different models say nothing about each other, also where they are equally long."""
    return newcomer.embedded_by == cluster.centroid_model and newcomer.vector.shape == cluster.centroid.shape


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / len(left | right) if left and right else 0.0


def _begun_by(newcomer: Newcomer) -> Cluster:
    return Cluster(
        external_id=newcomer.external_id,
        label=newcomer.label,
        keywords=newcomer.topics[:MAX_KEYWORDS],
        entities=newcomer.entities[:MAX_ENTITIES],
        actors=(newcomer.actor,) if newcomer.actor else (),
        count=1,
        first_at=newcomer.occurred_at,
        last_at=newcomer.occurred_at,
        centroid=newcomer.vector,
        centroid_model=newcomer.embedded_by,
    )


def _joined(cluster: Cluster, newcomer: Newcomer) -> Cluster:
    actors = (newcomer.actor,) if newcomer.actor else ()
    return replace(
        cluster,
        label=newcomer.label if prominence(newcomer.topics) > prominence(cluster.keywords) else cluster.label,
        keywords=_latest_first(newcomer.topics, cluster.keywords, MAX_KEYWORDS),
        entities=_latest_first(newcomer.entities, cluster.entities, MAX_ENTITIES),
        actors=_latest_first(actors, cluster.actors, MAX_ACTORS),
        count=cluster.count + 1,
        first_at=min(cluster.first_at, newcomer.occurred_at),
        last_at=max(cluster.last_at, newcomer.occurred_at),
        centroid=_mean_with(cluster, newcomer),
    )


def _latest_first(new: tuple[str, ...], old: tuple[str, ...], limit: int) -> tuple[str, ...]:
    """Union that keeps what was seen last when there is no room for all."""
    return tuple(dict.fromkeys(new + old))[:limit]


def _mean_with(cluster: Cluster, newcomer: Newcomer) -> Vector:
    """Running mean in single precision, as Postgres stores it: a batch and its events one by one agree to the bit."""
    if not _is_comparable(newcomer, cluster):
        return cluster.centroid
    step = (newcomer.vector - cluster.centroid) / np.float32(cluster.count + 1)
    return (cluster.centroid + step).astype(np.float32)
