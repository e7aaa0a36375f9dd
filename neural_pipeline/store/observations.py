"""Writing captured observations with all that belongs to them, set-wise: a fixed number of statements per chunk.

Rows go in key order wherever another batch could touch the same ones, so that two batches cannot deadlock.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.memory import Handover, NewObservation
from neural_pipeline.store import vectors
from neural_pipeline.store.clusters import keep_clusters
from neural_pipeline.store.entities import keep_entities
from neural_pipeline.store.identities import Identity, adopt_commit_authors, keep_identities
from neural_pipeline.store.replacement import reassign_entities, remove_replaced
from neural_pipeline.store.sql import record_set, rows, storable


@dataclass(slots=True)
class Kept:
    """What storing observations came to: cluster ids by external id, and observations that are another actor's now."""

    cluster_ids: dict[str, int] = field(default_factory=dict[str, int])
    handovers: list[Handover] = field(default_factory=list[Handover])


MAX_NOTE = 255
"""The width of the column classification_note."""


def keep_observations(connection: Connection, observations: Sequence[NewObservation]) -> Kept:
    """Store observations with vectors, entities, actors and clusters.

    Raises IntegrityError where an observation of the same workspace and source id exists that is not to be replaced.
    """
    kept = Kept()
    actor_ids = keep_identities(connection, [actor for one in observations if (actor := _identity(one))])
    for part in _parts(observations):
        _keep(connection, part, kept, actor_ids=actor_ids)
    return kept


def _parts(observations: Sequence[NewObservation]) -> Iterator[Sequence[NewObservation]]:
    """Yield what can be stored at once: a replacement stands alone, as what others leave of its entities is its end."""
    for replaces, group in groupby(observations, lambda one: one.replaces is not None):
        part = list(group)
        yield from ([one] for one in part) if replaces else [part]


def _keep(
    connection: Connection,
    observations: Sequence[NewObservation],
    kept: Kept,
    *,
    actor_ids: Mapping[tuple[str, str], int],
) -> None:
    removals = [(one, remove_replaced(connection, one)) for one in observations if one.replaces is not None]
    cluster_ids = keep_clusters(connection, observations)
    ids = _insert(connection, observations, actor_ids=actor_ids, cluster_ids=cluster_ids)
    vectors.keep_vectors(connection, [(ids[one.external_id], one) for one in observations])
    keep_entities(connection, [(ids[one.external_id], one) for one in observations])
    for one, removed in removals:
        reassign_entities(connection, removed.entity_ids)
        kept.handovers += _handed_over(one, removed.actor_id)
    pushes = [ids[one.external_id] for one in observations if _is_push(one)]
    kept.handovers += adopt_commit_authors(connection, pushes)
    kept.cluster_ids |= cluster_ids


def _handed_over(one: NewObservation, old_actor_id: str | None) -> Iterator[Handover]:
    """Yield whose the observation was that `one` has replaced, if it was another's.

    The two are one person where `one` names the old actor and a commit has told the account behind him.
    """
    told, now = one.source_event.actor, one.actor
    if old_actor_id is not None and old_actor_id != now.canonical_id:
        is_same = now.method == "commit_sha" and told is not None and old_actor_id == f"github:{told.id}"
        merged_into = now.canonical_id if is_same else None
        yield Handover(one.event_id, one.workspace_id, one.external_id, old_actor_id, merged_into)


def vector_id(view: str, external_id: str) -> str:
    """Return the id of one view's vector: derived from the observation's own id, so it cannot collide."""
    return f"obs_{view}_{external_id}"


_INSERT = """
insert into lightfast_workspace_neural_observations (external_id, workspace_id, cluster_id, occurred_at, actor,
  actor_id, observation_type, title, content, topics, significance_score, source, source_type, source_id,
  source_references, metadata, embedding_title_id, embedding_content_id, embedding_summary_id, event_id,
  canonical_actor_id, actor_method, significance_factors, primary_category, secondary_categories,
  classification_confidence, classified_by, classification_note)
select external_id, workspace_id, cluster_id, occurred_at, actor, actor_id,
  observation_type, title, content, topics, significance_score, source, source_type, source_id, source_references,
  metadata, embedding_title_id, embedding_content_id, embedding_summary_id, event_id, canonical_actor_id, actor_method,
  significance_factors, primary_category, secondary_categories, classification_confidence, classified_by,
  classification_note
from jsonb_to_recordset(cast(:observations as jsonb)) as r(position integer, external_id text, workspace_id text,
  cluster_id bigint, occurred_at timestamptz, actor jsonb, actor_id bigint, observation_type text, title text,
  content text, topics jsonb, significance_score real, source text, source_type text, source_id text,
  source_references jsonb, metadata jsonb, embedding_title_id text, embedding_content_id text,
  embedding_summary_id text, event_id bigint, canonical_actor_id text, actor_method text, significance_factors jsonb,
  primary_category text, secondary_categories jsonb, classification_confidence real, classified_by text,
  classification_note text)
order by position
returning id, external_id
"""


def _insert(
    connection: Connection,
    observations: Sequence[NewObservation],
    *,
    actor_ids: Mapping[tuple[str, str], int],
    cluster_ids: Mapping[str, int],
) -> dict[str, int]:
    records = [
        _record(one)
        | {
            "position": position,
            "cluster_id": cluster_ids[one.cluster.external_id],
            "actor_id": actor_ids.get((one.clerk_org_id, one.actor.canonical_id or "")),
        }
        for position, one in enumerate(observations)
    ]
    stored = rows(connection, _INSERT, observations=record_set(records))
    return {row["external_id"]: row["id"] for row in stored}


def _record(one: NewObservation) -> dict[str, Any]:
    event = one.source_event.to_json()
    return {
        "external_id": one.external_id,
        "workspace_id": one.workspace_id,
        "occurred_at": event["occurredAt"],
        "actor": one.actor.actor and one.actor.actor.to_json(),
        "observation_type": one.observation_type,
        "title": event["title"],
        "content": event["body"],
        "topics": one.topics,
        "significance_score": one.significance,
        "source": event["source"],
        "source_type": event["sourceType"],
        "source_id": event["sourceId"],
        "source_references": event["references"],
        "metadata": event["metadata"],
        "embedding_title_id": vector_id("title", one.external_id),
        "embedding_content_id": vector_id("content", one.external_id),
        "embedding_summary_id": vector_id("summary", one.external_id),
        "event_id": one.event_id,
        "canonical_actor_id": one.actor.canonical_id,
        "actor_method": one.actor.method,
        "significance_factors": one.significance_factors,
        "primary_category": one.primary_category,
        "secondary_categories": one.secondary_categories,
        "classification_confidence": one.classification_confidence,
        "classified_by": one.classified_by,
        "classification_note": one.classification_note and storable(one.classification_note, limit=MAX_NOTE),
    }


def _identity(one: NewObservation) -> Identity | None:
    if one.actor.actor is None or one.actor.canonical_id is None:
        return None
    source, _, source_id = one.actor.canonical_id.partition(":")
    actor = one.actor.actor
    return Identity(
        clerk_org_id=one.clerk_org_id,
        canonical_id=one.actor.canonical_id,
        source=source,
        source_id=source_id,
        username=actor.name,
        email=actor.email,
        avatar_url=actor.avatar_url,
        method=one.actor.method,
    )


def _is_push(one: NewObservation) -> bool:
    return one.source_event.source == "github" and one.source_event.source_type == "push"
