"""Reads over the whole record for people: runs by state, what is still to do, one observation in full."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store.sql import rows, scalar


def runs_by_state(connection: Connection) -> Sequence[RowMapping]:
    """Return the number of workflow runs per function, status and result (with its reason)."""
    sql = """
    select inngest_function_id as function, status, count(*) as runs,
      concat_ws(' / ', output ->> 'status', output ->> 'reason') as result
    from lightfast_workspace_workflow_runs group by 1, 2, 4 order by 1, 2, 4
    """
    return rows(connection, sql)


def done_and_total(connection: Connection) -> tuple[int, int]:
    """Return how many runs have ended, and how many there are."""
    sql = """
    select count(*) filter (where status not in ('queued', 'running')) as done, count(*) as total
    from lightfast_workspace_workflow_runs
    """
    [row] = rows(connection, sql)
    return row["done"], row["total"]


def busiest_actors(connection: Connection, *, workspace_id: str, limit: int) -> Sequence[RowMapping]:
    """Return the profiles with the most observations, the latest activity first among equals."""
    sql = """
    select display_name, actor_id, observation_count as observations, last_active_at
    from lightfast_workspace_actor_profiles
    where workspace_id = :workspace_id and merged_into is null
    order by observation_count desc, last_active_at desc, id limit :limit
    """
    return rows(connection, sql, workspace_id=workspace_id, limit=limit)


def summarised_clusters(connection: Connection, *, workspace_id: str, limit: int) -> Sequence[RowMapping]:
    """Return the largest clusters that have a summary."""
    sql = """
    select topic_label as cluster, observation_count as observations, activity, summary, summarized_by
    from lightfast_workspace_observation_clusters
    where workspace_id = :workspace_id and summary is not null
    order by observation_count desc, id limit :limit
    """
    return rows(connection, sql, workspace_id=workspace_id, limit=limit)


def model_read_entities(connection: Connection, *, workspace_id: str, limit: int) -> Sequence[RowMapping]:
    """Return the entities that a model, or the rules in its place, read out of most observations."""
    sql = """
    select e.category, e.key, count(*) as observations, min(l.extracted_by) as read_by
    from lightfast_workspace_neural_entities e
    join observation_entities l on l.entity_id = e.id
    where e.workspace_id = :workspace_id and l.extracted_by <> 'rules'
    group by e.id order by count(*) desc, e.id limit :limit
    """
    return rows(connection, sql, workspace_id=workspace_id, limit=limit)


def unexplained(connection: Connection) -> int:
    """Return how many rows the records of this database have against each other; 0 is right."""
    return int(scalar(connection, "select sum(unexplained) from event_accounting"))


def telling_observation(connection: Connection, *, workspace_id: str) -> dict[str, Any] | None:
    """Return the most significant observation that joined a cluster: its row, cluster, entities and vectors."""
    sql = """
    select o.external_id, o.observation_type, o.title, o.occurred_at, o.significance_score, o.significance_factors,
      o.primary_category, o.secondary_categories, o.topics, o.actor, o.canonical_actor_id, o.actor_method,
      o.source_references,
      jsonb_build_object('id', c.id, 'label', c.topic_label, 'observations', c.observation_count) as cluster,
      (select jsonb_agg(e.category || ':' || e.key order by j.confidence desc, e.id)
       from observation_entities j join lightfast_workspace_neural_entities e on e.id = j.entity_id
       where j.observation_id = o.id) as entities,
      (select jsonb_agg(v.view || ', ' || v.model || ', ' || vector_dims(v.embedding) || ' numbers' order by v.view)
       from (select * from observation_vectors union all select * from indexed_vectors) v
       where v.observation_id = o.id) as vectors,
      o.content
    from lightfast_workspace_neural_observations o
    join lightfast_workspace_observation_clusters c on c.id = o.cluster_id
    where o.workspace_id = :workspace_id
    order by least(c.observation_count, 2) desc, o.significance_score desc, o.id limit 1
    """
    found = rows(connection, sql, workspace_id=workspace_id)
    return dict(found[0]) if found else None
