"""One waiting event per workspace, function and key: a newer one supersedes it. Keys and periods: `contracts.debounce`.

Whoever makes keyed events wait holds their function and workspace until the end of the transaction: meanwhile the
waiting events of a key can only become fewer, as a batch or an outcome takes them.
"""

from collections.abc import Mapping, Sequence
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
# holds no lock of this kind, passes over waiting events that are locked and so waits for nobody here. Nor does anybody
# here wait for a waiting event that is locked: it is being put on a batch or ended, or is on one since this statement
# began, and its run may want these locks.
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

# What is known already supersedes nothing. The survivor takes over what its key has earned: it is due no earlier than
# the superseded one, whose pause news would cut short else, and counts its losses, or what kills workers whenever it is
# worked on would never stand alone while there is news of it.
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
  order by e.id for no key update of e skip locked
), superseded as (
  update incoming_events e
  set outcome = 'superseded', outcome_at = clock_timestamp(), superseded_by = w.newest,
    output = {SUPERSEDED.format(row="e")}
  from waiting w where e.id = w.id
  returning e.id, w.newest, e.due_at, e.due_by, e.losses
)
select new.place, new.id, nullif(n.id, new.id) as superseded_by, s.id as superseded, due.by::text as due_by,
  greatest(least(clock_timestamp() + make_interval(secs => new.seconds), due.by), s.due_at)::text as due_at,
  case when new.id = n.id then s.losses end as losses
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
    that stands for it, the waiting one it has superseded, and the losses it takes over from that. The caller appends,
    then records the superseded.
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
  order by e.id for no key update of e skip locked
), rivals as (
  select c.id, c.workspace_id, c.function_id, c.debounce_key, c.received_at, 1 as counts,
    c.losses + :losses as losses,
    clock_timestamp() + nullif(make_interval(secs => p.pause), interval '0') as due_at
  from coming c join jsonb_to_recordset(cast(:pauses as jsonb)) as p(id bigint, pause double precision) using (id)
  union all
  select id, workspace_id, function_id, debounce_key, received_at, 0, losses, due_at from waiting
), ranked as (
  select *, first_value(id) over (partition by workspace_id, function_id, debounce_key
    order by received_at desc, id desc) as newest
  from rivals
), inherited as (
  select newest, max(losses) as losses, max(due_at) as due_at from ranked where id <> newest group by newest
), survived as (
  update incoming_events e
  set losses = greatest(e.losses, i.losses - r.counts * :losses), due_at = greatest(e.due_at, i.due_at)
  from inherited i join ranked r on r.id = i.newest where e.id = i.newest
)
update incoming_events e
set outcome = 'superseded', outcome_at = clock_timestamp(), superseded_by = r.newest, batch_id = null, begun_at = null,
  output = {SUPERSEDED.format(row="e")},
  attempt = e.attempt + r.counts * :attempts, losses = e.losses + r.counts * :losses
from ranked r where e.id = r.id and r.id <> r.newest
returning e.id
"""  # noqa: S608 - made of the constant above


def give_way(connection: Connection, pauses: Mapping[int, float], *, attempts: int = 0, losses: int = 0) -> None:
    """End those of the events on their way back from a batch for whose key a newer one waits, or comes back too.

    `pauses` are the seconds that each of the events was to wait. What was counted on the way is counted for those that
    end as well, and their survivors take over pause and losses, as with `make_way`. The caller lets the others wait,
    none of which has a rival then, and keeps what they have taken over.
    """
    ids = list(pauses)
    if rows(connection, _LOCK.format(keyed=_NAMED), ids=ids):
        told = record_set({"id": id_, "pause": pause} for id_, pause in pauses.items())
        ended = rows(connection, _GIVE_WAY, ids=ids, pauses=told, attempts=attempts, losses=losses)
        lifecycle.record_events(connection, [row["id"] for row in ended])


def hold_keys_of(connection: Connection, batch_ids: Sequence[int]) -> None:
    """Take in one go what giving back several batches needs: one after another they might wait in a circle."""
    run(connection, _LOCK.format(keyed=_ON_BATCH), ids=list(batch_ids))
