"""Reading, for a whole batch at once, which clusters are to be summarised and what they hold: three statements."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store import cluster_summaries
from neural_pipeline.workflows.cluster_summary.extractive import MAX_MEMBERS
from neural_pipeline.workflows.cluster_summary.logic import (
    UNKNOWN,
    ClusterFacts,
    ClusterKey,
    Observed,
    Picture,
    Plan,
    Requested,
    Subject,
    SummaryRules,
    plan,
)

_PEOPLE = 2 * MAX_MEMBERS
"""Accounts that are read: two of them may bear one name."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How many of the latest observations a summary is made of, and how many characters of each content."""

    observations: int = 20
    snippet: int = 200


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is to be done about each request, and what is known of each cluster wanted, by event id."""

    plan: Plan = field(default_factory=Plan)
    subjects: dict[int, Subject] = field(default_factory=dict[int, Subject])


def recall(connection: Connection, requests: Sequence[Requested], rules: SummaryRules, extent: Extent) -> Recalled:
    """Decide which clusters are summarised and read what their summaries are made of.

    A cluster wanted that has lost everything while it was read has no subject.
    """
    facts = _facts(connection, {key for one in requests if (key := one.key)})
    made = plan(requests, facts, rules)
    pictures = _pictures(connection, set(made.wanted.values()), extent) if made.wanted else {}
    return Recalled(
        made,
        {
            event_id: Subject(key, facts[key].summarised_at, pictures[key])
            for event_id, key in made.wanted.items()
            if key in pictures
        },
    )


def _facts(connection: Connection, keys: set[ClusterKey]) -> dict[ClusterKey, ClusterFacts]:
    return {
        (row["workspace_id"], row["id"]): ClusterFacts(
            row["observations"], row["summary_generated_at"], row["asked_at"]
        )
        for row in cluster_summaries.facts_of(connection, keys)
    }


def _pictures(connection: Connection, keys: set[ClusterKey], extent: Extent) -> dict[ClusterKey, Picture]:
    latest: dict[ClusterKey, list[Observed]] = defaultdict(list)
    for row in cluster_summaries.latest_of(connection, keys, latest=extent.observations, snippet=extent.snippet):
        latest[row["workspace_id"], row["cluster_id"]].append(_observed(row))
    rows = cluster_summaries.pictures_of(connection, keys, people=_PEOPLE)
    found = {(row["workspace_id"], row["cluster_id"]): row for row in rows if row["kinds"]}
    return {key: _picture(row, tuple(latest[key])) for key, row in found.items() if key in latest}


def _observed(row: RowMapping) -> Observed:
    return Observed(
        kind=row["observation_type"],
        title=row["title"],
        actor=row["actor"] or UNKNOWN,
        occurred_at=row["occurred_at"],
        snippet=row["snippet"],
        topics=tuple(row["topics"] or ()),
    )


def _picture(row: RowMapping, latest: tuple[Observed, ...]) -> Picture:
    return Picture(
        label=row["topic_label"],
        kinds=row["kinds"],
        first_at=row["first_at"],
        last_at=row["last_at"],
        newest_at=row["newest_at"] or row["last_at"],
        latest=latest,
        people=tuple(row["names"] or ()),
        keywords=tuple(row["keywords"] or ()),
    )
