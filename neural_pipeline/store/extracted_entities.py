"""Entities that a model, or the rules in its place, found in the text of stored observations: the texts, and keeping.

What the capture's patterns find is in `entities`. Both write entities in key order, so that they cannot deadlock.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.memory import Entity, ObservedText
from neural_pipeline.store.sql import record_set, rows, run

_MAX_NAME = 100
"""The width of the column extracted_by."""

Named = tuple[str, str]
"""A workspace and the external id of an observation."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an event found in the text of an observation, and who found it."""

    event_id: int
    workspace_id: str
    observation_id: int
    entities: tuple[Entity, ...]
    found_by: str


_TEXTS = """
select o.workspace_id, o.external_id, o.id, o.title, o.content
from jsonb_to_recordset(cast(:wanted as jsonb)) as w(workspace_id text, external_id text)
join lightfast_workspace_neural_observations o using (workspace_id, external_id)
"""


def texts_of(connection: Connection, observations: Collection[Named]) -> dict[Named, ObservedText]:
    """Return the texts of the observations that exist in the workspace they are looked for in."""
    wanted = [{"workspace_id": workspace_id, "external_id": id_} for workspace_id, id_ in set(observations)]
    found = rows(connection, _TEXTS, wanted=record_set(wanted)) if wanted else ()
    return {
        (row["workspace_id"], row["external_id"]): ObservedText(row["id"], row["title"], row["content"])
        for row in found
    }


# Locked, so that none is replaced before its links are made.
_LOCK = "select id from lightfast_workspace_neural_observations where id = any(:ids) order by id for key share"

_UPSERT = """
with found as (
  select * from jsonb_to_recordset(cast(:entities as jsonb)) as r(observation_id bigint, workspace_id text,
    category text, key text, value text, evidence text, confidence real, place integer)
), distinct_entities as (
  select distinct on (workspace_id, category, lower(key)) workspace_id, category, key, value, evidence,
    max(confidence) over (partition by workspace_id, category, lower(key)) as confidence, observation_id
  from found order by workspace_id, category, lower(key), place
)
insert into lightfast_workspace_neural_entities
  (workspace_id, category, key, value, source_observation_id, evidence_snippet, confidence, occurrence_count)
select workspace_id, category, key, value, observation_id, evidence, confidence, 0
from distinct_entities order by workspace_id, category, lower(key)
on conflict (workspace_id, category, lower(key)) do update
set last_seen_at = clock_timestamp(), updated_at = clock_timestamp(),
  confidence = greatest(lightfast_workspace_neural_entities.confidence, excluded.confidence)
"""

_LINK = """
with found as (
  select * from jsonb_to_recordset(cast(:entities as jsonb)) as r(event_id bigint, observation_id bigint,
    workspace_id text, category text, key text, evidence text, confidence real, found_by text, place integer)
), named as (
  select f.*, e.id as entity_id from found f
  join lightfast_workspace_neural_entities e
    on (e.workspace_id, e.category, lower(e.key)) = (f.workspace_id, f.category, lower(f.key))
), links as (
  select distinct on (observation_id, entity_id) observation_id, entity_id, confidence, evidence, found_by
  from named order by observation_id, entity_id, confidence desc, place
), made as (
  insert into observation_entities (observation_id, entity_id, confidence, evidence_snippet, extracted_by)
  select observation_id, entity_id, confidence, evidence, found_by from links order by entity_id, observation_id
  on conflict do nothing returning entity_id
), confirmed as (
  update observation_entities o set confidence = greatest(o.confidence, l.confidence)
  from links l where (o.observation_id, o.entity_id) = (l.observation_id, l.entity_id)
), counted as (
  update lightfast_workspace_neural_entities e set occurrence_count = e.occurrence_count + m.observations
  from (select entity_id, count(*) as observations from made group by entity_id) m where e.id = m.entity_id
)
select event_id, count(distinct entity_id) as stored from named group by event_id
"""


def keep_extracted(connection: Connection, findings: Sequence[Finding]) -> dict[int, int]:
    """Store what events found in observations, and link it; return by event how many entities are linked now.

    A link that exists is confirmed: it keeps who found it, and is not counted again. An event is missing in the result
    if its observation is gone, replaced or removed.
    """
    ids = sorted({finding.observation_id for finding in findings})
    there = {row["id"] for row in rows(connection, _LOCK, ids=ids)}
    kept = [finding for finding in findings if finding.observation_id in there]
    stored = dict.fromkeys((finding.event_id for finding in kept), 0)
    if records := _records(kept):
        entities = record_set(records)
        run(connection, _UPSERT, entities=entities)
        stored |= {row["event_id"]: row["stored"] for row in rows(connection, _LINK, entities=entities)}
    return stored


def _records(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    pairs = ((finding, entity) for finding in findings for entity in finding.entities)
    return [
        {
            "event_id": finding.event_id,
            "observation_id": finding.observation_id,
            "workspace_id": finding.workspace_id,
            "category": entity.category,
            "key": entity.key,
            "value": entity.value,
            "evidence": entity.evidence,
            "confidence": entity.confidence,
            "found_by": finding.found_by[:_MAX_NAME],
            "place": place,
        }
        for place, (finding, entity) in enumerate(pairs)
    ]
