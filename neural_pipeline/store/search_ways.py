"""The ways in which search finds observations: nearness of text, entities named exactly, actors. Each gives a ranking.

None reads a table from end to end: an EXPLAIN test holds them to that. What becomes of the rankings: `store.search`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from neural_pipeline.contracts.events import Source
from neural_pipeline.contracts.memory import Vector
from neural_pipeline.store import vector_index
from neural_pipeline.store.sql import rows, scalar, vector_text
from neural_pipeline.store.vector_index import Model

COMPARED_ONE_BY_ONE = 5_000_000
"""Numbers (vectors times dimensions) up to which all of a workspace's vectors are compared, which takes about 15 ms:
an index gives most of the nearest, not all, and fewer where most of it is other workspaces'."""

_CANDIDATES = 200
"""How many an index keeps in view: so it gives 97 in 100 of the ten nearest of 98,000 real texts (docs/search.md)."""

MIN_SIMILARITY = 0.1
"""Cosine below which texts do not count as near: that of unrelated texts in the offline embedder scatters about 0."""

FREQUENT = 1_000
"""Observations of an entity from which the newest are found by walking back in time, not by looking at them all."""

MAX_ENTITIES = 20
MAX_ACTORS = 20


@dataclass(frozen=True, slots=True)
class Near:
    """An observation whose text is near, and the cosine similarity."""

    observation_id: int
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """Whose memory is searched, and how long the rankings are."""

    workspace_id: str
    depth: int


_TAIL = """
select observation_id, false as is_indexed, embedding <=> cast(:vector as vector) as distance
from observation_vectors
where workspace_id = :workspace_id and model = :model and view = 'summary' and vector_dims(embedding) = :dimension
"""
_EXACT = f"""
select observation_id, is_indexed, distance from (
  {_TAIL}
  union all
  select observation_id, true, embedding <=> cast(:vector as vector)
  from indexed_vectors where workspace_id = :workspace_id and {vector_index.INDEXED}
) v
order by distance, observation_id limit :limit
"""  # noqa: S608 - made of constants
_APPROXIMATE = f"""
with nearest as materialized (
  select observation_id, embedding from indexed_vectors
  where workspace_id = :workspace_id and {vector_index.INDEXED}
  order by %(half_vectors)s <=> cast(:vector as halfvec(%(dimension)d)) limit :limit
)
select observation_id, is_indexed, distance from (
  (select * from ({_TAIL}) tail order by distance limit :limit)
  union all
  select observation_id, true, embedding <=> cast(:vector as vector) from nearest
) v
order by distance, observation_id
"""  # noqa: S608 - made of constants


def near_texts(connection: Connection, vector: Vector, *, model: str, scope: Scope) -> list[Near]:
    """Return the observations whose summary is nearest: exact over the tail, approximate over the indexed part.

    The indexed part too is compared vector by vector where the workspace has few there, where it has no whole index,
    or where the index gives fewer than there are. Changes settings of the transaction.
    """
    made_by = Model(model, len(vector))
    parameters = {"vector": vector_text(vector), "model": model, "dimension": len(vector), "limit": scope.depth}
    found = None
    if _is_approximate(connection, made_by, scope.workspace_id):
        _go_on_scanning(connection)
        sql = approximate_sql(made_by)
        found = rows(connection, sql, workspace_id=scope.workspace_id, **parameters)
        if sum(row["is_indexed"] for row in found) < scope.depth:
            found = None
    if found is None:
        found = rows(connection, _EXACT, workspace_id=scope.workspace_id, **parameters)
    near = (Near(row["observation_id"], 1.0 - row["distance"]) for row in found[: scope.depth])
    return [one for one in near if one.similarity >= MIN_SIMILARITY]


def approximate_sql(model: Model) -> str:
    """Return the statement that asks a model's index."""
    parts = {"half_vectors": vector_index.half_vectors(model.dimension), "dimension": model.dimension}
    return _APPROXIMATE % parts


def _is_approximate(connection: Connection, model: Model, workspace_id: str) -> bool:
    sql = """
    select count(*) from (
      select from indexed_vectors where workspace_id = :workspace_id and model = :model and view = 'summary' limit :most
    ) v
    """
    most = COMPARED_ONE_BY_ONE // model.dimension + 1
    has_many = scalar(connection, sql, workspace_id=workspace_id, model=model.name, most=most) == most
    return has_many and vector_index.index_state(connection, model) == "valid"


def _go_on_scanning(connection: Connection) -> None:
    """Have a scan of the index look at more candidates than are wanted, and go on where others' vectors intervene."""
    sql = """
    select set_config('hnsw.ef_search', :candidates, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)
    """
    rows(connection, sql, candidates=str(_CANDIDATES))


