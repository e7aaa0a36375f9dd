"""What a report tells of, read in one moment: each view's rows and numbers, and those of the period before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.definition import Number, View
from neural_pipeline.metrics.frames import Period, frame_of, numbers_of
from neural_pipeline.store.sql import rows

MOST_ROWS = 20_000
"""Rows of a view that are read: charts need all of a period, and a month's hours of all functions are a third of it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a view, and what it was in the period before; None where there was nothing to tell.

    `before` means nothing for a view of the present state.
    """

    number: Number
    value: int | float | None
    before: int | float | None


@dataclass(frozen=True, slots=True)
class Section:
    """What one view says; the rows are mappings of plain values in the view's order."""

    view: View
    figures: tuple[Figure, ...]
    rows: Sequence[Mapping[str, Any]]
    rows_behind: str


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a report tells of, and the period that it is compared with."""

    period: Period
    before: Period
    read_at: datetime
    sections: tuple[Section, ...]


def gather(engine: Engine, period: Period, *, now: datetime) -> Contents:
    """Read everything in one transaction that changes nothing, so that all numbers are of the same moment."""
    before = Period(period.since - (period.until - period.since), period.since)
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            sections = tuple(_section(connection, view, period, before=before) for view in VIEWS)
    return Contents(period, before, now, sections)


def _section(connection: Connection, view: View, period: Period, *, before: Period) -> Section:
    values = numbers_of(connection, view, period)
    earlier = numbers_of(connection, view, before) if view.by_day else {}
    figures = tuple(Figure(one, values.get(one.name), earlier.get(one.name)) for one in view.numbers)
    if any(one.name in _OF_ALL_DAYS for one in view.numbers):
        merged, merged_before = (capture_p95(connection, one) for one in (period, before))
        figures = tuple(_of_all_days(figure, merged, before=merged_before) for figure in figures)
    frame = frame_of(connection, view, period, limit=MOST_ROWS).astype(object)
    found: list[dict[str, Any]] = frame.where(frame.notna(), None).to_dict("records")  # pyright: ignore[reportAssignmentType]
    return Section(view, figures, found, filled_in(view.rows_behind, period))


_OF_ALL_DAYS = {f"capture_{measure}_p95_ms": measure for measure in ("run", "queue", "total")}
"""Percentiles, which the view has for each day and which do not follow from those: histograms of days add up."""


def _of_all_days(figure: Figure, values: Mapping[str, int], *, before: Mapping[str, int]) -> Figure:
    measure = _OF_ALL_DAYS.get(figure.number.name)
    if measure is None:
        return figure
    meaning = f"95th percentile ({measure}) of completed captures, of all days of the period together, within 1 %."
    return Figure(replace(figure.number, meaning=meaning), values.get(measure), before.get(measure))


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
