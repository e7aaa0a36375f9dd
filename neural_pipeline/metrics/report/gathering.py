"""What a report tells of, read in one moment: each view's rows and numbers, and those of the period before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.definition import Number, View
from neural_pipeline.metrics.frames import Period, frame_of, numbers_of
from neural_pipeline.metrics.of_operations import DURATION_PERCENTILES
from neural_pipeline.store.sql import rows

MOST_DAYS = 366
"""Days that a report tells of at most."""

MOST_ROWS = 50_000
"""Rows of a view that are read: charts need all of a period, and a year's percentiles of all functions are a third."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a view, and what it was in the period before; None where there was nothing to tell.

    `before` means nothing for a view of the present state. `rows_behind`: as for a section, of this number alone, if
    it has its own.
    """

    number: Number
    value: int | float | None
    before: int | float | None
    rows_behind: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """What one view says; the rows are mappings of plain values in the view's order, `whole` is SQL for all of them."""

    view: View
    figures: tuple[Figure, ...]
    rows: Sequence[Mapping[str, Any]]
    rows_behind: str
    whole: str


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a report tells of, and the period it is compared with; None where that is not kept any more."""

    period: Period
    before: Period | None
    read_at: datetime
    sections: tuple[Section, ...]


def gather(engine: Engine, period: Period, *, now: datetime, keep_days: int | None = None) -> Contents:
    """Read everything in one transaction that changes nothing, so that all numbers are of the same moment.

    `keep_days`: days that metrics are kept; None: for ever. Days of which some are gone are compared with nothing.
    """
    before = _days_before(period, now=now, keep_days=keep_days)
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            sections = tuple(_section(connection, view, period, before=before) for view in VIEWS)
    return Contents(period, before, now, sections)


def _days_before(period: Period, *, now: datetime, keep_days: int | None) -> Period | None:
    """Return as many days before a period, None where retention has removed any of them."""
    before = Period(period.since - (period.until - period.since), period.since)
    is_kept = keep_days is None or before.since >= now.astimezone(UTC).date() - timedelta(days=keep_days)
    return before if is_kept else None


def _section(connection: Connection, view: View, period: Period, *, before: Period | None) -> Section:
    values = _values(connection, view, period)
    earlier = _values(connection, view, before) if before and view.by_day else {}
    figures = tuple(
        Figure(one, values.get(one.name), earlier.get(one.name), one.rows_behind and filled_in(one.rows_behind, period))
        for one in (*view.numbers, *OF_ALL_DAYS.get(view.name, ()))
    )
    frame = frame_of(connection, view, period, limit=MOST_ROWS).astype(object)
    found: list[dict[str, Any]] = frame.where(frame.notna(), None).to_dict("records")  # pyright: ignore[reportAssignmentType]
    return Section(view, figures, found, filled_in(view.rows_behind, period), _whole(view, period))


def _values(connection: Connection, view: View, period: Period) -> dict[str, int | float]:
    values = numbers_of(connection, view, period)
    if view.name not in OF_ALL_DAYS:
        return values
    merged = capture_p95(connection, period)
    return values | {_of_all_days(measure): milliseconds for measure, milliseconds in merged.items()}


def _whole(view: View, period: Period) -> str:
    within = f" where day >= '{period.since}' and day < '{period.until}'" if view.by_day else ""
    return f"select * from {view.name}{within} order by {view.order}"  # noqa: S608 - made of the catalogue


def filled_in(rows_behind: str, period: Period) -> str:
    """Return the command or SQL of a view for a period."""
    return rows_behind.replace("{since}", str(period.since)).replace("{until}", str(period.until))


_P95 = """
select measure, neural_bucket_ms(min(bucket)) as ms
from (
  select measure, bucket, sum(sum(runs)) over (partition by measure order by bucket) as upto,
    sum(sum(runs)) over (partition by measure) as ended
  from duration_histogram
  where day >= :since and day < :until and job_type = :function_id and outcome = 'completed'
  group by measure, bucket
) cumulated
where upto >= ceil(0.95 * ended)
group by measure
"""


def capture_p95(connection: Connection, period: Period) -> dict[str, int]:
    """Return the p95 of each measure of completed captures in ms: nearest rank, over the histograms of a period."""
    found = rows(
        connection, _P95, since=period.since, until=period.until, function_id=FunctionId.OBSERVATION_CAPTURE.value
    )
    return {row["measure"]: row["ms"] for row in found}


def _of_all_days(measure: str) -> str:
    return f"capture_{measure}_p95_of_period_ms"


def _merged(view: View) -> Iterator[Number]:
    by_name = {number.name: number for number in view.numbers}
    for measure in ("queue", "run", "total"):
        meaning = f"95th percentile ({measure}) of completed captures, of all days of the period together, within 1 %."
        yield replace(by_name[f"capture_{measure}_p95_ms"], name=_of_all_days(measure), meaning=meaning, sql=_P95)


OF_ALL_DAYS: Mapping[str, tuple[Number, ...]] = {view.name: tuple(_merged(view)) for view in (DURATION_PERCENTILES,)}
"""Numbers of a view that only the report has. Percentiles of several days do not follow from those of each day."""
