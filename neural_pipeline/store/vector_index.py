"""The indexed part of the vectors: moving the tail into it, and its indexes for approximate search, one per model.

Indexes are of half precision, which halves them and takes models of up to 4,000 dimensions; search puts what they find
into exact order. Those of a model are partial, as vectors of two models cannot be compared.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from sqlalchemy import Connection

from neural_pipeline.store.sql import rows, run, scalar
from neural_pipeline.store.vectors import hold_vectors

_LONGEST_INDEXED = 4_000
"""Dimensions that an HNSW index of half precision takes."""

_OLDEST_PGVECTOR = (0, 8)
"""The first whose index scans go on where a filter leaves too few."""

_GRAPH_BYTES = 1_000
"""What a vector takes beside its numbers while an index is made: beyond the memory it is given, that crawls."""

_PREFIX = "indexed_vector_ann_"

INDEXED = "model = :model and view = 'summary' and vector_dims(embedding) = :dimension"
"""The rows of a model's index: a query that is to use it says the same. The driver puts parameters in as literals.

A vector of another length would make the index, and every insert into it, fail.
"""

State = Literal["missing", "invalid", "valid"]


@dataclass(frozen=True, slots=True)
class Model:
    """What made the vectors of an index, and how long they are."""

    name: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Tail:
    """How many searched vectors of a model in a workspace wait outside the indexed part."""

    workspace_id: str
    model: str
    vectors: int


def tails(connection: Connection) -> list[Tail]:
    """Return what waits in the tail, per workspace and model."""
    sql = """
    select workspace_id, model, count(*) as vectors from observation_vectors where view = 'summary'
    group by workspace_id, model order by workspace_id, model
    """
    return [Tail(**row) for row in rows(connection, sql)]


_MOVE = """
with chosen as materialized (
  select v.observation_id from observation_vectors v
  join lightfast_workspace_neural_observations o on o.id = v.observation_id
  where v.view = 'summary' and v.workspace_id = :workspace_id and v.model = :model
  limit :limit for key share of o skip locked
), moved as (
  delete from observation_vectors v using chosen c
  where v.observation_id = c.observation_id and v.view = 'summary'
  returning v.observation_id, v.view, v.workspace_id, v.model, v.embedding
)
insert into indexed_vectors (observation_id, view, workspace_id, model, embedding)
select observation_id, view, workspace_id, model, embedding from moved order by observation_id
"""


def move(connection: Connection, tail: Tail, *, limit: int) -> int:
    """Move at most so many vectors of a tail into the indexed part; return how many that were.

    Those of an observation that a capture is about to replace are left where they are: nobody waits, but for another
    mover. The observation is locked before its vectors, as the one who replaces it locks them in that order too.
    """
    hold_vectors(connection, tail.workspace_id)
    return run(connection, _MOVE, workspace_id=tail.workspace_id, model=tail.model, limit=limit)


def indexed_models(connection: Connection) -> list[Model]:
    """Return the models that the indexed part holds vectors of; a model has one length."""
    sql = """
    select m.model as name, vector_dims(v.embedding) as dimension
    from (select distinct model from indexed_vectors where view = 'summary') m
    cross join lateral (select embedding from indexed_vectors where model = m.model and view = 'summary' limit 1) v
    order by 1
    """
    return [Model(**row) for row in rows(connection, sql)]


def can_index(connection: Connection) -> bool:
    """Tell whether the server's pgvector is one whose indexes serve."""
    version = str(scalar(connection, "select extversion from pg_extension where extname = 'vector'") or "0")
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= _OLDEST_PGVECTOR


def is_indexable(model: Model) -> bool:
    """Tell whether vectors of a model are short enough for an index; longer ones are compared one by one."""
    return model.dimension <= _LONGEST_INDEXED


def index_name(model: Model) -> str:
    """Return the name of a model's index: readable as far as a name can be, and no other model's."""
    readable = re.sub(r"[^a-z0-9]+", "_", model.name.lower()).strip("_")[:28]
    return f"{_PREFIX}{readable}_{sha256(repr((model.name, model.dimension)).encode()).hexdigest()[:10]}"


def half_vectors(dimension: int) -> str:
    """Return the indexed expression: a query that is to use the index orders by the distance of the same."""
    return f"embedding::halfvec({int(dimension)})"


def index_state(connection: Connection, model: Model) -> State:
    """Tell whether a model's index is there and whole: one whose making was killed stays behind as invalid."""
    sql = "select i.indisvalid from pg_index i where i.indexrelid = to_regclass(:name)"
    match scalar(connection, sql, name=index_name(model)):
        case None:
            return "missing"
        case is_valid:
            return "valid" if is_valid else "invalid"


def create_index(connection: Connection, model: Model) -> None:
    """Make a model's index without keeping anybody from reading or writing; needs a connection in autocommit."""
    number = scalar(
        connection, "select count(*) from indexed_vectors where view = 'summary' and model = :m", m=model.name
    )
    megabytes = min(max(64, number * (2 * model.dimension + _GRAPH_BYTES) // 1_000_000), 1024)
    run(connection, f"set maintenance_work_mem = '{megabytes}MB'")
    # A parallel build takes its memory from /dev/shm, which is 64 MB in many a container.
    run(connection, "set max_parallel_maintenance_workers = 0")
    sql = f"""
    create index concurrently {index_name(model)} on indexed_vectors
    using hnsw (({half_vectors(model.dimension)}) halfvec_cosine_ops) where {INDEXED}
    """
    run(connection, sql, model=model.name, dimension=model.dimension)


def drop_index(connection: Connection, name: str) -> None:
    """Remove an index without keeping anybody from reading or writing; needs a connection in autocommit."""
    run(connection, f"drop index concurrently if exists {name}")


def stray_indexes(connection: Connection, models: Sequence[Model]) -> list[str]:
    """Return the names of the indexes whose models have no vectors any more."""
    sql = """
    select indexname from pg_indexes
    where schemaname = current_schema() and tablename = 'indexed_vectors' and starts_with(indexname, :prefix)
      and indexname <> all(:kept)
    """
    return [row["indexname"] for row in rows(connection, sql, prefix=_PREFIX, kept=[index_name(one) for one in models])]


def renew_statistics(connection: Connection) -> None:
    """Let the planner know how full the indexed part is."""
    run(connection, "analyze indexed_vectors (workspace_id, model, view)")