def other_models(connection: Connection, workspace_id: str, model: str) -> int:
    """Return how many observations of a workspace are embedded by another model than its own."""
    # Two ranges of an index, where "not equal" would read the whole workspace.
    sql = " union all ".join(
        f"select count(*) as n from {table} "  # noqa: S608 - made of constants
        f"where workspace_id = :workspace_id and view = 'summary' and model {sign} :model"
        for table in ("observation_vectors", "indexed_vectors")
        for sign in "<>"
    )
    return sum(row["n"] for row in rows(connection, sql, workspace_id=workspace_id, model=model))


@dataclass(frozen=True, slots=True)
class NamedEntity:
    """An entity whose key the query names, and the newest observations that speak of it."""

    category: str
    key: str
    observation_ids: tuple[int, ...]


_LOWERED = "any(array(select lower(name) from unnest(cast(:names as text[])) name))"
_ENTITIES = f"""
select id, category, key, occurrence_count > :frequent as is_frequent from lightfast_workspace_neural_entities
where workspace_id = :workspace_id and lower(key) = {_LOWERED}
order by occurrence_count, id limit :most
"""  # noqa: S608 - made of constants
_NEWEST_OF_ALL = """
select e.id as entity_id, o.id from unnest(cast(:ids as bigint[])) e (id) cross join lateral (
  select o.id, o.occurred_at from observation_entities l
  join lightfast_workspace_neural_observations o on o.id = l.observation_id
  where l.entity_id = e.id and o.workspace_id = :workspace_id
  order by o.occurred_at desc, o.id desc limit :limit
) o order by o.occurred_at desc, o.id desc
"""
_NEWEST_GOING_BACK = """
select e.id as entity_id, o.id from unnest(cast(:ids as bigint[])) e (id) cross join lateral (
  select o.id, o.occurred_at from lightfast_workspace_neural_observations o
  where o.workspace_id = :workspace_id and exists (
    select from observation_entities l where l.observation_id = o.id and l.entity_id = e.id offset 0
  )
  order by o.occurred_at desc, o.id desc limit :limit
) o order by o.occurred_at desc, o.id desc
"""


def named_entities(connection: Connection, names: Sequence[str], *, scope: Scope) -> list[NamedEntity]:
    """Return the entities whose key is one of the names in any case, the rarest first, with their observations."""
    parameters = {"workspace_id": scope.workspace_id, "names": list(names), "frequent": FREQUENT, "most": MAX_ENTITIES}
    entities = rows(connection, _ENTITIES, **parameters)
    observations: dict[int, list[int]] = {entity["id"]: [] for entity in entities}
    for is_frequent, sql in ((False, _NEWEST_OF_ALL), (True, _NEWEST_GOING_BACK)):
        ids = [entity["id"] for entity in entities if entity["is_frequent"] is is_frequent]
        found = rows(connection, sql, ids=ids, workspace_id=scope.workspace_id, limit=scope.depth) if ids else ()
        for row in found:
            observations[row["entity_id"]].append(row["id"])
    return [NamedEntity(one["category"], one["key"], tuple(observations[one["id"]])) for one in entities]


_ACTORS = f"""
with people as (
  select i.canonical_actor_id as id from lightfast_org_workspaces w
  join lightfast_org_actor_identities i on i.clerk_org_id = w.clerk_org_id
  where w.id = :workspace_id and lower(i.source_username) = {_LOWERED}
  union
  select unnest(array[actor_id, merged_into]) from lightfast_workspace_actor_profiles
  where workspace_id = :workspace_id and lower(display_name) = {_LOWERED}
  union
  select unnest(cast(:canonical_ids as text[]))
), acted as (
  (select o.* from (select distinct id from people where id is not null) p cross join lateral (
    select o.id, o.occurred_at from lightfast_workspace_neural_observations o
    where o.workspace_id = :workspace_id and o.canonical_actor_id = p.id
    order by o.occurred_at desc limit :limit
  ) o)
  union
  (select o.* from unnest(cast(:names as text[])) n (name) cross join lateral (
    select o.id, o.occurred_at from lightfast_workspace_neural_observations o
    where o.workspace_id = :workspace_id and lower(o.actor ->> 'name') = lower(n.name)
    order by o.occurred_at desc limit :limit
  ) o)
)
select id from acted order by occurred_at desc, id desc limit :limit
"""  # noqa: S608 - made of constants


def named_actors(connection: Connection, names: Sequence[str], *, scope: Scope) -> list[int]:
    """Return the newest observations of whoever has one of the names: login, display name, id with or without source.

    A name with @ or # in front is given without, too.
    """
    bare = [name for name in names if name[:1] not in "@#"]
    canonical = {f"{source}:{name}" for source in Source for name in bare} | set(bare)
    found = rows(
        connection,
        _ACTORS,
        workspace_id=scope.workspace_id,
        names=bare,
        canonical_ids=sorted(canonical),
        limit=scope.depth,
    )
    return [row["id"] for row in found]
