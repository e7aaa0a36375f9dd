"""What retention would remove, counted without writing or locking anything. Removing is `retention`."""

from dataclasses import asdict

from sqlalchemy import Connection

from neural_pipeline.store.retention import (
    ENDED,
    OLD_BATCH,
    OLD_CALL,
    OLD_METRIC,
    OLD_PAYLOAD,
    OLD_RAW,
    OLD_RECORD,
    OLD_REFUSAL,
    SPARE,
    UNNAMED,
    Cutoffs,
    Kind,
    Removed,
)
from neural_pipeline.store.sql import rows

_PREVIEW = f"""
with recursive bare as materialized (
  select e.id, e.outcome, e.raw_payload_id {ENDED} and e.id in (select e.id {OLD_PAYLOAD})
), needed as materialized (
  select distinct s.raw_payload_id as id from incoming_events s left join bare b on b.id = s.id
  where s.raw_payload_id is not null and s.pruned_at is null and b.id is null
), old as materialized (
  select e.id, e.outcome, e.parent_event_id, e.batch_id {ENDED} and e.id in (select e.id {OLD_RECORD})
    and not exists (select from needed n where n.id = e.raw_payload_id)
), ties (id, goes_first) as materialized (
  select o.id, p.id from old o join incoming_events p on p.id = o.parent_event_id
  union all
  select o.id, x.event_id from old o join replaced_observations x on x.replaced_by_event_id = o.id
  union all
  select o.id, s.id from old o join incoming_events s on s.superseded_by = o.id
), staying as (
  select t.id from ties t where not exists (select from old where old.id = t.goes_first)
  union
  select t.id from ties t join staying s on s.id = t.goes_first
), going as materialized (
  select * from old where not exists (select from staying where staying.id = old.id)
), left_over as materialized (
  select distinct e.batch_id as id from incoming_events e left join going g on g.id = e.id
  where e.batch_id is not null and g.id is null
)
select 'payload' as name, outcome as state, count(*) as number from bare group by 2
union all
select 'model answer', b.outcome, count(*) from bare b join model_answers a on a.event_id = b.id group by 2
union all
select 'raw payload', disposition, count(*) from (
  select p.disposition from raw_payloads p
  where p.id in (select raw_payload_id from bare)
    and not exists (select from needed n where n.id = p.id)
  union all select p.disposition {OLD_REFUSAL} and {UNNAMED}
  union all select p.disposition {OLD_RAW} and {SPARE}
) raw group by 2
union all
select 'execution', outcome, count(*) from going group by 2
union all
select 'batch', b.state, count(*) {OLD_BATCH}
  and not exists (select from left_over l where l.id = b.id)
group by 2
union all
select 'metric', m.type, count(*) {OLD_METRIC} group by 2
union all
select 'model call', coalesce(c.outcome, 'unfinished'), count(*) {OLD_CALL} group by 2
"""  # noqa: S608 - constants


def preview(connection: Connection, cutoffs: Cutoffs) -> Removed:
    """Count what is old enough to go."""
    found = rows(connection, _PREVIEW, **asdict(cutoffs))
    return Removed({Kind(row["name"], row["state"]): row["number"] for row in found})
