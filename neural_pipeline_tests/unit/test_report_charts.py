"""The charts of a report: made of columns that there are, the same for equal data, and harmless inside a page."""

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from neural_pipeline.metrics.catalogue import BY_NAME
from neural_pipeline.metrics.frames import Period
from neural_pipeline.metrics.report.charts import CHARTS, chart_of
from neural_pipeline.metrics.report.gathering import OF_ALL_DAYS, Section
from neural_pipeline.metrics.report.telling import HEADLINES
from neural_pipeline_tests.report_world import CAPTURE, HOSTILE

WEEK = Period(date(2026, 3, 2), date(2026, 3, 9))
QUARTER = Period(date(2026, 1, 1), date(2026, 4, 1))


def days_of(period: Period) -> list[date]:
    return [period.since + timedelta(days=number) for number in range(period.days)]


def section(view: str, rows: Sequence[Mapping[str, Any]]) -> Section:
    return Section(BY_NAME[view], (), rows, "", "")


def rows_of(view: str, period: Period, *, named: str = "a") -> list[dict[str, Any]]:
    """Return rows of a view for each day, with numbers in all columns that hold any."""
    columns = {column.name: column for column in BY_NAME[view].columns}
    filled = [{name: _value(column.type, day, named) for name, column in columns.items()} for day in days_of(period)]
    return [row | {"function_id": CAPTURE, "outcome": "completed", "measure": "run", "band": 60} for row in filled]


def _value(type_: str, day: date, named: str) -> Any:
    hour = datetime(day.year, day.month, day.day, 7, tzinfo=UTC)
    return {"integer": 2, "number": 1.5, "day": day, "time": hour, "text": named}.get(type_)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - drawn here


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parsed(svg).iter() if element.tag == "text"]


def drawn(view: str, period: Period = WEEK, *, named: str = "a") -> str:
    chart = chart_of(section(view, rows_of(view, period, named=named)), period)
    assert chart is not None
    return chart.svg


@pytest.mark.parametrize("view", CHARTS)
def test_a_chart_is_made_of_columns_that_its_view_has(view: str) -> None:
    assert set(CHARTS[view].needs) <= {column.name for column in BY_NAME[view].columns}


def test_the_numbers_above_all_sections_are_in_the_catalogue() -> None:
    merged = {number.name for numbers in OF_ALL_DAYS.values() for number in numbers}
    assert set(HEADLINES) <= {number.name for view in BY_NAME.values() for number in view.numbers} | merged


@pytest.mark.parametrize("view", CHARTS)
def test_a_chart_is_drawn_the_same_each_time_and_takes_its_colours_from_the_page(view: str) -> None:
    svg = drawn(view)
    assert svg == drawn(view)
    colours = set(re.findall(r"(?:fill|stroke|color): ([^;\"]+)", svg))
    assert {colour for colour in colours if not colour.startswith("var(--")} <= {"none"}
    assert "var(--series-1)" in colours


@pytest.mark.parametrize("view", CHARTS)
def test_a_chart_says_what_it_shows_and_asks_for_nothing(view: str) -> None:
    root = parsed(drawn(view))
    assert (root.attrib["role"], root.attrib["viewBox"]) == ("img", "0 0 480 260")
    assert root.attrib["aria-label"] == root.findtext("title") != ""
    assert "http" not in drawn(view)
    assert {"style", "metadata", "script", "image"} & {element.tag for element in root.iter()} == set()


def test_no_two_charts_of_a_page_have_an_id_in_common_and_each_finds_its_own() -> None:
    charts = [drawn(view) for view in CHARTS]
    ids = [id_ for svg in charts for id_ in re.findall(r' id="([^"]+)"', svg)]
    assert len(ids) == len(set(ids)) > 0
    for svg in charts:
        named, used = re.findall(r' id="([^"]+)"', svg), re.findall(r'(?:href="|url\()#([^")]+)', svg)
        assert set(used) == set(named)


@pytest.mark.parametrize("view", CHARTS)
def test_a_chart_of_nothing_is_not_drawn(view: str) -> None:
    assert chart_of(section(view, []), WEEK) is None


def test_hours_outside_the_period_are_not_drawn() -> None:
    assert chart_of(section("hourly_series", rows_of("hourly_series", WEEK)), QUARTER) is not None
    before = Period(date(2026, 2, 1), date(2026, 2, 8))
    assert chart_of(section("hourly_series", rows_of("hourly_series", WEEK)), before) is None


