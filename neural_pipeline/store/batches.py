"""Batches: putting due events on one, taking it for a run, and the fence that every write of that run must pass.

Closing a batch is `settlement`; what an event's facts do to its lifecycle row is `lifecycle`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from neural_pipeline.contracts.batching import DueEvent, Limits, plan_batches
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.store.sql import rows, run, scalar


@dataclass(frozen=True, slots=True)
class Token:
    """The right to write for a batch: void as soon as the batch is closed or taken anew."""

    batch_id: int
    run_id: str
    epoch: int


class BatchLost(Exception):
    """The batch no longer belongs to this run: nothing was written."""


class WorkspaceHeld(Exception):
    """The workspace is being worked on by another run."""


def lock_assignment(connection: Connection, *, function_id: str) -> None:
    """Make assignment of one workflow's events exclusive until the end of the transaction."""
    scalar(connection, "select pg_advisory_xact_lock(hashtext('neural.assign'), hashtext(:name))", name=function_id)


def open_batches(connection: Connection, *, function_id: str) -> list[int]:
    """Return the batches that no run has taken yet, oldest first."""
    sql = "select id from event_batches where function_id = :function_id and state = 'open' order by id"
    return [row["id"] for row in rows(connection, sql, function_id=function_id)]


def batches_of(connection: Connection, run_id: str) -> list[Token]:
    """Return the unfinished batches that a run has taken."""
    sql = "select id, epoch from event_batches where run_id = :run_id and state = 'running' order by id"
    return [Token(row["id"], run_id, row["epoch"]) for row in rows(connection, sql, run_id=run_id)]


def running_batches(connection: Connection) -> int:
    """Return how many batches runs are working on."""
    return int(scalar(connection, "select count(*) from event_batches where state = 'running'"))


def assign(connection: Connection, *, function_id: str, limits: Limits) -> list[int]:
    """Put due events on as many batches as the limits leave free; return the ids of the new batches."""
    lock_assignment(connection, function_id=function_id)
    sql = "select count(*) from event_batches where function_id = :function_id and state <> 'closed'"
    slots = limits.max_open - scalar(connection, sql, function_id=function_id)
    if slots <= 0:
        return []
    due = due_events(connection, function_id=function_id, at_most=limits.max_events * slots)
    plans = plan_batches(due, slots=slots, limits=limits)
    return [put_on_batch(connection, plan, function_id=function_id, trigger=Trigger.AUTOMATIC) for plan in plans]


_DUE = """
with recursive waiting (workspace_id) as (
  (select workspace_id from incoming_events
   where function_id = :function_id and batch_id is null and outcome is null
   order by workspace_id limit 1)
  union all
  select (select e.workspace_id from incoming_events e
          where e.function_id = :function_id and e.batch_id is null and e.outcome is null
            and e.workspace_id > w.workspace_id
          order by e.workspace_id limit 1)
  from waiting w where w.workspace_id is not null
), free as (
  select w.workspace_id from waiting w
  where w.workspace_id is not null
    and (cast(:workspace_id as text) is null or w.workspace_id = :workspace_id)
    and not exists (select from batch_workspaces h
      where h.function_id = :function_id and h.workspace_id = w.workspace_id and h.closed_at is null)
    and exists (select from incoming_events e
      where e.function_id = :function_id and e.workspace_id = w.workspace_id and e.batch_id is null
        and e.outcome is null and e.due_at <= statement_timestamp())
)
select due.* from free f
cross join lateral (
  select e.id, e.workspace_id, e.payload_bytes, e.losses, e.received_at from incoming_events e
  where e.function_id = :function_id and e.workspace_id = f.workspace_id and e.batch_id is null and e.outcome is null
    and e.due_at <= statement_timestamp()
  order by e.received_at, e.id
  limit greatest(1, :at_most / (select count(*) from free))
) due
order by due.received_at, due.id
"""


