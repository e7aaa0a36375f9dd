"""What becomes of a request for a summary, and what a summary is made of. Pure: no Dagster, no SQL, no model.

The rules by which a summary is written without a model stand in `extractive`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from neural_pipeline.contracts.answers import MAX_WORD, SummaryAnswer

SkipReason = Literal["cluster_not_found", "no_observations", "below_threshold", "summary_recent", "budget_exhausted"]
ClusterKey = tuple[str, int]
"""Workspace id and cluster id: a number alone could be another workspace's cluster (D-33)."""

UNKNOWN = "unknown"
"""Stands where an observation names no actor."""

_LONGEST_ID = 18
"""Digits that fit into a bigint whatever they are."""


@dataclass(frozen=True, slots=True)
class Requested:
    """A request: the event that makes it, its workspace, and the cluster id as its payload spells it."""

    event_id: int
    workspace_id: str
    cluster_id: str

    @property
    def key(self) -> ClusterKey | None:
        """The cluster meant; None where the id is no number, for then it is nobody's."""
        text = self.cluster_id
        is_number = text.isascii() and text.isdigit() and len(text) <= _LONGEST_ID
        return (self.workspace_id, int(text)) if is_number else None


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What decides whether a cluster is summarised: its observations as stored, and when it was summarised last."""

    observations: int
    summarised_at: datetime | None
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class SummaryRules:
    """From how many observations a cluster is summarised, and for how long a summary is not made anew."""

    min_observations: int = 5
    min_age: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a cluster is not summarised."""

    reason: SkipReason
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Summarised:
    """A summary of a cluster that had `seen` its last one then, and of how many observations it was made."""

    key: ClusterKey
    seen: datetime | None
    answer: SummaryAnswer
    answered_by: str
    gathered: int
    is_repeat: bool = False

    @property
    def reason(self) -> SkipReason | None:
        """What a request that repeats another of its batch ends with, unless the other one falls out."""
        return "summary_recent" if self.is_repeat else None


Effect = Skip | Summarised


@dataclass(frozen=True, slots=True)
class Plan:
    """Which requests are skipped, which are worked on, and which only repeat one of those (by its event id)."""

    skipped: dict[int, Skip] = field(default_factory=dict[int, Skip])
    wanted: dict[int, ClusterKey] = field(default_factory=dict[int, ClusterKey])
    repeats: dict[int, int] = field(default_factory=dict[int, int])


def plan(requests: Sequence[Requested], facts: Mapping[ClusterKey, ClusterFacts], rules: SummaryRules) -> Plan:
    """Decide on requests in order; the first for a cluster is worked on, later ones share what comes of it."""
    made = Plan()
    first: dict[ClusterKey, int] = {}
    for one in requests:
        key = one.key
        reason = objection(facts.get(key) if key else None, rules)
        if key is None or reason is not None:
            made.skipped[one.event_id] = Skip(reason or "cluster_not_found")
        elif key in first:
            made.repeats[one.event_id] = first[key]
        else:
            first[key] = one.event_id
            made.wanted[one.event_id] = key
    return made


def objection(facts: ClusterFacts | None, rules: SummaryRules) -> SkipReason | None:
    """Return the first reason against a summary, None if there is none.

    In this order each reason is true of what the ones before let through. An empty cluster is told apart from a small
    one, and one that is too small is never called recent: that would promise a new summary for tomorrow (D-34).
    """
    if facts is None:
        return "cluster_not_found"
    if facts.observations == 0:
        return "no_observations"
    if facts.observations < rules.min_observations:
        return "below_threshold"
    if facts.summarised_at is not None and facts.asked_at - facts.summarised_at < rules.min_age:
        return "summary_recent"
    return None


@dataclass(frozen=True, slots=True)
class Observed:
    """One observation as a summary sees it; `actor` is a name or `unknown`, `snippet` the beginning of its content."""

    kind: str
    title: str
    actor: str
    occurred_at: datetime
    snippet: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A cluster as it is summarised.

    `kinds` counts all its observations, `people` are its most active actors, `latest` the newest observations first;
    `newest_at` is the latest activity of the whole workspace.
    """

    label: str
    kinds: Mapping[str, int]
    first_at: datetime
    last_at: datetime
    newest_at: datetime
    latest: tuple[Observed, ...]
    people: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many observations the cluster has."""
        return sum(self.kinds.values())


def who_took_part(names: Sequence[str], picture: Picture) -> tuple[str, ...]:
    """Return the names that people of a cluster bear, as the cluster spells them, each once: models make names up."""
    borne = (name[:MAX_WORD].strip() for name in (*(one.actor for one in picture.latest), *picture.people))
    known = {name.casefold(): name for name in borne if name.casefold() != UNKNOWN}
    return tuple(dict.fromkeys(known[name.casefold()] for name in names if name.casefold() in known))


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster that is to be summarised, and when it had been before."""

    key: ClusterKey
    seen: datetime | None
    picture: Picture