@pytest.mark.parametrize("view", ["model_use", "observation_funnel", "entities_by_category"])
def test_a_hostile_name_is_text_in_a_chart(view: str) -> None:
    rows = [*rows_of(view, WEEK, named=HOSTILE), *rows_of(view, WEEK, named="harmless")]
    chart = chart_of(section(view, rows), WEEK)
    assert chart is not None
    assert any(text.startswith("<script>") and text.endswith("…") for text in texts(chart.svg))
    assert "<script" not in chart.svg


def test_dollars_in_a_name_are_no_formula() -> None:
    assert "$\\frac$" in texts(drawn("entities_by_category", named="$\\frac$"))


def test_names_that_begin_alike_stay_apart() -> None:
    long = "provider:a-model-with-a-name-that-does-not-fit-into-a-legend"
    rows = [*rows_of("model_use", WEEK, named=f"{long}-1"), *rows_of("model_use", WEEK, named=f"{long}-2")]
    chart = chart_of(section("model_use", rows), WEEK)
    assert chart is not None
    assert len([text for text in texts(chart.svg) if text.startswith("provider:")]) == 2


def test_names_for_which_there_is_no_colour_are_put_together() -> None:
    rows = [row for name in "abcdefg" for row in rows_of("model_use", WEEK, named=f"model {name}")]
    chart = chart_of(section("model_use", rows), WEEK)
    assert chart is not None
    assert [text for text in texts(chart.svg) if text.startswith(("model", "other"))] == [
        "model a", "model b", "model c", "model d", "others",
    ]  # fmt: skip


@pytest.mark.parametrize("period", [WEEK, QUARTER])
def test_a_name_that_begins_with_an_underscore_is_in_the_legend(period: Period) -> None:
    rows = [row for name in ("_one", "other") for row in rows_of("model_use", period, named=name)]
    chart = chart_of(section("model_use", rows), period)
    assert chart is not None
    assert {"_one", "other"} <= set(texts(chart.svg))


def test_the_hours_of_a_longer_period_say_that_they_are_those_of_a_month() -> None:
    rows = rows_of("hourly_series", WEEK)
    month, longer = Period(date(2026, 2, 6), date(2026, 3, 9)), Period(date(2026, 2, 5), date(2026, 3, 9))
    charts = [chart_of(section("hourly_series", rows), period) for period in (WEEK, month, longer)]
    told = [chart.title for chart in charts if chart]
    assert told == [*["Executions per hour, by outcome"] * 2, "Executions per hour of the last 31 days, by outcome"]


def test_settings_of_matplotlib_that_lie_about_change_nothing(tmp_path: Path) -> None:
    theirs = "text.usetex: True\naxes.prop_cycle: cycler('color', ['r'])\nxtick.labelsize: 40\nlegend.fontsize: 40\n"
    (tmp_path / "matplotlibrc").write_text(theirs, encoding="utf-8")
    program = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r};"
        f" from {Path(__file__).stem} import drawn; sys.stdout.write(drawn('job_statistics'))"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100)
    assert told.stdout == drawn("job_statistics")


def test_the_funnel_adds_up_the_days_of_a_source() -> None:
    found = texts(drawn("observation_funnel"))
    assert found.count("14") == 7
    assert "below threshold" in found


def test_long_durations_are_drawn_in_seconds_and_short_ones_in_milliseconds() -> None:
    rows = rows_of("duration_percentiles", WEEK)
    short = chart_of(section("duration_percentiles", rows), WEEK)
    long = chart_of(section("duration_percentiles", [row | {"p95_ms": 5000} for row in rows]), WEEK)
    assert short is not None
    assert long is not None
    assert (short.title[-12:], long.title[-7:]) == ("milliseconds", "seconds")
    assert "4" in texts(long.svg)


def test_a_quarter_has_no_more_ticks_than_a_phone_has_room_for() -> None:
    days = [text for text in texts(drawn("job_statistics", QUARTER)) if re.fullmatch(r"\d+ \w{3}", text)]
    assert 3 <= len(days) <= 6


def test_all_charts_take_less_than_five_seconds() -> None:
    drawn("job_statistics")
    begun = time.process_time()
    for view in CHARTS:
        drawn(view, QUARTER)
    assert time.process_time() - begun < 5
