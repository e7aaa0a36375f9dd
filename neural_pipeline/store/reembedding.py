"""Moving a workspace to another embedder: its choice, what is left to embed anew, its vectors and centroids.

What is left is told by the rows themselves: those of another model. So whatever it is broken off at, it goes on there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.memory import ObservedText
from neural_pipeline.store.sql import record_set, rows, run, scalar
from neural_pipeline.store.vectors import Embedded, hold_vectors, write_vectors


@dataclass(frozen=True, slots=True)
class Left:
    """What is not of the wanted model yet."""

    observations: int
    clusters: int


def choose(connection: Connection, workspace_id: str, *, embedding: dict[str, Any]) -> bool:
    """Put an embedder into a workspace's settings, whose other keys stay; return whether that changed them."""
    sql = """
    update lightfast_org_workspaces
    set settings = jsonb_set(settings, '{embedding}', (settings -> 'embedding') || cast(:embedding as jsonb)),
      updated_at = clock_timestamp()
    where id = :workspace_id and not settings -> 'embedding' @> cast(:embedding as jsonb)
    """
    return run(connection, sql, workspace_id=workspace_id, embedding=record_set([embedding])[1:-1]) == 1


_OTHERS = " union all ".join(
    f"(select observation_id from {table} "  # noqa: S608 - made of constants
    f"where workspace_id = :workspace_id and view = 'summary' and model {sign} :model limit :limit)"
    for table in ("observation_vectors", "indexed_vectors")
    for sign in "<>"
)
"""The three vectors of an observation are written together: the summary's model is that of all. Two ranges of an index,
where "not equal" would read the whole workspace."""


def texts_left(connection: Connection, workspace_id: str, *, model: str, limit: int) -> list[ObservedText]:
    """Return observations whose vectors are of another model, at most `limit`."""
    sql = f"""
    select o.id, o.title, o.content from ({_OTHERS}) v
    join lightfast_workspace_neural_observations o on o.id = v.observation_id order by o.id limit :limit
    """  # noqa: S608 - made of constants
    found = rows(connection, sql, workspace_id=workspace_id, model=model, limit=limit)
    return [ObservedText(row["id"], row["title"], row["content"]) for row in found]


_CLUSTERS_LEFT = """
from lightfast_workspace_observation_clusters c
where c.workspace_id = :workspace_id and c.centroid_model is distinct from :model and exists (
  select from lightfast_workspace_neural_observations o
  join observation_vectors v on v.observation_id = o.id and v.view = 'content'
  where o.cluster_id = c.id{of_model}
)
"""


def left(connection: Connection, workspace_id: str, *, model: str) -> Left:
    """Count what is not of a model yet; clusters of which nothing is left are not counted."""
    parameters = {"workspace_id": workspace_id, "model": model}
    observations = scalar(connection, f"select count(*) from ({_OTHERS}) v", **parameters, limit=None)  # noqa: S608 - made of constants
    clusters = scalar(connection, "select count(*) " + _CLUSTERS_LEFT.format(of_model=""), **parameters)
    return Left(observations, clusters)


def replace_vectors(connection: Connection, workspace_id: str, embedded: Sequence[Embedded]) -> int:
    """Put new vectors in the place of the old ones, wherever those are; return of how many observations.

    What a capture has replaced meanwhile is left out.
    """
    hold_vectors(connection, workspace_id)
    sql = "select id from lightfast_workspace_neural_observations where id = any(:ids) order by id for key share"
    ids = [row["id"] for row in rows(connection, sql, ids=[one.observation_id for one in embedded])]
    run(connection, "delete from observation_vectors where observation_id = any(:ids)", ids=ids)
    run(connection, "delete from indexed_vectors where observation_id = any(:ids)", ids=ids)
    there = set(ids)
    write_vectors(connection, (one for one in embedded if one.observation_id in there))
    return len(ids)


_RENEW = f"""
with chosen as materialized (
  select c.id {_CLUSTERS_LEFT.format(of_model=" and v.model = :model")} order by c.id limit :limit for no key update
), means as (
  select o.cluster_id, avg(v.embedding) as centroid from chosen
  join lightfast_workspace_neural_observations o on o.cluster_id = chosen.id
  join observation_vectors v on v.observation_id = o.id and v.view = 'content' and v.model = :model
  group by o.cluster_id
)
update lightfast_workspace_observation_clusters c
set centroid = m.centroid, centroid_model = :model, updated_at = clock_timestamp()
from means m where c.id = m.cluster_id
"""  # noqa: S608 - made of constants


def renew_centroids(connection: Connection, workspace_id: str, *, model: str, limit: int) -> int:
    """Make the centroids of at most `limit` clusters anew from content vectors of a model; return how many."""
    return run(connection, _RENEW, workspace_id=workspace_id, model=model, limit=limit)


def captures_begun_before(connection: Connection, workspace_id: str) -> int:
    """Count the capture runs that are under way in a workspace since before its settings were last changed."""
    sql = """
    select count(*) from batch_workspaces h
    join event_batches b on b.id = h.batch_id
    join lightfast_org_workspaces w on w.id = h.workspace_id
    where h.workspace_id = :workspace_id and h.function_id = 'neural.observation.capture' and h.closed_at is null
      and b.state = 'running' and b.taken_at <= w.updated_at
    """
    return scalar(connection, sql, workspace_id=workspace_id)
