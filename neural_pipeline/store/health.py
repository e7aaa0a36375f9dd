"""Reads that tell whether anything is stuck: what waits, what holds what for too long, which records disagree.

What is too much, and what to do about it, is decided elsewhere. Nothing here locks or changes a row.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from neural_pipeline.store.sql import rows, scalar

FIRST = 3
"""How many offenders are named, unless somebody wants more."""

UNSETTLED_SECONDS = 30.0
"""Seconds the reconciler, which looks every five, may be late in giving up a batch."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The due events of a function that wait, how many of them for too long, and the first runs among those."""

    function_id: str
    events: int
    oldest_seconds: float
    late: int
    first_late: list[int]


@dataclass(frozen=True, slots=True)
class Offenders:
    """Rows that should not be as they are: how many, the first ids, for how long at most, and SQL that shows all."""

    count: int
    first: list[int]
    oldest_seconds: float
    sql: str = ""


@dataclass(frozen=True, slots=True)
class HandedBack:
    """Batches that runs gave back unworked, one after another, while their events still wait: how often, last why."""

    function_id: str
    workspace_id: str
    times: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the accounting: how many rows it was held against, and how many speak against it."""

    rule: str
    expected: int
    unexplained: int


def server_version(connection: Connection) -> tuple[str, str | None]:
    """Return the version of the server and that of pgvector in this database, None where it is not installed."""
    vector = scalar(connection, "select extversion from pg_extension where extname = 'vector'")
    return str(scalar(connection, "select current_setting('server_version')")), vector


def tables_missing(connection: Connection, *names: str) -> list[str]:
    """Return which of the tables are not there for this connection."""
    sql = "select name from unnest(cast(:names as text[])) name where to_regclass(quote_ident(name)) is null order by 1"
    return [row["name"] for row in rows(connection, sql, names=list(names))]


_WAITING = """
with due as (
  select function_id, count(*) as events, min(due_at) as oldest,
    count(*) filter (where due_at < clock_timestamp() - make_interval(secs => :bound)) as late
  from incoming_events
  where batch_id is null and outcome is null and due_at <= statement_timestamp()
  group by function_id
)
select d.function_id, d.events, extract(epoch from clock_timestamp() - d.oldest)::float as oldest_seconds, d.late,
  array(select r.id from incoming_events e join lightfast_workspace_workflow_runs r on r.event_id = e.id
    where d.late > 0 and e.function_id = d.function_id and e.batch_id is null and e.outcome is null
      and e.due_at < clock_timestamp() - make_interval(secs => :bound)
    order by e.due_at, e.id limit :first) as first_late
from due d order by d.function_id
"""


def waiting_events(connection: Connection, *, bound: float) -> list[Waiting]:
    """Return what is due and on no batch, per function; what waits longer than `bound` seconds is late."""
    return [Waiting(**row) for row in rows(connection, _WAITING, bound=bound, first=FIRST)]


def untaken_batches(connection: Connection, *, bound: float, first: int = FIRST) -> Offenders:
    """Return the batches that no run has taken within `bound` seconds."""
    sql = _offending("event_batches", "state = 'open'", since="assigned_at", bound=bound)
    return offenders(connection, sql, first=first)


def unsettled_batches(connection: Connection, *, bound: float, first: int = FIRST) -> Offenders:
    """Return the batches whose lease or deadline ran out more than `bound` seconds ago, and that still count as going.

    The reconciler should have taken them from their runs.
    """
    since = "least(lease_until, deadline_at)"
    sql = _offending("event_batches", "state = 'running'", since=since, bound=bound)
    return offenders(connection, sql, first=first)


def runs_without_batch(connection: Connection, *, first: int = FIRST) -> Offenders:
    """Return the workflow runs that count as running though no running batch works on them."""
    source = """
    lightfast_workspace_workflow_runs r
    left join incoming_events e on e.id = r.event_id
    left join event_batches b on b.id = e.batch_id and b.state = 'running'
    """
    where = "r.status = 'running' and b.id is null"
    return offenders(connection, _offending(source, where, since="r.updated_at", bound=0, id_="r.id"), first=first)


def unrecorded_runs(connection: Connection, *, bound: float, first: int = FIRST) -> Offenders:
    """Return the workflow runs still open more than `bound` seconds after the outcome of their event."""
    source = "lightfast_workspace_workflow_runs r join incoming_events e on e.id = r.event_id"
    where = "r.status in ('queued', 'running') and e.outcome is not null"
    sql = _offending(source, where, since="e.outcome_at", bound=bound, id_="r.id")
    return offenders(connection, sql, first=first)


def offenders(connection: Connection, sql: str, *, first: int = FIRST) -> Offenders:
    """Return the rows that SQL without parameters finds: their `id`, and the `seconds` for which they are as they are.

    Those that have been so for longest come first.
    """
    counted = f"""
    select count(*) as count, coalesce(max(seconds), 0) as oldest_seconds,
      coalesce((array_agg(id order by seconds desc, id))[1:{first}], '{{}}') as first
    from ({sql}) offending
    """  # noqa: S608 - made of constants and numbers
    return Offenders(**rows(connection, counted)[0], sql=sql)


def _offending(source: str, where: str, *, since: str, bound: float, id_: str = "id") -> str:
    seconds = f"extract(epoch from clock_timestamp() - {since})::float"
    late = f"{since} <= clock_timestamp() - make_interval(secs => {bound:f})"
    sql = f"select {id_} as id, {seconds} as seconds from {source} where {where} and {late}"  # noqa: S608 - constants
    return " ".join(sql.split())


_HANDED_BACK = """
with recent as (
  select b.id, b.function_id, h.workspace_id, b.close_reason,
    max(b.id) filter (where b.close_reason = 'success') over (partition by b.function_id, h.workspace_id) as last_done
  from event_batches b join batch_workspaces h on h.batch_id = b.id
  where b.state = 'closed' and b.closed_at > clock_timestamp() - make_interval(secs => :within)
)
select function_id, workspace_id, count(*) as times, (array_agg(close_reason order by id desc))[1] as reason
from recent r
where starts_with(close_reason, 'handed_back') and close_reason <> 'handed_back: shutdown'
  and id > coalesce(last_done, 0)
  and exists (select from incoming_events e where e.function_id = r.function_id and e.workspace_id = r.workspace_id
    and e.outcome is null)
group by function_id, workspace_id having count(*) >= :times
order by times desc, function_id, workspace_id
"""


def handed_back(connection: Connection, *, within: float, times: int) -> list[HandedBack]:
    """Return the workspaces whose batches came back at least `times` within so many seconds and never got done since.

    An orderly shutdown hands batches back too and does not count.
    """
    return [HandedBack(**row) for row in rows(connection, _HANDED_BACK, within=within, times=times)]


def accounting(connection: Connection) -> list[Rule]:
    """Return every rule of the accounting with the rows it was held against and those that speak against it."""
    sql = "select rule, expected, unexplained from event_accounting order by rule"
    return [Rule(**row) for row in rows(connection, sql)]