def due_events(
    connection: Connection, *, function_id: str, at_most: int, workspace_id: str | None = None
) -> list[DueEvent]:
    """Return due events of workspaces that nobody works on, oldest first, in equal shares per workspace."""
    found = rows(connection, _DUE, function_id=function_id, at_most=at_most, workspace_id=workspace_id)
    return [DueEvent(row["id"], row["workspace_id"], row["payload_bytes"], row["losses"]) for row in found]


def waiting_events(connection: Connection, event_ids: Sequence[int]) -> list[DueEvent]:
    """Return those of the events that wait, in their order."""
    sql = """
    select id, workspace_id, payload_bytes, losses from incoming_events
    where id = any(:ids) and batch_id is null and outcome is null order by received_at, id
    """
    found = rows(connection, sql, ids=list(event_ids))
    return [DueEvent(row["id"], row["workspace_id"], row["payload_bytes"], row["losses"]) for row in found]


_OPEN = """
with batch as (
  insert into event_batches (function_id, trigger, events, bytes)
  values (:function_id, :trigger, :events, :bytes) returning id
), held as (
  insert into batch_workspaces (batch_id, function_id, workspace_id)
  select batch.id, :function_id, w.workspace_id
  from batch cross join unnest(cast(:workspaces as text[])) w(workspace_id)
)
select id from batch
"""


def put_on_batch(connection: Connection, events: Sequence[DueEvent], *, function_id: str, trigger: Trigger) -> int:
    """Open a batch of these events and hold their workspaces; the caller holds the assignment lock."""
    batch_id = scalar(
        connection,
        _OPEN,
        function_id=function_id,
        trigger=trigger,
        events=len(events),
        bytes=sum(event.bytes for event in events),
        workspaces=sorted({event.workspace_id for event in events}),
    )
    _attach(connection, events, batch_id=batch_id)
    return int(batch_id)


# What is locked is being superseded or cancelled; to wait for it could be to wait in a circle.
_ATTACH = """
with waiting as materialized (
  -- "is true" keeps the planner off the indexes of what waits: they may hold a great deal more than this by now.
  select id from incoming_events where id = any(:ids) and (batch_id is null and outcome is null) is true
  for no key update skip locked
)
update incoming_events e set batch_id = :batch_id from waiting w where e.id = w.id
"""


def _attach(connection: Connection, events: Sequence[DueEvent], *, batch_id: int) -> None:
    run(connection, _ATTACH, batch_id=batch_id, ids=[event.id for event in events])


_TAKE = """
update event_batches
set state = 'running', run_id = :run_id, epoch = epoch + 1, taken_at = clock_timestamp(),
  lease_until = clock_timestamp() + make_interval(secs => :lease),
  deadline_at = clock_timestamp() + make_interval(secs => :seconds)
where id = :batch_id and state = 'open'
returning epoch
"""


def take(connection: Connection, batch_id: int, *, run_id: str, seconds: float, lease: float) -> Token | None:
    """Take an open batch for a run, for at most `seconds`; None if somebody else has it or it is closed.

    It is given up earlier unless its lease is renewed within `lease` seconds, again and again.
    """
    epoch = scalar(connection, _TAKE, batch_id=batch_id, run_id=run_id, seconds=seconds, lease=lease)
    return None if epoch is None else Token(batch_id, run_id, epoch)


def top_up(connection: Connection, token: Token, *, function_id: str, limits: Limits) -> int:
    """Add what became due since the assignment for the workspaces of a batch; return how many events that was.

    A batch that isolates a suspicious event, and a full one, take nothing more.
    """
    lock_assignment(connection, function_id=function_id)
    sql = "select events, bytes from event_batches where id = :batch_id"
    batch = rows(connection, sql, batch_id=token.batch_id)[0]
    room, bytes_left = limits.max_events - batch["events"], limits.max_bytes - batch["bytes"]
    if room <= 0 or bytes_left <= 0 or _is_isolating(connection, token):
        return 0
    more = rows(connection, _MORE, batch_id=token.batch_id, function_id=function_id, room=room, bytes=bytes_left)
    return len(more)


