"""Adding metrics up by day and hour, each row once, so that reports read sums. What is behind, the views add.

Rows get their ids before they are committed: a row may appear below ids that are counted already. So the end of what is
counted is chosen first, and nothing is counted before every writer of that moment has come to its end.
"""

import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from neural_pipeline.store.sql import rows, run, scalar

SLICE = 100_000
"""Ids added up in one transaction."""

_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How many metrics were added up, the last id counted, and whether a writer was still at work at the end."""

    metrics: int
    through_id: int
    is_behind: bool


def refresh(engine: Engine, *, patience: float = 30.0, slice_: int = SLICE) -> Refreshed:
    """Add up all metrics committed so far; after `patience` seconds of waiting for writers, leave it to the next time.

    Safe to call from several processes at once, and to kill: each transaction counts a slice and moves the mark.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        end = int(scalar(connection, _LAST_ID) or 0)
        is_behind = not _writers_end(connection, patience)
    counted, through = 0, None
    while not is_behind and (through is None or through < end):
        with engine.begin() as connection:
            more, through = _count_slice(connection, end, slice_)
        counted += more
    with engine.begin() as connection:
        mark = int(scalar(connection, "select through_id from rollup_progress"))
    return Refreshed(counted, mark, is_behind)


def forget_before(connection: Connection, moment: datetime) -> None:
    """Remove the sums of the days (UTC) before a midnight: those whose metrics retention removes."""
    run(
        connection,
        "delete from metric_days where day < (cast(:moment as timestamptz) at time zone 'UTC')::date",
        moment=moment,
    )
    run(
        connection,
        "delete from duration_days where day < (cast(:moment as timestamptz) at time zone 'UTC')::date",
        moment=moment,
    )
    run(connection, "delete from metric_hours where hour < :moment", moment=moment)


_LAST_ID = "select pg_sequence_last_value(pg_get_serial_sequence('lightfast_workspace_operations_metrics', 'id'))"

_WRITERS = """
select virtualtransaction from pg_locks
where locktype = 'relation' and mode = 'RowExclusiveLock' and granted
  and relation = 'lightfast_workspace_operations_metrics'::regclass
  and database = (select oid from pg_database where datname = current_database())
"""


def _writers_end(connection: Connection, patience: float) -> bool:
    """Wait until every transaction that is writing metrics now has ended; tell whether they have."""
    deadline = time.monotonic() + patience
    writers = {row["virtualtransaction"] for row in rows(connection, _WRITERS)}
    while writers and time.monotonic() < deadline:
        time.sleep(_POLL)
        writers &= {row["virtualtransaction"] for row in rows(connection, _WRITERS)}
    return not writers


_METRIC_DAYS = """
insert into metric_days as d (day, type, dimensions, metrics, total)
select day, type, neural_metric_dimensions(type, tags), count(*), sum(value)
from metrics_behind where id <= :end group by 1, 2, 3
on conflict (day, type, dimensions) do update
set metrics = d.metrics + excluded.metrics, total = d.total + excluded.total
"""
_METRIC_HOURS = """
insert into metric_hours as h (hour, job_type, outcome, runs, run_ms)
select hour, tags ->> 'jobType', tags ->> 'outcome', count(*), sum(value)
from metrics_behind where type = 'job_duration' and id <= :end group by 1, 2, 3
on conflict (hour, job_type, outcome) do update set runs = h.runs + excluded.runs, run_ms = h.run_ms + excluded.run_ms
"""
_DURATION_DAYS = """
insert into duration_days as d (day, job_type, outcome, measure, bucket, runs)
select day, tags ->> 'jobType', tags ->> 'outcome', measure, neural_duration_bucket(milliseconds), count(*)
from metrics_behind cross join lateral neural_durations(value, tags)
where type = 'job_duration' and id <= :end group by 1, 2, 3, 4, 5
on conflict (day, job_type, outcome, measure, bucket) do update set runs = d.runs + excluded.runs
"""


def _count_slice(connection: Connection, end: int, slice_: int) -> tuple[int, int]:
    """Count one more slice of ids, up to `end`; return how many metrics were in it, and the new mark."""
    before = int(scalar(connection, "select through_id from rollup_progress for update"))
    through = max(before, min(before + slice_, end))
    counted = int(scalar(connection, "select count(*) from metrics_behind where id <= :end", end=through))
    if counted:
        for sql in (_METRIC_DAYS, _METRIC_HOURS, _DURATION_DAYS):
            run(connection, sql, end=through)
    sql = "update rollup_progress set through_id = :through, refreshed_at = clock_timestamp()"
    run(connection, sql, through=through)
    return counted, through
