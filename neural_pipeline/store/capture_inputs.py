"""What a capture reads before it decides: what is stored already, subscriptions, clusters, commit authors."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.memory import Cluster, CommitAuthor, Replaced
from neural_pipeline.store.sql import record_set, rows

_CLUSTER = """
c.topic_label, c.keywords, c.primary_entities, c.primary_actors, c.observation_count, c.first_observation_at,
c.last_observation_at, c.centroid::text as centroid, c.centroid_model
"""


_REPLACES = "e.reprocess and o.event_id is distinct from e.id and o.created_at < e.received_at"
"""What was captured since somebody asked for it anew is anew: one batch and single events then agree on duplicates."""


def known_source_ids(connection: Connection, keys: Sequence[tuple[int, str, str]]) -> set[int]:
    """Return which events, given as (event id, workspace id, source id), are observations of another event already.

    An event that is to be processed anew is none of them where the observation is `replaceable`.
    """
    sql = f"""
    select k.event_id
    from jsonb_to_recordset(cast(:keys as jsonb)) k(event_id bigint, workspace_id text, source_id text)
    join lightfast_workspace_neural_observations o on o.workspace_id = k.workspace_id and o.source_id = k.source_id
    left join incoming_events e on e.id = k.event_id and {_REPLACES}
    where o.event_id is distinct from k.event_id and e.id is null
    """  # noqa: S608 - made of constants
    records = ({"event_id": event, "workspace_id": workspace, "source_id": source} for event, workspace, source in keys)
    return {row["event_id"] for row in rows(connection, sql, keys=record_set(records))}


def replaceable(connection: Connection, keys: Sequence[tuple[int, str, str]]) -> dict[tuple[str, str], Replaced]:
    """Return what events, given as (event id, workspace id, source id), are to replace, by workspace and source id."""
    sql = f"""
    select o.workspace_id, o.source_id, o.id as observation_id, o.external_id as observation_external_id, c.external_id,
      {_CLUSTER}
    from jsonb_to_recordset(cast(:keys as jsonb)) k(event_id bigint, workspace_id text, source_id text)
    join incoming_events e on e.id = k.event_id
    join lightfast_workspace_neural_observations o on o.workspace_id = k.workspace_id and o.source_id = k.source_id
    left join lightfast_workspace_observation_clusters c on c.id = o.cluster_id
    where {_REPLACES}
    """  # noqa: S608 - made of constants
    records = ({"event_id": event, "workspace_id": workspace, "source_id": source} for event, workspace, source in keys)
    return {
        (row["workspace_id"], row["source_id"]): Replaced(
            id=row["observation_id"],
            external_id=row["observation_external_id"],
            cluster=None if row["external_id"] is None else _cluster(row),
        )
        for row in rows(connection, sql, keys=record_set(records))
    }


def integrations_of(
    connection: Connection, resources: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[RowMapping]]:
    """Return the integrations (is_active, source_config) that cover each (workspace id, resource id)."""
    sql = """
    select i.workspace_id, i.provider_resource_id, i.is_active, i.source_config
    from jsonb_to_recordset(cast(:resources as jsonb)) k(workspace_id text, resource_id text)
    join lightfast_workspace_integrations i
      on i.workspace_id = k.workspace_id and i.provider_resource_id = k.resource_id
    """
    records = ({"workspace_id": workspace, "resource_id": resource} for workspace, resource in set(resources))
    covering: dict[tuple[str, str], list[RowMapping]] = defaultdict(list)
    for row in rows(connection, sql, resources=record_set(records)):
        covering[row["workspace_id"], row["provider_resource_id"]].append(row)
    return covering


def settings_of(connection: Connection, workspace_ids: Sequence[str]) -> dict[str, Any]:
    """Return the settings of workspaces as stored, unchecked."""
    sql = "select id, settings from lightfast_org_workspaces where id = any(:ids)"
    return {row["id"]: row["settings"] for row in rows(connection, sql, ids=sorted(set(workspace_ids)))}


def authors_of_commits(
    connection: Connection, commits: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[CommitAuthor]]:
    """Return the GitHub accounts that stored events prove to have acted on each (workspace id, commit sha)."""
    sql = """
    select k.workspace_id, k.sha, o.actor ->> 'id' as id, o.actor ->> 'name' as login,
      case when lower(o.metadata ->> 'headAuthorLogin') = lower(o.actor ->> 'name')
        then o.metadata ->> 'headAuthorName' end as name
    from jsonb_to_recordset(cast(:commits as jsonb)) k(workspace_id text, sha text)
    -- Commit by commit: the planner takes a commit for something common, and would read all observations.
    cross join lateral (
      select * from lightfast_workspace_neural_observations
      where workspace_id = k.workspace_id
        and source_references @> jsonb_build_array(jsonb_build_object('type', 'commit', 'id', k.sha))
      offset 0
    ) o
    where o.source = 'github' and o.actor ->> 'id' ~ '^[0-9]+$'
    order by o.id
    """
    records = record_set({"workspace_id": workspace, "sha": sha} for workspace, sha in sorted(set(commits)))
    authors: dict[tuple[str, str], list[CommitAuthor]] = defaultdict(list)
    for row in rows(connection, sql, commits=records):
        author = CommitAuthor(row["id"], row["login"], (row["name"],) if row["name"] else ())
        authors[row["workspace_id"], row["sha"]].append(author)
    return authors


_CLUSTERS = f"""
select distinct on (c.id) c.workspace_id, c.external_id, {_CLUSTER}
from jsonb_to_recordset(cast(:spans as jsonb)) s(workspace_id text, first_at timestamptz, last_at timestamptz)
-- Span by span: the planner takes them for a hundred long ones, and would read all clusters.
cross join lateral (
  select * from lightfast_workspace_observation_clusters
  where workspace_id = s.workspace_id and status = 'open'
    and last_observation_at >= s.first_at and first_observation_at <= s.last_at
  offset 0
) c
order by c.id
"""  # noqa: S608 - made of constants


def clusters_near(
    connection: Connection, moments: Sequence[tuple[str, datetime]], *, lookback: timedelta
) -> dict[str, list[Cluster]]:
    """Return the open clusters that events at (workspace id, moment) may join, per workspace."""
    spans = record_set(_spans(moments, reach=lookback))
    found: dict[str, list[Cluster]] = defaultdict(list)
    for row in rows(connection, _CLUSTERS, spans=spans):
        found[row["workspace_id"]].append(_cluster(row))
    return found


def _spans(moments: Sequence[tuple[str, datetime]], *, reach: timedelta) -> list[dict[str, str]]:
    """Merge moments that lie near each other, so that one stray date does not fetch all that lies between."""
    spans: list[tuple[str, datetime, datetime]] = []
    for workspace_id, moment in sorted(set(moments)):
        if spans and spans[-1][0] == workspace_id and moment - reach <= spans[-1][2]:
            spans[-1] = (workspace_id, spans[-1][1], moment + reach)
        else:
            spans.append((workspace_id, moment - reach, moment + reach))
    return [
        {"workspace_id": workspace_id, "first_at": first.isoformat(), "last_at": last.isoformat()}
        for workspace_id, first, last in spans
    ]


def _cluster(row: RowMapping) -> Cluster:
    return Cluster(
        external_id=row["external_id"],
        label=row["topic_label"],
        keywords=tuple(row["keywords"] or ()),
        entities=tuple(row["primary_entities"] or ()),
        actors=tuple(row["primary_actors"] or ()),
        count=row["observation_count"],
        first_at=row["first_observation_at"],
        last_at=row["last_observation_at"],
        centroid=np.fromstring((row["centroid"] or "[]")[1:-1], sep=",", dtype=np.float32),
        centroid_model=row["centroid_model"],
    )
