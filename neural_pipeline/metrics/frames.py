"""Reading a view: its rows as a pandas DataFrame with the declared columns, its numbers for a period."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from neural_pipeline.metrics.definition import ColumnType, Unit, View
from neural_pipeline.store.sql import rows

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection

_DTYPES: dict[ColumnType, str] = {
    "text": "string",
    "integer": "Int64",
    "number": "Float64",
    "flag": "boolean",
    "time": "datetime64[us, UTC]",
    "day": "object",
    "json": "object",
}
"""The pandas dtype of each type of column; all of them hold nulls."""


class ColumnsDiffer(Exception):
    """A view has other columns than its entry in the catalogue declares: mend whichever is wrong."""


class Period(NamedTuple):
    """Whole days (UTC): from `since` to the day before `until`."""

    since: date
    until: date

    @property
    def days(self) -> int:
        """Return how many days it has."""
        return (self.until - self.since).days


def last_days(days: int, *, now: datetime) -> Period:
    """Return the period of so many days that ends with today (UTC), of which only a part has passed."""
    until = now.astimezone(UTC).date() + timedelta(days=1)
    return Period(until - timedelta(days=days), until)


def frame_of(connection: Connection, view: View, period: Period, *, limit: int = 10_000) -> pd.DataFrame:
    """Return the first `limit` rows of a view in its order; one that goes by days, for the period only.

    Every column has the dtype of its declared type. Raises ColumnsDiffer.
    """
    import pandas as pd  # imports are most of what a run worker takes
    from sqlalchemy import text

    sql = f"select * from {view.name} where {_within(view)} order by {view.order} limit :limit"  # noqa: S608
    result = connection.execute(text(sql), {"since": period.since, "until": period.until, "limit": limit})
    names = [column.name for column in view.columns]
    if list(result.keys()) != names:
        raise ColumnsDiffer(f"{view.name} has {list(result.keys())}, the catalogue declares {names}")
    frame = pd.DataFrame([tuple(row) for row in result], columns=names)
    return frame.astype({column.name: _DTYPES[column.type] for column in view.columns})


def count_of(connection: Connection, view: View, period: Period) -> int:
    """Return how many rows a view has; one that goes by days, in the period."""
    sql = f"select count(*) as rows from {view.name} where {_within(view)}"  # noqa: S608 - made of the catalogue
    [row] = rows(connection, sql, since=period.since, until=period.until)
    return row["rows"]


def numbers_of(connection: Connection, view: View, period: Period) -> dict[str, int | float]:
    """Return the view's numbers for a period, those that have something to tell: counts as int, the rest as float."""
    if not view.numbers:
        return {}
    expressions = ", ".join(f"({number.sql}) as {number.name}" for number in view.numbers)
    sql = f"select {expressions} from {view.name} where {_within(view)}"  # noqa: S608 - made of the catalogue
    [row] = rows(connection, sql, since=period.since, until=period.until)
    return {one.name: _plain(row[one.name], one.unit) for one in view.numbers if row[one.name] is not None}


def _within(view: View) -> str:
    return "day >= :since and day < :until" if view.by_day else "cast(:since as date) < cast(:until as date)"


def _plain(value: Decimal | float, unit: Unit) -> int | float:
    return int(value) if unit == "count" else float(value)
