"""One waiting event per workspace, function and key: a newer one supersedes it. Keys and periods: `contracts.debounce`.

Whoever makes keyed events wait holds their function and workspace until the end of the transaction: meanwhile the
waiting events of a key can only become fewer, as a batch or an outcome takes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store import lifecycle
from neural_pipeline.store.sql import record_set, rows, run

SUPERSEDED = """
jsonb_build_object('inngestFunctionId', {row}.function_id, 'status', 'skipped', 'reason', 'superseded') || case
  {row}.function_id
  when 'neural.profile.update' then jsonb_build_object('actorId', {row}.payload -> 'actorId')
  when 'neural.cluster.summary' then jsonb_build_object('clusterId', {row}.payload -> 'clusterId')
  else jsonb_build_object('observationId', {row}.payload -> 'observationId') end
"""
"""The output of an event that a newer one stands for."""

# Order of locks: batch, its events, what the run writes, then these, then the waiting events by id, then lifecycle
# rows. All of them in one statement, in the order of what is locked: two names may share a hash. Assignment, which
# holds no lock of this kind, passes over waiting events that are locked and so waits for nobody here.
_LOCK = """
select pg_advisory_xact_lock(hashtext('neural.debounce'), held.mark) from (
  select distinct hashtext(k.function_id || ' ' || k.workspace_id) as mark from ({keyed}) k order by mark
) held
"""
_GIVEN = """
select * from jsonb_to_recordset(cast(:events as jsonb)) as r(function_id text, workspace_id text)
"""
_ON_BATCH = """
select function_id, workspace_id from incoming_events where batch_id = any(:ids) and debounce_key is not null
"""
_NAMED = "select function_id, workspace_id from incoming_events where id = any(:ids) and debounce_key is not null"

# What is known already supersedes nothing. A retry pause of the superseded event is not cut short.
_MAKE_WAY = f"""
with given as (
  select * from jsonb_to_recordset(cast(:events as jsonb)) as r(place integer, workspace_id text, function_id text,
    source text, delivery_id text, debounce_key text, seconds double precision, max_seconds double precision)
), unknown as (
  select distinct on (g.source, g.delivery_id, g.workspace_id, g.function_id) g.* from given g
  where not exists (select from incoming_events e where e.source = g.source and e.delivery_id = g.delivery_id
    and e.workspace_id = g.workspace_id and e.function_id = g.function_id)
  order by g.source, g.delivery_id, g.workspace_id, g.function_id, g.place
), new as materialized (
  select nextval(pg_get_serial_sequence('incoming_events', 'id')) as id, u.*
  from (select * from unknown order by place) u
), newest as materialized (
  select distinct on (workspace_id, function_id, debounce_key) * from new where debounce_key is not null
  order by workspace_id, function_id, debounce_key, place desc
), waiting as materialized (
  select e.id, n.id as newest from incoming_events e join newest n using (workspace_id, function_id, debounce_key)
  where e.batch_id is null and e.outcome is null
  order by e.id for no key update of e
), superseded as (
  update incoming_events e
  set outcome = 'superseded', outcome_at = clock_timestamp(), superseded_by = w.newest,
    output = {SUPERSEDED.format(row="e")}
  from waiting w where e.id = w.id
  returning e.id, w.newest, e.due_at, e.due_by
)
select new.place, new.id, nullif(n.id, new.id) as superseded_by, s.id as superseded, due.by::text as due_by,
  least(clock_timestamp() + make_interval(secs => new.seconds), greatest(due.by, s.due_at))::text as due_at
from new
left join newest n using (workspace_id, function_id, debounce_key)
left join superseded s on s.newest = n.id
cross join lateral (
  select coalesce(s.due_by, clock_timestamp() + make_interval(secs => new.max_seconds)) as by
) due
order by new.place
"""  # noqa: S608 - made of the constant above


def make_way(connection: Connection, events: Sequence[Mapping[str, Any]]) -> Sequence[RowMapping]:
    """Supersede what waits for the keys of events that are about to be appended, and say how to append them.

    One row per event that is not known yet: its place, its id, when it is due, the event of its key in the same call
    that stands for it, and the waiting one it has superseded. The caller appends, then records the superseded.
    """
    keyed = [{"function_id": one["function_id"], "workspace_id": one["workspace_id"]} for one in events if _key_of(one)]
    run(connection, _LOCK.format(keyed=_GIVEN), events=record_set(keyed))
    named = ("place", "workspace_id", "function_id", "source", "delivery_id", "debounce_key", "seconds", "max_seconds")
    given = record_set({name: one.get(name) for name in named} for one in events)
    return rows(connection, _MAKE_WAY, events=given)


def _key_of(event: Mapping[str, Any]) -> str | None:
    return event.get("debounce_key")


_GIVE_WAY = f"""
with coming as materialized (
  select * from incoming_events where id = any(:ids) and debounce_key is not null and outcome is null
  order by id for no key update
), waiting as materialized (
  select e.* from incoming_events e
  join (select distinct workspace_id, function_id, debounce_key from coming) k
    using (workspace_id, function_id, debounce_key)
  where e.batch_id is null and e.outcome is null
  order by e.id for no key update of e
), ranked as (
  select *, first_value(id) over (partition by workspace_id, function_id, debounce_key
    order by received_at desc, id desc) as newest
  from (select *, 1 as counts from coming union all select *, 0 from waiting) rivals
)
update incoming_events e
set outcome = 'superseded', outcome_at = clock_timestamp(), superseded_by = r.newest, batch_id = null, begun_at = null,
  output = {SUPERSEDED.format(row="e")},
  attempt = e.attempt + r.counts * :attempts, losses = e.losses + r.counts * :losses
from ranked r where e.id = r.id and r.id <> r.newest
returning e.id
"""  # noqa: S608 - made of the constant above


def give_way(connection: Connection, event_ids: Iterable[int], *, attempts: int = 0, losses: int = 0) -> None:
    """End those of the events on their way back from a batch for whose key a newer one waits, or comes back too.

    What was counted on the way is counted for them as well. The caller lets the others wait: none has a rival then.
    """
    ids = list(event_ids)
    if rows(connection, _LOCK.format(keyed=_NAMED), ids=ids):
        ended = rows(connection, _GIVE_WAY, ids=ids, attempts=attempts, losses=losses)
        lifecycle.record_events(connection, [row["id"] for row in ended])


def hold_keys_of(connection: Connection, batch_ids: Sequence[int]) -> None:
    """Take in one go what giving back several batches needs: one after another they might wait in a circle."""
    run(connection, _LOCK.format(keyed=_ON_BATCH), ids=list(batch_ids))
