"""Adding metrics up by day and hour, each row once, so that reports read sums. What is behind, the views add.

Rows get their ids before they are committed: a row may appear below ids that are counted already. So the end of what is
counted is chosen first, and nothing is counted before every writer of that moment has come to its end. Who inserts a
row holds a lock on the table from before the row has its id until all can see it: pg_locks shows every writer there is.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from sqlalchemy import Connection, Engine

from neural_pipeline.store.sql import rows, run, scalar

SLICE = 100_000
"""Metrics added up in one transaction."""

_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How many metrics were added up, the last id counted, and whether a writer was still at work at the end."""

    metrics: int
    through_id: int
    is_behind: bool


def refresh(engine: Engine, *, patience: float = 30.0, slice_: int = SLICE, slices: int | None = None) -> Refreshed:
    """Add up all metrics committed so far; after `patience` seconds of waiting for writers, leave it to the next time.

    `slices`: the most to count, if not all; the views add what is left. A prepared transaction is a writer until
    somebody commits it or rolls it back. Safe to call from several processes at once, and to kill: each transaction
    counts a slice and moves the mark.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        end = int(scalar(connection, _LAST_ID))
        is_behind = not _writers_end(connection, patience)
    counted, turns = 0, count() if slices is None else range(slices)
    for _ in turns if not is_behind else ():
        with engine.begin() as connection:
            found = _count_slice(connection, end, slice_)
        counted += found
        if found < slice_:
            break
    with engine.begin() as connection:
        mark = int(scalar(connection, "select through_id from rollup_progress"))
    return Refreshed(counted, mark, is_behind)


def hold_still(connection: Connection) -> int:
    """Have nobody add up until the end of this transaction; return the last id counted."""
    return int(scalar(connection, "select through_id from rollup_progress for update"))


def forget_before(connection: Connection, moment: datetime) -> None:
    """Remove the sums of the days (UTC) before a midnight; their metrics must be gone by the end of the transaction."""
    day = "(cast(:moment as timestamptz) at time zone 'UTC')::date"
    for table in ("metric_days", "duration_days", "percentile_days"):
        run(connection, f"delete from {table} where day < {day}", moment=moment)  # noqa: S608 - constants
    run(connection, "delete from metric_hours where hour < :moment", moment=moment)


_LAST_ID = "select coalesce(max(id), 0) from lightfast_workspace_operations_metrics"

_WRITERS = """
select virtualtransaction as id from pg_locks
where locktype = 'relation' and mode = 'RowExclusiveLock' and granted
  and relation = 'lightfast_workspace_operations_metrics'::regclass
  and database = (select oid from pg_database where datname = current_database())
"""


def _writers_end(connection: Connection, patience: float) -> bool:
    """Wait until every transaction that is writing metrics now has ended; tell whether they have."""
    deadline = time.monotonic() + patience
    writers = {row["id"] for row in rows(connection, _WRITERS)}
    while writers and time.monotonic() < deadline:
        time.sleep(_POLL)
        writers &= {row["id"] for row in rows(connection, _WRITERS)}
    return not writers


_METRIC_DAYS = """
insert into metric_days as d (day, type, dimensions, metrics, total)
select day, type, neural_metric_dimensions(type, tags), count(*), sum(value)
from metrics_behind where id <= :end group by 1, 2, 3
on conflict (day, type, dimensions) do update
set metrics = d.metrics + excluded.metrics, total = d.total + excluded.total
"""
_METRIC_HOURS = """
insert into metric_hours as h (hour, job_type, outcome, runs, begun, run_ms)
select hour, job_type, outcome, count(*), count(*) filter (where is_begun), sum(value)
from metrics_behind where type = 'job_duration' and id <= :end group by 1, 2, 3
on conflict (hour, job_type, outcome) do update
set runs = h.runs + excluded.runs, begun = h.begun + excluded.begun, run_ms = h.run_ms + excluded.run_ms
"""
_DURATION_DAYS = """
insert into duration_days as d (day, job_type, outcome, measure, bucket, runs)
select day, job_type, outcome, measure, neural_duration_bucket(milliseconds), count(*)
from metrics_behind cross join lateral neural_durations(value, tags)
where type = 'job_duration' and id <= :end group by 1, 2, 3, 4, 5
on conflict (day, job_type, outcome, measure, bucket) do update set runs = d.runs + excluded.runs
"""
_PERCENTILE_DAYS = """
insert into percentile_days (day, job_type, outcome, measure, runs, p50, p95, p99, longest)
select h.day, h.job_type, h.outcome, h.measure, p.*
from (
  select day, job_type, outcome, measure, array_agg(bucket) as buckets, array_agg(runs) as counts
  from duration_days
  where day = any(array(select distinct day from metrics_behind where type = 'job_duration' and id <= :end))
  group by 1, 2, 3, 4
) h cross join lateral neural_percentiles(h.buckets, h.counts) p
on conflict (day, job_type, outcome, measure) do update set runs = excluded.runs, p50 = excluded.p50,
  p95 = excluded.p95, p99 = excluded.p99, longest = excluded.longest
"""


_SLICE = """
select count(*) as metrics, max(id) as through
from (select id from metrics_behind where id <= :end order by id limit :size) slice
"""


def _count_slice(connection: Connection, end: int, size: int) -> int:
    """Count the next metrics with ids up to `end`, move the mark behind them; return how many they were."""
    # Several times the work of any other statement: a limit meant for those would stop it for good.
    run(connection, "set local statement_timeout = 0")
    before = hold_still(connection)
    [found] = rows(connection, _SLICE, end=end, size=size)
    if found["metrics"]:
        for sql in (_METRIC_DAYS, _METRIC_HOURS, _DURATION_DAYS, _PERCENTILE_DAYS):
            run(connection, sql, end=found["through"])
    move = "update rollup_progress set through_id = :through, refreshed_at = clock_timestamp()"
    run(connection, move, through=found["through"] or before)
    return int(found["metrics"])
