"""Taking an observation away for the one that replaces it, and putting right what the two leave of its entities."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from neural_pipeline.contracts.memory import NewObservation
from neural_pipeline.store.sql import rows, run, scalar

# Locked first: links that an extraction makes meanwhile would go with the observation, and stay counted.
_LOCK = "select id from lightfast_workspace_neural_observations where id = :id for update"

_UNLINK = """
with unlinked as (
  delete from observation_entities where observation_id = :id returning entity_id
)
update lightfast_workspace_neural_entities e
set occurrence_count = e.occurrence_count - 1, updated_at = clock_timestamp()
from unlinked u where e.id = u.entity_id
returning e.id
"""

_REMOVE = """
with removed as (
  delete from lightfast_workspace_neural_observations where id = :id
  returning event_id, external_id, canonical_actor_id
), recorded as (
  insert into replaced_observations (event_id, replaced_by_event_id, external_id)
  select r.event_id, :event_id, r.external_id
  from removed r join incoming_events e on e.id = r.event_id
)
select canonical_actor_id from removed
"""


@dataclass(frozen=True, slots=True)
class Removed:
    """What an observation leaves when it is removed: its entities, and the actor that it was counted for."""

    entity_ids: list[int]
    actor_id: str | None


def remove_replaced(connection: Connection, one: NewObservation) -> Removed:
    """Remove the observation that `one` replaces, with vectors and links, and record that; return what it leaves.

    The caller stores `one` in the same transaction and then reassigns the entities.
    """
    if one.replaces is None:
        return Removed([], None)
    run(connection, _LOCK, id=one.replaces.id)
    entity_ids = [row["id"] for row in rows(connection, _UNLINK, id=one.replaces.id)]
    return Removed(entity_ids, scalar(connection, _REMOVE, id=one.replaces.id, event_id=one.event_id))


_REASSIGN = """
update lightfast_workspace_neural_entities e
set source_observation_id = l.observation_id, evidence_snippet = l.evidence_snippet, confidence = l.confidence
from (
  select distinct on (entity_id) entity_id, observation_id, evidence_snippet, confidence from observation_entities
  where entity_id = any(:ids) order by entity_id, observation_id
) l
where e.id = l.entity_id and e.source_observation_id is null
"""


def reassign_entities(connection: Connection, entity_ids: Sequence[int]) -> None:
    """Remove entities that no observation speaks of any more; those that lost their first one take the next."""
    ids = list(entity_ids)
    sql = "delete from lightfast_workspace_neural_entities where id = any(:ids) and occurrence_count <= 0"
    run(connection, sql, ids=ids)
    run(connection, _REASSIGN, ids=ids)
