"""A log of metrics made at random, in each state of being added up, and the means to count it by other ways."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, create_engine, text

from neural_pipeline.contracts.metrics import Metric
from neural_pipeline.metrics.definition import View
from neural_pipeline.metrics.frames import Period
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store.rollups import refresh
from neural_pipeline_tests.building import workspaces
from neural_pipeline_tests.measured import metric, write_metrics

STATES = ("in the tail", "rolled up", "half of it rolled up")
FIRST = date(2026, 3, 1)
DAYS = 5
A_DAY = Period(FIRST + timedelta(days=2), FIRST + timedelta(days=3))
ALL_DAYS = Period(FIRST, FIRST + timedelta(days=DAYS))

Row = dict[str, Any]
Draw = Callable[[random.Random], tuple[str, int, dict[str, Any]]]
"""Makes a metric: its type, value and tags."""


@dataclass(frozen=True, slots=True)
class Log:
    """The log as it is stored; each row also has `day`, counted here."""

    connection: Connection
    rows: list[Row]

    def of(self, *types: str, **tags: Any) -> Iterator[Row]:
        """Return the metrics of these types that have such tags."""
        for row in self.rows:
            if row["type"] in types and all(row["tags"].get(name) == value for name, value in tags.items()):
                yield row

    def view(self, name: str) -> list[dict[str, Any]]:
        """Return all rows of a view."""
        return read(self.connection, f"select * from {name}")


@contextmanager
def a_log(server: Path, template: str, state: str, *, draw: Draw, count: int = 400) -> Iterator[Log]:
    """Make a database with a log in one of the states; its clock goes by another zone than UTC."""
    name, admin = f"log_{uuid4().hex}", server_url(server, "postgres")
    create_database(admin, name, template=template)
    engine = create_engine(server_url(server, name))
    with engine.begin() as connection:
        connection.execute(text(f"alter database {name} set timezone to 'Pacific/Auckland'"))
        workspaces(connection, "ws_test")
    engine.dispose()
    _write(engine, metrics_at_random(draw, count), state)
    with engine.begin() as connection:
        yield Log(connection, _stored(connection))
    engine.dispose()
    drop_database(admin, name)


def metrics_at_random(draw: Draw, count: int) -> list[tuple[Metric, datetime]]:
    """Make metrics of all hours of some days, always the same ones, each with its time."""
    chance = random.Random(7)  # noqa: S311
    midnight = datetime.combine(FIRST, datetime.min.time(), UTC)
    found = [(draw(chance), chance.randrange(DAYS * 86_400)) for _ in range(count)]
    return [(metric(type_, value, **tags), midnight + timedelta(seconds=at)) for (type_, value, tags), at in found]


def read(connection: Connection, sql: str) -> list[dict[str, Any]]:
    """Run SQL as it stands, as a person with psql would."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute(sql)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def rows_behind(connection: Connection, view: View, period: Period) -> list[dict[str, Any]]:
    """Return what the view's way to the rows behind its numbers shows for a period."""
    return read(connection, view.rows_behind.format(since=period.since, until=period.until))


def percent(part: int, whole: int) -> float | None:
    """Return a share as the views tell it, with two decimals."""
    return round(100 * part / whole, 2) if whole else None


def plain(rows: Sequence[dict[str, Any]], *key: str) -> dict[Any, dict[str, Any]]:
    """Return rows by their key, numbers as Python compares them."""
    by_key = {}
    for row in rows:
        rest = {name: value for name, value in row.items() if name not in key}
        by_key[tuple(row[name] for name in key)] = {
            name: float(value) if type(value).__name__ == "Decimal" else value for name, value in rest.items()
        }
    assert len(by_key) == len(rows), "two rows have the same key"
    return by_key


def _write(engine: Engine, metrics: Sequence[tuple[Metric, datetime]], state: str) -> None:
    first = {"in the tail": 0, "rolled up": len(metrics), "half of it rolled up": len(metrics) // 2}[state]
    with engine.begin() as connection:
        write_metrics(connection, metrics[:first])
    if first:
        assert refresh(engine).metrics == first
    with engine.begin() as connection:
        write_metrics(connection, metrics[first:])


def _stored(connection: Connection) -> list[Row]:
    sql = "select id, type, value, tags, timestamp from lightfast_workspace_operations_metrics order by id"
    return [row | {"day": row["timestamp"].astimezone(UTC).date()} for row in read(connection, sql)]
