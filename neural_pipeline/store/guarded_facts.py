"""Reads that tell whether what the pipeline promises of its record is so. What is stuck, is in `health`.

Each names those that speak against it, and the SQL that shows them all. What looks at rows one by one stops at a bound;
twins are looked for among all observations, in the order of an index. An audit of everything is `event_accounting`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import Connection

from neural_pipeline.store.health import Offenders, Rule, offenders
from neural_pipeline.store.sql import rows, scalar

LATEST = 100_000
"""Executions, the latest ones, and metrics, that are looked at one by one."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted of a function or source, and how many of that are not as they should be."""

    name: str
    counted: int
    against: int


# A limit, as the planner takes a third of all groups for groups with more than one row.
_DUPLICATES = """
select id, seconds from (
  select o.id, extract(epoch from clock_timestamp() - o.created_at)::float as seconds
  from lightfast_workspace_neural_observations o
  join (
    select workspace_id, source_id from lightfast_workspace_neural_observations
    group by workspace_id, source_id having count(*) > 1 limit 1000
  ) twice using (workspace_id, source_id)
  union
  select o.id, extract(epoch from clock_timestamp() - o.created_at)::float
  from lightfast_workspace_neural_observations o
  join (
    select event_id from lightfast_workspace_neural_observations where event_id is not null
    group by event_id having count(*) > 1 limit 1000
  ) twice using (event_id)
) duplicates
"""


def duplicate_observations(connection: Connection, *, first: int) -> Offenders:
    """Return the observations that share their source id, within a workspace, or their execution with another one.

    Those of 1000 source ids and of 1000 executions, at most.
    """
    return offenders(connection, _flat(_DUPLICATES), first=first)


_WAITING = """
select r.id, extract(epoch from clock_timestamp() - e.due_at)::float as seconds
from (
  select id, due_at from incoming_events
  where batch_id is null and outcome is null and function_id in ({functions})
    and due_at < statement_timestamp() - make_interval(secs => {bound:f})
  union all
  select e.id, e.due_at
  from event_batches b join incoming_events e on e.batch_id = b.id
  where b.state <> 'closed' and b.function_id in ({functions}) and e.outcome is null and e.begun_at is null
    and e.due_at < statement_timestamp() - make_interval(secs => {bound:f})
) e
join lightfast_workspace_workflow_runs r on r.event_id = e.id
"""


def waiting_runs(connection: Connection, functions: Collection[str], *, bound: float, first: int) -> Offenders:
    """Return the runs of some functions that have been due for more than `bound` seconds and have not begun."""
    return offenders(connection, _flat(_WAITING.format(functions=_quoted(functions), bound=bound)), first=first)


# Two bounds, as the planner takes one alone for a third of the table.
_UNMEASURED = """
with ended as materialized (
  select id, outcome_at from incoming_events
  where outcome is not null and outcome_at >= statement_timestamp() - interval '24 hours'
  order by outcome_at desc limit {latest}
), measured as (
  select event_id, count(*) as times from lightfast_workspace_operations_metrics
  where timestamp >= (select min(outcome_at) from ended) and timestamp < 'infinity' and type = 'job_duration'
  group by event_id
)
select r.id, extract(epoch from clock_timestamp() - e.outcome_at)::float as seconds
from ended e
join lightfast_workspace_workflow_runs r on r.event_id = e.id and r.status not in ('queued', 'running')
left join measured m on m.event_id = e.id
where m.times is distinct from 1
"""


def unmeasured_ends(connection: Connection, *, first: int) -> Offenders:
    """Return the workflow runs that ended within 24 hours and have no duration among the metrics, or several."""
    return offenders(connection, _flat(_UNMEASURED.format(latest=LATEST)), first=first)


_WITHOUT_RUN = """
select e.id, extract(epoch from clock_timestamp() - e.received_at)::float as seconds
from (select id, received_at from incoming_events order by id desc limit {latest}) e
where not exists (select from lightfast_workspace_workflow_runs r where r.event_id = e.id)
"""


def events_without_run(connection: Connection, *, first: int) -> Offenders:
    """Return the latest inbox events that have no workflow run; both are written in one transaction."""
    return offenders(connection, _flat(_WITHOUT_RUN.format(latest=LATEST)), first=first)


_NOT_ADDED_UP = """
select id, extract(epoch from clock_timestamp() - created_at)::float as seconds
from lightfast_workspace_operations_metrics
where id > (select through_id from rollup_progress) and id < 9223372036854775807
  and created_at < statement_timestamp() - make_interval(secs => {bound:f})
order by id limit {latest}
"""


