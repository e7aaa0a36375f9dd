"""What stands in a site's database: bytes, write-ahead log, Dagster's records, and when what was done. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

SHOWN_TABLES = 8

_TOTALS = """
select pg_database_size(current_database()) as bytes, (pg_current_wal_insert_lsn() - '0/0')::bigint as wal,
  (select coalesce(max(id), 0) from incoming_events) as event_id,
  (select coalesce(max(id), 0) from intakes) as intake_id
"""
_TABLES = """
select relname, pg_total_relation_size(oid) from pg_class
where relkind = 'r' and relnamespace in (select oid from pg_namespace where nspname in ('public', 'neural_dagster'))
"""
_DAGSTER = """
select (select count(*) from neural_dagster.event_logs where id > :log_id) as rows,
  (select count(*) from neural_dagster.event_logs where id > :log_id and event like '%not forked%') as not_forked,
  (select count(*) from neural_dagster.runs where id > :run_id) as runs
"""
_DAGSTER_PLACES = """
select (select coalesce(max(id), 0) from neural_dagster.event_logs) as log_id,
  (select coalesce(max(id), 0) from neural_dagster.runs) as run_id
"""
_UNFINISHED_RUNS = """
select (select count(*) from neural_dagster.runs where status not in ('SUCCESS', 'FAILURE', 'CANCELED'))
  + (select count(*) from event_batches where state <> 'closed')
"""
_TO_EMPTY = """
select string_agg(quote_ident(table_name), ', ') from information_schema.tables
where table_schema = 'public' and table_type = 'BASE TABLE'
  and table_name not in ('neural_alembic_version', 'rollup_progress')
"""
# updated_at is set by clock_timestamp() when a row moves, a moment before the move is committed.
_MOMENTS = """
select extract(epoch from max(e.outcome_at) filter (where e.function_id = :capture))::float as capture_outcome,
  extract(epoch from max(r.updated_at) filter (where e.function_id = :capture))::float as capture_row,
  coalesce(extract(epoch from max(r.updated_at) filter (where e.function_id <> :capture)), 0)::float as child_row,
  count(*) filter (where e.function_id = :capture) as captures,
  count(*) filter (where e.function_id <> :capture) as children,
  count(*) filter (where e.outcome = 'superseded') as superseded,
  count(*) filter (where r.status is distinct from 'completed') as not_completed
from incoming_events e left join lightfast_workspace_workflow_runs r on r.event_id = e.id
where e.id > :after
"""
# Payloads are judged before the transaction of their chunk begins, and an intake is the last that is written in it.
_INTAKES = """
select count(*) as chunks, coalesce(sum(received), 0)::bigint as received,
  extract(epoch from max(i.created_at) - min(p.first))::float as working,
  sum(extract(epoch from i.created_at - p.last))::float as database
from intakes i
join (select intake_id, min(received_at) as first, max(received_at) as last from raw_payloads
      where intake_id > :after group by 1) p on p.intake_id = i.id
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A database at a moment: sizes in bytes, the place in its log, the last id of each kind of record."""

    bytes: int
    wal: int
    event_id: int
    intake_id: int
    tables: Mapping[str, int]


def record_of(connection: Connection) -> Record:
    """Return how a database stands now."""
    totals = connection.execute(text(_TOTALS)).mappings().one()
    tables = {row[0]: row[1] for row in connection.execute(text(_TABLES))}
    return Record(**totals, tables=tables)


def storage_since(before: Record, after: Record, *, events: int) -> dict[str, float]:
    """Return the bytes per event that were added: in all, of log, and of the tables that grew most."""
    grown = {name: (size - before.tables.get(name, 0)) / events for name, size in after.tables.items()}
    most = sorted(grown.items(), key=lambda one: -one[1])[:SHOWN_TABLES]
    return {
        "bytes_per_event": (after.bytes - before.bytes) / events,
        "wal_bytes_per_event": (after.wal - before.wal) / events,
    } | {f"bytes_per_event.{name}": size for name, size in most}


def dagster_places(connection: Connection) -> dict[str, int]:
    """Return the last ids of Dagster's records."""
    return dict(connection.execute(text(_DAGSTER_PLACES)).mappings().one())


def dagster_since(connection: Connection, before: Mapping[str, int], *, events: int) -> dict[str, float]:
    """Return what Dagster has written since: rows of its event log per 1,000 events, and runs."""
    found = connection.execute(text(_DAGSTER), before).mappings().one()
    return {
        "event_log_rows_per_1000": 1000 * found["rows"] / events,
        "dagster_runs": found["runs"],
        "runs_not_forked": found["not_forked"],
    }


def unfinished_runs(connection: Connection) -> int:
    """Return how many of Dagster's runs and of our batches are not at their end."""
    return connection.execute(text(_UNFINISHED_RUNS)).scalar_one()


def moments_since(connection: Connection, before: Record) -> dict[str, float]:
    """Return the times (epoch) of the last outcome and rows since, and how many executions there were."""
    parameters = {"after": before.event_id, "capture": "neural.observation.capture"}
    return dict(connection.execute(text(_MOMENTS), parameters).mappings().one())


def intakes_since(connection: Connection, before: Record) -> dict[str, float]:
    """Return what was handed in since: payloads and chunks; seconds from the first to the last, and in Postgres."""
    return dict(connection.execute(text(_INTAKES), {"after": before.intake_id}).mappings().one())


def forget_everything(engine: Engine) -> None:
    """Empty our tables. Ids go on: Dagster knows the batches that had the former ones."""
    with engine.begin() as connection:
        connection.execute(text("set local lock_timeout = '30s'"))
        tables = connection.execute(text(_TO_EMPTY)).scalar_one()
        connection.execute(text(f"truncate {tables} cascade"))
