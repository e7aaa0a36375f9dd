"""Writing the clusters that a chunk of observations began or joined."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.memory import NewObservation, stays_in_its_cluster
from neural_pipeline.store.sql import record_set, rows, vector_text

_KEEP = """
insert into lightfast_workspace_observation_clusters as clusters (external_id, workspace_id, topic_label,
  topic_embedding_id, keywords, primary_entities, primary_actors, observation_count, first_observation_at,
  last_observation_at, centroid, centroid_model)
select external_id, workspace_id, topic_label, 'cluster_' || external_id, keywords, primary_entities, primary_actors,
  observation_count, first_at, last_at, nullif(centroid, '[]')::vector, centroid_model
from jsonb_to_recordset(cast(:clusters as jsonb)) as r(position integer, external_id text, workspace_id text,
  topic_label text, keywords jsonb, primary_entities jsonb, primary_actors jsonb, observation_count integer,
  first_at timestamptz, last_at timestamptz, centroid text, centroid_model text)
-- Those that exist in key order, as whoever summarises them holds them: else the two could wait for each other.
order by (select c.id from lightfast_workspace_observation_clusters c where c.external_id = r.external_id) nulls last,
  position
on conflict (external_id) do update
set topic_label = excluded.topic_label, keywords = excluded.keywords, primary_entities = excluded.primary_entities,
  primary_actors = excluded.primary_actors, observation_count = excluded.observation_count,
  first_observation_at = excluded.first_observation_at, last_observation_at = excluded.last_observation_at,
  centroid = case when clusters.centroid_model is distinct from excluded.centroid_model
    then clusters.centroid else excluded.centroid end, updated_at = clock_timestamp()
returning id, external_id
"""
"""Whoever moves a workspace to another embedder makes the centroids anew, and says by which model: what a capture had
read before is of the old model then, and does not undo that. A capture itself never changes the model of a cluster.
"""


def keep_clusters(connection: Connection, observations: Sequence[NewObservation]) -> dict[str, int]:
    """Store the last state of every cluster the observations began or joined; return ids by external id.

    A cluster in which one observation only takes the place of another is left as it is.
    """
    last = {one.cluster.external_id: one for one in observations if not stays_in_its_cluster(one)}
    records = record_set(_record(one, position) for position, one in enumerate(last.values()))
    ids = {row["external_id"]: row["id"] for row in rows(connection, _KEEP, clusters=records)} if last else {}
    untouched = sorted({one.cluster.external_id for one in observations} - ids.keys())
    return ids | _ids(connection, untouched) if untouched else ids


def _ids(connection: Connection, external_ids: Sequence[str]) -> dict[str, int]:
    sql = "select external_id, id from lightfast_workspace_observation_clusters where external_id = any(:external_ids)"
    return {row["external_id"]: row["id"] for row in rows(connection, sql, external_ids=list(external_ids))}


def _record(one: NewObservation, position: int) -> dict[str, Any]:
    cluster = one.cluster
    return {
        "position": position,
        "external_id": cluster.external_id,
        "workspace_id": one.workspace_id,
        "topic_label": cluster.label,
        "keywords": cluster.keywords,
        "primary_entities": cluster.entities,
        "primary_actors": cluster.actors,
        "observation_count": cluster.count,
        "first_at": cluster.first_at.isoformat(),
        "last_at": cluster.last_at.isoformat(),
        "centroid": vector_text(cluster.centroid),
        "centroid_model": cluster.centroid_model,
    }
