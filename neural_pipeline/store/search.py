"""Searching a workspace's memory: three ways of finding, merged by the ranks they give. The ways: `search_ways`."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Literal

from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.memory import Vector
from neural_pipeline.store.search_ways import Scope, named_actors, named_entities, near_texts
from neural_pipeline.store.sql import rows

DAMPING = 60
"""The constant k of reciprocal rank fusion, as its authors found it to work."""

_SHORTEST_RANKING = 50
_MAX_WORDS = 32
_LONGEST_NAME = 3
"""Words of a name: `GET /users`, `Ada King Lovelace`."""

_EDGES = " \t\r\n.,;:!?()[]{}<>\"'`"
_SNIPPET = 160
_LOOKED_THROUGH = 2_000


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A query as the workspace's own model sees it."""

    model: str
    vector: Vector


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was found: `detail` is the similarity, the entity's category and key, or nothing."""

    way: Literal["vector", "entity", "actor"]
    detail: str | float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """An observation that was found; `id` is its external id, `score` serves only to compare hits of one search."""

    id: str
    occurred_at: datetime
    source: str
    type: str
    title: str
    snippet: str
    actor: str | None
    cluster: str | None
    score: float
    why: tuple[Reason, ...]


_Ranking = list[tuple[int, Reason]]
"""What one way has found, best first: ids of observations, each with the reason."""


def search(
    connection: Connection, text: str, *, workspace_id: str, embedding: Embedding | None, limit: int
) -> list[Hit]:
    """Return the observations of a workspace that a text asks for, best first; without an embedding by names only.

    The rankings are merged by reciprocal rank fusion: a hit's score is the sum of 1 / (60 + rank) over the rankings it
    is in (Cormack, Clarke, Buettcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods, SIGIR 2009). Every entity that is named gives a ranking of its own. Changes settings of the transaction.
    """
    scope = Scope(workspace_id, depth=max(_SHORTEST_RANKING, 2 * limit))
    scores: dict[int, float] = defaultdict(float)
    reasons: dict[int, list[Reason]] = defaultdict(list)
    for ranking in _rankings(connection, text, embedding, scope):
        for rank, (observation_id, reason) in enumerate(ranking, start=1):
            scores[observation_id] += 1.0 / (DAMPING + rank)
            reasons[observation_id].append(reason)
    best = sorted(scores, key=lambda id_: (-scores[id_], -id_))[:limit]
    details = _details(connection, best)
    words = [name for name in names_in(text) if " " not in name]
    return [_hit(details[id_], scores[id_], reasons[id_], words) for id_ in best if id_ in details]


def _rankings(connection: Connection, text: str, embedding: Embedding | None, scope: Scope) -> Iterator[_Ranking]:
    if embedding is not None:
        near = near_texts(connection, embedding.vector, model=embedding.model, scope=scope)
        yield [(one.observation_id, Reason("vector", round(one.similarity, 3))) for one in near]
    names = names_in(text)
    for entity in named_entities(connection, names, scope=scope):
        reason = Reason("entity", f"{entity.category}:{entity.key}")
        yield [(id_, reason) for id_ in entity.observation_ids]
    yield [(id_, Reason("actor")) for id_ in named_actors(connection, names, scope=scope)]


def names_in(text: str) -> list[str]:
    """Return what a text may name: its words, two and three in a row, each bare, with @ and with #; as typed."""
    words = text.split()[:_MAX_WORDS]
    spans = (
        " ".join(words[start : start + length])
        for length in range(1, _LONGEST_NAME + 1)
        for start in range(len(words) - length + 1)
    )
    bare = (name for span in spans for name in (span.strip(_EDGES).lstrip("@#"), span) if name)
    return list(dict.fromkeys(chain.from_iterable((name, f"@{name}", f"#{name}") for name in bare)))


_DETAILS = """
select o.id, o.external_id, o.occurred_at, o.source, o.observation_type, o.title,
  left(o.content, :characters) as content, coalesce(o.actor ->> 'name', o.canonical_actor_id) as actor,
  c.topic_label as cluster
from lightfast_workspace_neural_observations o
left join lightfast_workspace_observation_clusters c on c.id = o.cluster_id
where o.id = any(:ids)
"""


def _details(connection: Connection, ids: Sequence[int]) -> dict[int, RowMapping]:
    return {row["id"]: row for row in rows(connection, _DETAILS, ids=list(ids), characters=_LOOKED_THROUGH)}


def _hit(row: RowMapping, score: float, reasons: Sequence[Reason], words: Sequence[str]) -> Hit:
    return Hit(
        id=row["external_id"],
        occurred_at=row["occurred_at"],
        source=row["source"],
        type=row["observation_type"],
        title=row["title"],
        snippet=snippet(row["content"], words),
        actor=row["actor"],
        cluster=row["cluster"],
        score=round(score, 5),
        why=tuple(dict.fromkeys(reasons)),
    )


def snippet(content: str, words: Sequence[str]) -> str:
    """Return the beginning of a text on one line, or, where it stands further back, what is about the longest word."""
    flat = " ".join(content.split())
    lowered = flat.lower()
    found = (lowered.find(word.lower()) for word in sorted(words, key=len, reverse=True))
    place = next((place for place in found if place >= 0), 0)
    start = 0 if place < _SNIPPET // 2 else place - _SNIPPET // 4
    end = start + _SNIPPET
    return ("..." if start else "") + flat[start:end] + ("..." if end < len(flat) else "")
