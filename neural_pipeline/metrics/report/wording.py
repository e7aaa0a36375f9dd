"""How values are told to people: thousands, units, changes; and text from outside on one line, made harmless."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import assert_never

from neural_pipeline.metrics.definition import Column, Unit
from neural_pipeline.metrics.frames import Period

NULL = "\u2013"
"""What stands where there is nothing to tell."""

_GAP = "\u00a0"
"""Between a number and its unit, where no line is broken."""

LONGEST_TEXT = 300
"""Characters of a text that are shown."""

_JOINERS = "\u200c\u200d"
_SPANS = ((60_000, 1000, "min", "s", 3600), (3_600_000, 60_000, "h", "min", 1440), (86_400_000, 3_600_000, "d", "h", 0))
"""Milliseconds of a unit and of the next smaller one, their names, and how many of the smaller are too many for it."""


def one_line(text: str, *, longest: int = LONGEST_TEXT) -> str:
    """Return text on one line without control or direction characters, cut with an ellipsis."""
    line = "".join(_shown(character) for character in text[: longest + 1])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return " " if character.isspace() else "\ufffd"


def told(value: object, unit: Unit | None = None) -> str:
    """Return a value as people read it; a number without a unit is a name, like an id, and stays as it is."""
    match value:
        case None:
            return NULL
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return _number(value, unit)
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case str():
            return one_line(value)
        case _:
            return one_line(json.dumps(value, ensure_ascii=False, default=str))


def _number(value: float, unit: Unit | None) -> str:
    match unit:
        case "count" | "tokens":
            return f"{value:,.0f}"
        case "percent":
            return f"{value:.1f}{_GAP}%"
        case "points":
            return str(value) if isinstance(value, int) else f"{value:.1f}"
        case "ms":
            return span(value)
        case "seconds":
            return span(value * 1000) if value >= 1 else f"{value:.1g}{_GAP}s"
        case None:
            return str(value) if isinstance(value, int) else f"{value:,.2f}"
        case _:
            assert_never(unit)


def span(ms: float) -> str:
    """Return a length of time: 0.4 ms, 850 ms, 1.2 s, 2 min 5 s, 3 h 12 min, 4 d 6 h."""
    if ms < 0:
        return f"-{span(-ms)}"
    if ms < 999.5:
        return f"{ms:.1f}{_GAP}ms" if ms % 1 and ms < 10 else f"{ms:.0f}{_GAP}ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f}{_GAP}s"
    whole, part, name, part_name, _ = next(one for one in _SPANS if round(ms / one[1]) < one[4] or not one[4])
    wholes, parts = divmod(round(ms / part), whole // part)
    first = f"{wholes:,}{_GAP}{name}"
    return f"{first} {parts}{_GAP}{part_name}" if parts else first


def change(value: float | None, before: float | None, unit: Unit) -> str:
    """Say how a number has changed since the period before."""
    if before is None:
        return "nothing before"
    was = told(before, unit)
    if value is None:
        return f"{was} before"
    if told(value, unit) == was:
        return "as before"
    sign = "▲" if value > before else "▼"
    by = f"{abs(value - before):.1f}{_GAP}points" if unit == "percent" else told(abs(value - before), unit)
    return f"{sign}{_GAP}{by} from {was}"


def titled(name: str) -> str:
    """Return the name of a view or area as a heading."""
    return name.replace("_", " ").capitalize()


def column_title(column: Column) -> str:
    """Return the name of a column as a heading; its unit is in its values."""
    for ending in ("_ms", "_seconds"):
        if column.unit and column.name.endswith(ending):
            return column.name.removesuffix(ending).replace("_", " ")
    return column.name.replace("_", " ")


def period_told(period: Period) -> str:
    """Return the days of a period."""
    last = period.until - timedelta(days=1)
    return f"{period.since}" if period.days == 1 else f"{period.since} to {last}"


def about(period: Period, before: Period | None, *, now: datetime) -> str:
    """Say how long the period is, what it is compared with, and when all was read."""
    days = "1 day" if period.days == 1 else f"{period.days} whole days"
    partly = " The last one is not over yet." if now.astimezone(UTC).date() < period.until else ""
    read = f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    compared = f"Compared with {period_told(before)}" if before else "As many days before are not kept to compare with"
    return f"{days} (UTC).{partly} {compared}. Read at {read}."
