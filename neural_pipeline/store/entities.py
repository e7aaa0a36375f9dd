"""Writing entities, and which observations speak of them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.memory import NewObservation
from neural_pipeline.store.sql import record_set, run

_KEEP = """
with found as (
  select * from jsonb_to_recordset(cast(:entities as jsonb)) as r(workspace_id text, category text, key text,
    value text, evidence text, confidence real, observation_id bigint, place integer)
), distinct_entities as (
  select distinct on (workspace_id, category, lower(key)) workspace_id, category, key, value, evidence, confidence,
    observation_id, count(*) over (partition by workspace_id, category, lower(key)) as occurrences
  from found order by workspace_id, category, lower(key), place
), kept as (
  insert into lightfast_workspace_neural_entities
    (workspace_id, category, key, value, source_observation_id, evidence_snippet, confidence, occurrence_count)
  select workspace_id, category, key, value, observation_id, evidence, confidence, occurrences
  from distinct_entities order by workspace_id, category, lower(key)
  on conflict (workspace_id, category, lower(key)) do update
  set last_seen_at = clock_timestamp(), updated_at = clock_timestamp(),
    occurrence_count = lightfast_workspace_neural_entities.occurrence_count + excluded.occurrence_count
  returning id, workspace_id, category, key
)
insert into observation_entities (observation_id, entity_id, confidence, evidence_snippet, extracted_by)
select f.observation_id, k.id, f.confidence, f.evidence, :extracted_by
from found f
join kept k on (k.workspace_id, k.category, lower(k.key)) = (f.workspace_id, f.category, lower(f.key))
"""


def keep_entities(connection: Connection, observations: Sequence[tuple[int, NewObservation]]) -> int:
    """Store the entities of new observations, given with their ids, and link them; return how many links that made.

    An entity keeps its first value and evidence; its occurrence_count is the number of distinct observations.
    """
    records: list[dict[str, Any]] = [
        {
            "workspace_id": one.workspace_id,
            "category": entity.category,
            "key": entity.key,
            "value": entity.value,
            "evidence": entity.evidence,
            "confidence": entity.confidence,
            "observation_id": observation_id,
            "place": place,
        }
        for place, (observation_id, one, entity) in enumerate(
            (observation_id, one, entity) for observation_id, one in observations for entity in one.entities
        )
    ]
    return run(connection, _KEEP, entities=record_set(records), extracted_by="rules") if records else 0
