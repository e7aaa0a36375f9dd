"""Which views get a chart, and of what. How a chart is drawn is `drawing`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.metrics.frames import Period
from neural_pipeline.metrics.report.drawing import (
    BAD,
    GOOD,
    NEUTRAL,
    SERIES,
    Axes,
    bars_by_name,
    bars_by_place,
    drawn,
    lines_by_place,
)
from neural_pipeline.metrics.report.gathering import Section
from neural_pipeline.metrics.report.wording import one_line

_Rows = Sequence[Mapping[str, Any]]
_LONGEST_NAME, _LONGEST_TICK = 36, 18
_MOST_NAMES = 8
_OUTCOMES = ("completed", "failed", "cancelled")
_COLOURS_OF_OUTCOMES = (GOOD, BAD, NEUTRAL)
_LONG_MS = 2000
_DAYS_OF_HOURS = 31
"""Days back to which hourly_series reaches."""


class Chart(NamedTuple):
    """A chart as it stands in the page; the title says what is drawn in which unit."""

    title: str
    svg: str


class _Plan(NamedTuple):
    title: str
    draw: Callable[[Axes], None]


@dataclass(frozen=True, slots=True)
class _Charted:
    needs: tuple[str, ...]
    plan: Callable[[_Rows, Period], _Plan | None]


def chart_of(section: Section, period: Period) -> Chart | None:
    """Draw the chart of a view, None where it has none or there is nothing in the period."""
    charted = CHARTS.get(section.view.name)
    plan = charted.plan(section.rows, period) if charted and section.rows else None
    return plan and Chart(plan.title, drawn(plan.draw, name=section.view.name, title=plan.title))


def _executions_per_day(rows: _Rows, period: Period) -> _Plan | None:
    days = _days(period)
    series = [(outcome, _summed(rows, key="day", value=outcome, keys=days)) for outcome in _OUTCOMES]
    places = [_named(day) for day in days]
    draw = partial(bars_by_place, series=series, colours=_COLOURS_OF_OUTCOMES, places=places)
    return _Plan("Executions per day, by outcome", draw)


def _executions_per_hour(rows: _Rows, period: Period) -> _Plan | None:
    within = [row for row in rows if period.since <= row["hour"].date() < period.until]
    if not within:
        return None
    hours = _hours(row["hour"] for row in within)
    series = [(outcome, _summed(within, key="hour", value=outcome, keys=hours)) for outcome in _OUTCOMES]
    draw = partial(bars_by_place, series=series, colours=_COLOURS_OF_OUTCOMES, places=_names_of_hours(hours))
    reach = f" of the last {_DAYS_OF_HOURS} days" if period.days > _DAYS_OF_HOURS else ""
    return _Plan(f"Executions per hour{reach}, by outcome", draw)


def _durations(rows: _Rows, period: Period) -> _Plan | None:
    wanted = {("run", "p50_ms"): "run p50", ("run", "p95_ms"): "run p95", ("queue", "p95_ms"): "queue wait p95"}
    captures = [
        row
        for row in rows
        if row["function_id"] == FunctionId.OBSERVATION_CAPTURE.value and row["outcome"] == "completed"
    ]
    found = {(row["measure"], row["day"]): row for row in captures}
    days = _days(period)
    series = [
        (label, [found[measure, day][column] if (measure, day) in found else None for day in days])
        for (measure, column), label in wanted.items()
    ]
    longest = max((value for _, values in series for value in values if value is not None), default=None)
    if longest is None:
        return None
    unit, scale = ("seconds", 1000) if longest >= _LONG_MS else ("milliseconds", 1)
    scaled = [(label, [value and value / scale for value in values]) for label, values in series]
    draw = partial(lines_by_place, series=scaled, colours=SERIES, places=[_named(day) for day in days])
    return _Plan(f"Durations of completed captures per day, in {unit}", draw)


def _errors(rows: _Rows, period: Period) -> _Plan | None:
    return _per_day(rows, period, group="cause", value=lambda row: row["errors"], title="Errors per day, by cause")


def _model_tokens(rows: _Rows, period: Period) -> _Plan | None:
    def tokens(row: Mapping[str, Any]) -> int:
        return int(row["input_tokens"] + row["output_tokens"])

    return _per_day(rows, period, group="model", value=tokens, title="Tokens of models per day")


def _per_day(
    rows: _Rows, period: Period, *, group: str, value: Callable[[Mapping[str, Any]], int], title: str
) -> _Plan | None:
    """Stack the groups with most, at most as many as there are colours, over the days."""
    valued = [{"day": row["day"], "group": row[group], "value": value(row)} for row in rows]
    groups = _foremost(valued, key="group", value="value", most=len(SERIES))
    if not groups:
        return None
    days = _days(period)
    series = [
        (name, _summed([row for row in valued if row["group"] in members], key="day", value="value", keys=days))
        for name, members in groups
    ]
    draw = partial(bars_by_place, series=series, colours=SERIES, places=[_named(day) for day in days])
    return _Plan(title, draw)


def _join_rate(rows: _Rows, period: Period) -> _Plan | None:
    found = {row["day"]: row["join_rate"] for row in rows}
    days = _days(period)
    rates = [found.get(day) for day in days]
    if all(rate is None for rate in rates):
        return None
    draw = partial(lines_by_place, series=[("joined", rates)], colours=SERIES, places=[_named(day) for day in days])
    return _Plan("Observations that joined a cluster per day, in percent", draw)


_ENDS = ("received", "captured", "below_threshold", "not_allowed", "duplicate", "failed", "cancelled")


def _funnel(rows: _Rows, _period: Period) -> _Plan | None:
    sources = _foremost(rows, key="source", value="received", most=len(SERIES))
    if not sources:
        return None
    series = [
        (name, [sum(row[end] for row in rows if row["source"] in members) for end in _ENDS])
        for name, members in sources
    ]
    places = [end.replace("_", " ") for end in _ENDS]
    draw = partial(bars_by_name, series=series, colours=SERIES, places=places)
    return _Plan("What became of the events received, by source", draw)


def _resolution(rows: _Rows, _period: Period, *, key: str) -> _Plan | None:
    groups = _foremost(rows, key=key, value="events", most=_MOST_NAMES)
    resolved = [sum(row["resolved"] for row in rows if row[key] in members) for _, members in groups]
    events = [sum(row["events"] for row in rows if row[key] in members) for _, members in groups]
    unresolved = [every - one for every, one in zip(events, resolved, strict=True)]
    series = [("resolved", resolved), ("unresolved", unresolved)]
    draw = partial(bars_by_name, series=series, colours=(GOOD, NEUTRAL), places=_ticks(groups))
    return _Plan(f"Events with an actor, by {key}", draw) if groups else None


_BANDS = range(0, 100, 10)


def _affinity(rows: _Rows, _period: Period) -> _Plan | None:
    banded = [row for row in rows if row["band"] is not None]
    series = [
        ("joined", _summed(banded, key="band", value="joined", keys=_BANDS)),
        ("best one, rejected", _summed(banded, key="band", value="rejected", keys=_BANDS)),
    ]
    places = [f"{band} to {band + 10}" if band % 20 == 0 else "" for band in _BANDS]
    draw = partial(bars_by_place, series=series, colours=SERIES, places=places)
    return _Plan("Observations by their affinity to a cluster, in points", draw) if banded else None


def _categories(rows: _Rows, _period: Period) -> _Plan | None:
    groups = _foremost(rows, key="category", value="entities", most=_MOST_NAMES)
    entities = [sum(row["entities"] for row in rows if row["category"] in members) for _, members in groups]
    draw = partial(bars_by_name, series=[("entities", entities)], colours=SERIES, places=_ticks(groups))
    return _Plan("Entities by category", draw) if groups else None


CHARTS: Mapping[str, _Charted] = {
    "job_statistics": _Charted(("day", *_OUTCOMES), _executions_per_day),
    "hourly_series": _Charted(("hour", *_OUTCOMES), _executions_per_hour),
    "duration_percentiles": _Charted(("day", "function_id", "outcome", "measure", "p50_ms", "p95_ms"), _durations),
    "errors_by_cause": _Charted(("day", "cause", "errors"), _errors),
    "observation_funnel": _Charted(("source", *_ENDS), _funnel),
    "actor_resolution_by_source": _Charted(("source", "events", "resolved"), partial(_resolution, key="source")),
    "actor_resolution_by_method": _Charted(("method", "events", "resolved"), partial(_resolution, key="method")),
    "entities_by_category": _Charted(("category", "entities"), _categories),
    "affinity_distribution": _Charted(("band", "joined", "rejected"), _affinity),
    "cluster_join_rate": _Charted(("day", "join_rate"), _join_rate),
    "model_use": _Charted(("day", "model", "input_tokens", "output_tokens"), _model_tokens),
}
"""The views with a chart, and the columns that it is made of."""


def _days(period: Period) -> list[date]:
    return [period.since + timedelta(days=number) for number in range(period.days)]


def _hours(moments: Iterable[datetime]) -> list[datetime]:
    """Return every hour from the first moment to the last."""
    found = sorted(moments)
    return [
        found[0] + timedelta(hours=number) for number in range(int((found[-1] - found[0]).total_seconds()) // 3600 + 1)
    ]


def _names_of_hours(hours: Sequence[datetime]) -> list[str]:
    """Name the midnights; of two days and less, every sixth hour."""
    if len(hours) > 48:
        return [_named(hour.date()) if hour.hour == 0 else "" for hour in hours]
    return [f"{hour:%H}:00" if hour.hour % 6 == 0 else "" for hour in hours]


def _named(day: date) -> str:
    return f"{day.day} {day:%b}"


def _ticks(groups: Iterable[tuple[str, set[object]]]) -> list[str]:
    return [one_line(name, longest=_LONGEST_TICK) for name, _ in groups]


def _summed(rows: _Rows, *, key: str, value: str, keys: Iterable[object]) -> list[float]:
    """Return the sum of a column for each key, 0 where there is no row."""
    sums: defaultdict[object, float] = defaultdict(float)
    for row in rows:
        sums[row[key]] += row[value] or 0
    return [sums[one] for one in keys]


def _foremost(rows: _Rows, *, key: str, value: str, most: int) -> list[tuple[str, set[object]]]:
    """Return the keys with most, each with its name; those for which there is no place go together as `others`."""
    sums: defaultdict[object, float] = defaultdict(float)
    for row in rows:
        sums[row[key]] += row[value] or 0
    ordered = sorted((one for one in sums if sums[one]), key=lambda one: (-sums[one], str(one)))
    shown = ordered if len(ordered) <= most else ordered[: most - 1]
    named: list[tuple[str, set[object]]] = [(one_line(str(one), longest=_LONGEST_NAME), {one}) for one in shown]
    return [*named, ("others", set(ordered[most - 1 :]))] if len(shown) < len(ordered) else named
