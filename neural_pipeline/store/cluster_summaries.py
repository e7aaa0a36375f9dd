"""What a summary of a topic cluster is made of, and keeping it. Reads over the whole record are in `summaries`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store.sql import record_set, rows, run, storable

ClusterKey = tuple[str, int]
"""Workspace id and cluster id: never one without the other (D-33)."""

_KEYS = "(select distinct * from jsonb_to_recordset(cast(:keys as jsonb)) as r(workspace_id text, cluster_id bigint)) k"

_FACTS = f"""
select c.workspace_id, c.id, c.topic_label, c.summary_generated_at, clock_timestamp() as asked_at,
  (select count(*) from lightfast_workspace_neural_observations o
   where o.cluster_id = c.id and o.workspace_id = c.workspace_id) as observations
from {_KEYS}
join lightfast_workspace_observation_clusters c on c.id = k.cluster_id and c.workspace_id = k.workspace_id
"""  # noqa: S608 - made of constants


def facts_of(connection: Connection, keys: Collection[ClusterKey]) -> Sequence[RowMapping]:
    """Return the clusters that exist, with the observations really stored in each (D-12) and the present time."""
    return rows(connection, _FACTS, keys=_key_set(keys))


_PICTURES = f"""
select k.workspace_id, k.cluster_id, c.topic_label, c.keywords, whole.kinds, whole.first_at, whole.last_at,
  people.names, newest.at as newest_at
from {_KEYS}
join lightfast_workspace_observation_clusters c on c.id = k.cluster_id and c.workspace_id = k.workspace_id
cross join lateral (
  select jsonb_object_agg(kind, number) as kinds, min(first_at) as first_at, max(last_at) as last_at
  from (
    select o.observation_type as kind, count(*) as number, min(o.occurred_at) as first_at, max(o.occurred_at) as last_at
    from lightfast_workspace_neural_observations o
    where o.cluster_id = k.cluster_id and o.workspace_id = k.workspace_id
    group by 1
  ) kinds
) whole
cross join lateral (
  select jsonb_agg(name order by number desc, name) as names
  from (
    select (array_agg(o.actor ->> 'name' order by o.occurred_at desc, o.id desc))[1] as name, count(*) as number
    from lightfast_workspace_neural_observations o
    where o.cluster_id = k.cluster_id and o.workspace_id = k.workspace_id and o.actor ->> 'name' <> ''
    group by coalesce(o.canonical_actor_id, o.actor ->> 'name')
    order by 2 desc, 1 limit :people
  ) counted
) people
cross join lateral (
  select max(o.occurred_at) as at from lightfast_workspace_neural_observations o
  where o.workspace_id = k.workspace_id and o.occurred_at <= statement_timestamp()
) newest
"""  # noqa: S608 - made of constants


def pictures_of(connection: Connection, keys: Collection[ClusterKey], *, people: int) -> Sequence[RowMapping]:
    """Return clusters with all their observations counted by kind, the most active `people`, and when they were.

    `newest_at` is the workspace's latest activity up to now: a date in the future makes nothing else old.
    """
    return rows(connection, _PICTURES, keys=_key_set(keys), people=people)


_LATEST = f"""
select k.workspace_id, k.cluster_id, latest.*
from {_KEYS}
cross join lateral (
  select o.id, o.observation_type, o.title, o.actor ->> 'name' as actor, o.occurred_at, o.topics,
    left(o.content, :snippet) as snippet
  from lightfast_workspace_neural_observations o
  where o.cluster_id = k.cluster_id and o.workspace_id = k.workspace_id
  order by o.occurred_at desc, o.id desc
  limit :latest
) latest
order by k.workspace_id, k.cluster_id, latest.occurred_at desc, latest.id desc
"""  # noqa: S608 - made of constants


def latest_of(
    connection: Connection, keys: Collection[ClusterKey], *, latest: int, snippet: int
) -> Sequence[RowMapping]:
    """Return the latest observations of each cluster, newest first, with the first characters of their content."""
    return rows(connection, _LATEST, keys=_key_set(keys), latest=latest, snippet=snippet)


@dataclass(frozen=True, slots=True)
class NewSummary:
    """A summary of a cluster; `seen` is when the cluster had been summarised before, as whoever made this knew."""

    workspace_id: str
    cluster_id: int
    seen: datetime | None
    summary: str
    key_topics: tuple[str, ...]
    key_contributors: tuple[str, ...]
    status: str
    summarized_by: str


Kept = Literal["kept", "summarised_meanwhile", "gone"]

# In key order, as a capture upserts clusters: two transactions that hold some of them cannot wait for each other.
_HOLD = f"""
select c.workspace_id, c.id, c.summary_generated_at
from lightfast_workspace_observation_clusters c
join {_KEYS} on c.id = k.cluster_id and c.workspace_id = k.workspace_id
order by c.id
for no key update of c
"""  # noqa: S608 - made of constants

_KEEP = """
update lightfast_workspace_observation_clusters c
set summary = s.summary, summary_generated_at = clock_timestamp(), key_topics = s.key_topics,
  key_contributors = s.key_contributors, activity = s.activity, summarized_by = s.summarized_by,
  updated_at = clock_timestamp()
from jsonb_to_recordset(cast(:summaries as jsonb)) as s(workspace_id text, cluster_id bigint, summary text,
  key_topics jsonb, key_contributors jsonb, activity text, summarized_by text)
where c.id = s.cluster_id and c.workspace_id = s.workspace_id
"""


def keep_summaries(connection: Connection, summaries: Sequence[NewSummary]) -> list[Kept]:
    """Write summaries to their clusters; say of each whether it was kept, came second, or its cluster has vanished.

    The first of a cluster is kept, and only where nobody has summarised the cluster since `seen`.
    """
    keys = [(one.workspace_id, one.cluster_id) for one in summaries]
    held = rows(connection, _HOLD, keys=_key_set(keys)) if keys else ()
    stamps = {(row["workspace_id"], row["id"]): row["summary_generated_at"] for row in held}
    first: dict[ClusterKey, int] = {}
    for place, (key, one) in enumerate(zip(keys, summaries, strict=True)):
        if key in stamps and stamps[key] == one.seen:
            first.setdefault(key, place)
    if first:
        rows_kept = record_set(_record(summaries[place]) for place in first.values())
        run(connection, _KEEP, summaries=rows_kept)
    return [_end(key in stamps, first.get(key) == place) for place, key in enumerate(keys)]


def _end(is_there: bool, is_first: bool) -> Kept:
    if not is_there:
        return "gone"
    return "kept" if is_first else "summarised_meanwhile"


def _record(one: NewSummary) -> dict[str, Any]:
    return {
        "workspace_id": one.workspace_id,
        "cluster_id": one.cluster_id,
        "summary": _whole(one.summary),
        "key_topics": [_whole(topic) for topic in one.key_topics],
        "key_contributors": [_whole(name) for name in one.key_contributors],
        "activity": one.status,
        "summarized_by": one.summarized_by,
    }


def _whole(text: str) -> str:
    """A model may write what Postgres cannot hold."""
    return storable(text, limit=len(text))


def _key_set(keys: Collection[ClusterKey]) -> str:
    return record_set({"workspace_id": workspace, "cluster_id": cluster} for workspace, cluster in sorted(set(keys)))