def metrics_not_added_up(connection: Connection, *, bound: float, first: int) -> Offenders:
    """Return the metrics that were written more than `bound` seconds ago and are not added up: LATEST at most."""
    return offenders(connection, _flat(_NOT_ADDED_UP.format(bound=bound, latest=LATEST)), first=first)


def seconds_since_rollup(connection: Connection) -> float:
    """Return how long ago metrics were added up."""
    sql = "select extract(epoch from clock_timestamp() - refreshed_at)::float from rollup_progress"
    return float(scalar(connection, sql))


def failures(connection: Connection, since: date, until: date) -> list[Tally]:
    """Return the executions of each function that completed or failed, and those that failed, of some days (UTC)."""
    sql = """
    select function_id as name, sum(completed + failed)::bigint as counted, sum(failed)::bigint as against
    from job_statistics where day >= :since and day < :until group by function_id order by function_id
    """
    return [Tally(**row) for row in rows(connection, sql, since=since, until=until)]


_FAILED = """
select id, extract(epoch from clock_timestamp() - completed_at)::float as seconds
from lightfast_workspace_workflow_runs
where status = 'failed' and completed_at >= '{since} UTC' and completed_at < '{until} UTC'
  and inngest_function_id in ({functions})
"""


def failed_runs(
    connection: Connection, functions: Collection[str], *, days: tuple[date, date], first: int
) -> Offenders:
    """Return the runs of some functions that failed on the days from the first to before the second."""
    sql = _FAILED.format(functions=_quoted(functions), since=days[0], until=days[1])
    return offenders(connection, _flat(sql), first=first)


def resolutions(connection: Connection, since: date, until: date) -> list[Tally]:
    """Return the events with an actor of each source, and those whose actor was not resolved, of some days (UTC)."""
    sql = """
    select source as name, sum(events)::bigint as counted, sum(events - resolved)::bigint as against
    from actor_resolution_by_method where day >= :since and day < :until group by source order by source
    """
    return [Tally(**row) for row in rows(connection, sql, since=since, until=until)]


_UNRESOLVED = """
select r.id, extract(epoch from clock_timestamp() - m.timestamp)::float as seconds
from lightfast_workspace_operations_metrics m
join lightfast_workspace_workflow_runs r on r.event_id = m.event_id
where m.type = 'actor_resolution' and m.tags ->> 'resolved' = 'false'
  and m.timestamp >= '{since} UTC' and m.timestamp < '{until} UTC'
"""


def unresolved_captures(connection: Connection, *, days: tuple[date, date], first: int) -> Offenders:
    """Return the runs of captures whose actor was not resolved, on the days from the first to before the second."""
    return offenders(connection, _flat(_UNRESOLVED.format(since=days[0], until=days[1])), first=first)


def latest_audit(connection: Connection) -> tuple[float, list[Rule]] | None:
    """Return how many seconds ago the whole record was audited, and what each rule then found; None if it never was."""
    sql = """
    select audit_id, extract(epoch from clock_timestamp() - audited_at)::float as seconds
    from accounting_audits order by audited_at desc, audit_id desc limit 1
    """
    found = rows(connection, sql)
    if not found:
        return None
    return found[0]["seconds"], _rules(connection, found[0]["audit_id"])


def seconds_overdue_audit(connection: Connection, *, bound: float) -> float | None:
    """Return how long ago the last audit was, infinity if there was none; None where none is overdue.

    One is where metrics are younger than it and older than `bound` seconds.
    """
    sql = """
    select coalesce(extract(epoch from clock_timestamp() - audited_at)::float, 'infinity') as seconds
    from (select max(audited_at) as audited_at from accounting_audits) latest
    where exists (
      select from lightfast_workspace_operations_metrics
      where timestamp > coalesce(audited_at, '-infinity')
        and timestamp < statement_timestamp() - make_interval(secs => :bound)
    )
    """
    return scalar(connection, sql, bound=bound)


def _rules(connection: Connection, audit_id: UUID) -> list[Rule]:
    sql = "select rule, expected, unexplained from accounting_audits where audit_id = :audit_id order by rule"
    return [Rule(**row) for row in rows(connection, sql, audit_id=audit_id)]


def _quoted(names: Collection[str]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(names))


def _flat(sql: str) -> str:
    return " ".join(sql.split())
