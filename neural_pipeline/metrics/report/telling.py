"""A report in words: what page and Markdown have in common. All is text as people read it, and not yet escaped."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from neural_pipeline.metrics.definition import Area, Column, Number, View
from neural_pipeline.metrics.report.gathering import Contents, Figure, Section
from neural_pipeline.metrics.report.wording import change, told

SHOWN_ROWS = 100
"""Rows of a view that a report shows."""

NOTHING_ENDED = "Nothing ended in this period."
NOTHING_NOW = "There is nothing at present."


class Told(NamedTuple):
    """A number: its name, what it is called and means, its value, how it changed, the rows it alone has behind it."""

    name: str

    label: str
    meaning: str
    value: str
    change: str
    rows_behind: str | None
    is_command: bool


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    is_number: bool


class Table(NamedTuple):
    """A table; `left_out` says that there are more rows, if so."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: str


class Part(NamedTuple):
    """What is told of a view; without rows, `nothing` says so."""

    view: View
    figures: tuple[Told, ...]
    table: Table
    nothing: str
    rows_behind: str
    is_command: bool
    whole: str


def parts_of(contents: Contents, area: Area) -> list[Part]:
    """Return what is told of the views of an area."""
    return [_part(section) for section in contents.sections if section.view.area is area]


def _part(section: Section) -> Part:
    view = section.view
    nothing = NOTHING_ENDED if view.by_day else NOTHING_NOW
    return Part(
        view,
        tuple(_figure(view, one) for one in section.figures),
        _table(section),
        "" if section.rows else nothing,
        section.rows_behind,
        _is_command(section.rows_behind),
        section.whole,
    )


def _is_command(rows_behind: str | None) -> bool:
    return (rows_behind or "").startswith("neural ")


def _figure(view: View, figure: Figure) -> Told:
    number = figure.number
    changed = change(figure.value, figure.before, number.unit) if view.by_day else ""
    value, behind = told(figure.value, number.unit), figure.rows_behind
    return Told(number.name, _called(number), number.meaning, value, changed, behind, _is_command(behind))


def _called(number: Number) -> str:
    """Return the name of a number without its unit, which its value has."""
    unit = number.unit
    bare = number.name if unit == "count" else number.name.removesuffix(f"_{unit}").removeprefix(f"{unit}_")
    return bare.replace("_", " ")


def _table(section: Section) -> Table:
    columns = section.view.columns
    shown = section.rows[:SHOWN_ROWS]
    left_out = f"The first {len(shown)} rows are shown; there are more." if len(section.rows) > len(shown) else ""
    return Table(columns, tuple(_row(row, columns) for row in shown), left_out)


def _row(row: Mapping[str, Any], columns: tuple[Column, ...]) -> tuple[Cell, ...]:
    return tuple(Cell(told(row[column.name], column.unit), is_numeric(column)) for column in columns)


def is_numeric(column: Column) -> bool:
    """Tell whether a column holds numbers to compare, which stand on the right."""
    return column.type in {"integer", "number"}


HEADLINES: Mapping[str, str] = {
    "executions_ended": "Executions",
    "success_rate_percent": "Success rate",
    "observations_captured": "Observations captured",
    "actor_resolution_rate_percent": "Actors resolved",
    "cluster_join_rate_percent": "Joined a cluster",
    "capture_run_p95_of_period_ms": "Capture run time, p95 (all days)",
    "capture_queue_p95_of_period_ms": "Capture queue wait, p95 (all days)",
    "inbox_oldest_due_seconds": "Oldest due now",
    "accounting_unexplained": "Unexplained by the last audit",
    "model_tokens": "Model tokens",
    "classification_fallback_rate_percent": "Classified by rules instead",
}
"""The numbers above all sections, by their names in the catalogue, or those that only the report has."""


def headlines(contents: Contents) -> list[Told]:
    """Return the numbers above all sections; one that the catalogue lacks is left out."""
    found = {figure.number.name: (section.view, figure) for section in contents.sections for figure in section.figures}
    return [_headline(label, *found[name]) for name, label in HEADLINES.items() if name in found]


def _headline(label: str, view: View, figure: Figure) -> Told:
    plain = _figure(view, figure)
    return plain._replace(label=label, change=plain.change or "at present")