def _is_isolating(connection: Connection, token: Token) -> bool:
    sql = "select exists (select from incoming_events where batch_id = :batch_id and losses > 0)"
    return bool(scalar(connection, sql, batch_id=token.batch_id))


_MORE = """
with candidates as (
  select more.id, more.payload_bytes, more.received_at from batch_workspaces h
  cross join lateral (
    select e.id, e.payload_bytes, e.received_at from incoming_events e
    where e.function_id = :function_id and e.workspace_id = h.workspace_id and e.batch_id is null
      and e.outcome is null and e.losses = 0 and e.due_at <= statement_timestamp()
    order by e.received_at, e.id
    limit greatest(1, :room / (select count(*) from batch_workspaces where batch_id = :batch_id))
    for no key update skip locked
  ) more
  where h.batch_id = :batch_id and h.closed_at is null
), fitting as (
  select id, payload_bytes from (
    select c.*, sum(payload_bytes) over place as weight, row_number() over place as n
    from candidates c window place as (order by received_at, id)
  ) w where w.weight <= :bytes and w.n <= :room
), added as (
  update incoming_events e set batch_id = :batch_id from fitting f where e.id = f.id returning e.id
)
, counted as (
  update event_batches set events = events + (select count(*) from fitting),
    bytes = bytes + (select coalesce(sum(payload_bytes), 0) from fitting)
  where id = :batch_id
)
select id from added
"""


def begin(connection: Connection, token: Token) -> None:
    """Record that work on the events of a batch begins now."""
    sql = """
    update incoming_events set begun_at = clock_timestamp(), cause = null where batch_id = :batch_id and outcome is null
    """
    run(connection, sql, batch_id=token.batch_id)


def fence(connection: Connection, token: Token) -> None:
    """Hold the batch for the rest of the transaction, or raise BatchLost: the first statement of every store."""
    sql = """
    select 1 from event_batches
    where id = :batch_id and run_id = :run_id and epoch = :epoch and state = 'running' for share
    """
    if scalar(connection, sql, batch_id=token.batch_id, run_id=token.run_id, epoch=token.epoch) is None:
        raise BatchLost(f"batch {token.batch_id} no longer belongs to run {token.run_id}")


def hold_alone(connection: Connection, token: Token) -> None:
    """Hold the batch against everybody, the recorder included, or raise BatchLost: for taking events off it.

    A recorder that reads facts while they are taken back would bring the rows of waiting events to running.
    """
    sql = """
    select 1 from event_batches
    where id = :batch_id and run_id = :run_id and epoch = :epoch and state = 'running' for update
    """
    if scalar(connection, sql, batch_id=token.batch_id, run_id=token.run_id, epoch=token.epoch) is None:
        raise BatchLost(f"batch {token.batch_id} no longer belongs to run {token.run_id}")


def count_stale_write(connection: Connection, token: Token) -> None:
    """Count a write that the fence turned away."""
    sql = "update event_batches set stale_writes = stale_writes + 1 where id = :batch_id"
    run(connection, sql, batch_id=token.batch_id)


def let_go(connection: Connection, token: Token, *, workspaces: Sequence[str]) -> None:
    """Stop holding workspaces whose last event of the batch has its outcome."""
    sql = """
    update batch_workspaces set closed_at = clock_timestamp()
    where batch_id = :batch_id and workspace_id = any(:workspaces) and closed_at is null
    """
    run(connection, sql, batch_id=token.batch_id, workspaces=list(workspaces))


def holder_of(connection: Connection, workspace_id: str, *, function_id: str) -> str | None:
    """Return who works on a workspace: the Dagster run, or the batch that waits for one; None if nobody does."""
    sql = """
    select coalesce('run ' || b.run_id, 'batch ' || b.id || ', which waits for its run')
    from batch_workspaces h join event_batches b on b.id = h.batch_id
    where h.function_id = :function_id and h.workspace_id = :workspace_id and h.closed_at is null
    """
    return scalar(connection, sql, function_id=function_id, workspace_id=workspace_id)
