"""A memory of any size, made of words that are as unevenly used as those of a language, and copied in past captures."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, text

from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.store.workspaces import create_workspace

OBSERVATIONS = "lightfast_workspace_neural_observations"
SETTINGS = {"version": 1, "embedding": {"namespaceName": "bench"}}
_BEGINNING = datetime(2025, 1, 1, tzinfo=UTC)
_SYLLABLES = [
    "ba",
    "be",
    "bi",
    "bo",
    "da",
    "de",
    "di",
    "do",
    "ka",
    "ke",
    "ki",
    "ko",
    "la",
    "le",
    "li",
    "lo",
    "ma",
    "me",
    "mi",
    "mo",
    "na",
    "ne",
    "ni",
    "no",
    "ra",
    "re",
    "ri",
    "ro",
    "sa",
    "se",
    "ta",
    "te",
]


@dataclass(frozen=True, slots=True)
class Draft:
    """The texts of one made-up observation and the places of its actor, cluster and entities."""

    title: str
    content: str
    actor: int
    cluster: int
    entities: tuple[int, ...]


def words(count: int) -> list[str]:
    """Return so many different words."""
    base = len(_SYLLABLES)
    return ["".join(_SYLLABLES[n // base**place % base] for place in range(3)) for n in range(count)]


def drafts(count: int, random: np.random.Generator, *, topics: int = 500, actors: int = 200) -> Iterator[Draft]:
    """Yield made-up observations; those of a topic share some of their words."""
    vocabulary = words(8000)
    topic_words = random.integers(200, len(vocabulary), size=(topics, 12))
    for _ in range(count):
        topic = int(random.integers(topics))
        common = np.minimum(random.zipf(1.3, size=int(random.integers(10, 50))), len(vocabulary)) - 1
        special = random.choice(topic_words[topic], size=8)
        drawn = [vocabulary[n] for n in random.permutation(np.concatenate([common, special]))]
        entities = tuple({int(n) for n in random.zipf(1.4, size=3) % 5000})
        yield Draft(" ".join(drawn[:6]), " ".join(drawn[6:]), int(random.zipf(1.4) % actors), topic, entities)


def fill(engine: Engine, workspace_id: str, count: int, *, seed: int = 1, dimension: int = 256) -> list[Draft]:
    """Make a workspace with so many observations, their summary vectors all in the tail."""
    made = list(drafts(count, np.random.default_rng(seed)))
    with engine.begin() as connection:
        create_workspace(connection, workspace_id, organisation="org_bench", name=workspace_id, settings=SETTINGS)
        clusters = _clusters(connection, workspace_id, 1 + max(one.cluster for one in made))
        ids = _observations(connection, workspace_id, made, clusters)
        _entities(connection, workspace_id, made, ids)
        _vectors(connection, workspace_id, made, ids, HashingEmbedder(dimension))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    return made


def _copy(connection: Connection, table: str, columns: str, records: Iterable[Sequence[Any]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(records)
    buffer.seek(0)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.copy_expert(f"copy {table} ({columns}) from stdin with (format csv)", buffer)


def _ids(connection: Connection, sql: str, workspace_id: str) -> list[int]:
    return list(connection.execute(text(sql), {"workspace_id": workspace_id}).scalars())


def _clusters(connection: Connection, workspace_id: str, count: int) -> list[int]:
    records = ((workspace_id, f"Topic {n}") for n in range(count))
    _copy(connection, "lightfast_workspace_observation_clusters", "workspace_id, topic_label", records)
    sql = "select id from lightfast_workspace_observation_clusters where workspace_id = :workspace_id order by id"
    return _ids(connection, sql, workspace_id)


def _observations(
    connection: Connection, workspace_id: str, made: Sequence[Draft], clusters: Sequence[int]
) -> list[int]:
    columns = """workspace_id, cluster_id, occurred_at, actor, observation_type, title, content, source, source_type,
      source_id, canonical_actor_id"""
    records = (
        (
            workspace_id,
            clusters[one.cluster],
            _BEGINNING + timedelta(minutes=place),
            json.dumps({"id": str(one.actor), "name": f"person{one.actor}"}),
            "push",
            one.title,
            one.content,
            "github",
            "push",
            f"{workspace_id}:{place}",
            f"github:{one.actor}",
        )
        for place, one in enumerate(made)
    )
    _copy(connection, OBSERVATIONS, columns, records)
    return _ids(
        connection, f"select id from {OBSERVATIONS} where workspace_id = :workspace_id order by id", workspace_id
    )


def _entities(connection: Connection, workspace_id: str, made: Sequence[Draft], ids: Sequence[int]) -> None:
    numbers = sorted({number for one in made for number in one.entities})
    records = ((workspace_id, "engineer", f"@entity{number}") for number in numbers)
    _copy(connection, "lightfast_workspace_neural_entities", "workspace_id, category, key", records)
    sql = "select id from lightfast_workspace_neural_entities where workspace_id = :workspace_id order by id"
    by_number = dict(zip(numbers, _ids(connection, sql, workspace_id), strict=True))
    links = (
        (id_, by_number[number], 0.9, "rules") for id_, one in zip(ids, made, strict=True) for number in one.entities
    )
    _copy(connection, "observation_entities", "observation_id, entity_id, confidence, extracted_by", links)
    sql = """
    update lightfast_workspace_neural_entities e set occurrence_count = l.count
    from (select entity_id, count(*) from observation_entities group by 1) l
    where l.entity_id = e.id and e.workspace_id = :workspace_id
    """
    connection.execute(text(sql), {"workspace_id": workspace_id})


def _vectors(
    connection: Connection, workspace_id: str, made: Sequence[Draft], ids: Sequence[int], embedder: HashingEmbedder
) -> None:
    vectors = embedder.embed([f"{one.title}\n\n{one.content}" for one in made])
    records = (
        (id_, "summary", workspace_id, embedder.name, "[" + ",".join(map(str, vector.tolist())) + "]")
        for id_, vector in zip(ids, vectors, strict=True)
    )
    _copy(connection, "observation_vectors", "observation_id, view, workspace_id, model, embedding", records)
