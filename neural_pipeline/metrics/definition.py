"""What a view is, as data: its columns with their units, the numbers it boils down to, and where its rows are."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from neural_pipeline.contracts.metrics import MetricType

ColumnType = Literal["text", "integer", "number", "flag", "day", "time", "json"]
"""text: str; integer: int; number: float; flag: bool; day: date (UTC); time: aware datetime; json: dict or list."""

Unit = Literal["count", "ms", "seconds", "percent", "points", "tokens"]
"""points: of cluster affinity, 0 to 100."""


class Area(StrEnum):
    """What a view is about: the work itself, what became of the events, what is remembered, or the models asked."""

    OPERATIONS = "operations"
    OBSERVATIONS = "observations"
    MEMORY = "memory"
    MODELS = "models"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view; every one but a `key` may be null where its description says when."""

    name: str
    type: ColumnType
    description: str
    unit: Unit | None = None
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """One figure of a view for a period, under a name that never changes: Dagster draws it over time by that name.

    `sql` is an expression over the view's rows, like `sum(failed)`; it gives null where there is nothing to tell.
    `rows_behind`: as for a view, of those rows that this number is of; None: all that are behind its view.
    """

    name: str
    unit: Unit
    meaning: str
    sql: str
    rows_behind: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A view of metrics/views: its file, its asset and its section of docs/metrics.md have its name.

    `tables`: what it reads, as people know it. `metrics`: the metric types it reads. `by_day`: it has a column `day`
    (UTC) that a period is chosen by; the others tell the present state. `order`: how its rows are shown.
    `rows_behind`: a `neural` command or SQL that shows the rows behind a number; `{since}` and `{until}` stand for the
    first day and the day after the last of the period.
    """

    name: str
    area: Area
    description: str
    columns: tuple[Column, ...]
    numbers: tuple[Number, ...]
    tables: tuple[str, ...]
    rows_behind: str
    order: str
    metrics: tuple[MetricType, ...] = ()
    by_day: bool = False
