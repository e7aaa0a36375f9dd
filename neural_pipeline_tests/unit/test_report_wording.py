"""How a report tells values, and that text from outside stays text."""

from datetime import UTC, date, datetime

import pytest

from neural_pipeline.metrics.definition import Unit
from neural_pipeline.metrics.frames import Period
from neural_pipeline.metrics.report.gathering import filled_in
from neural_pipeline.metrics.report.markdown import escaped
from neural_pipeline.metrics.report.wording import LONGEST_TEXT, NULL, about, change, one_line, period_told, told
from neural_pipeline_tests.report_world import HOSTILE


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (None, "count", NULL),
        (0, "count", "0"),
        (1234567, "count", "1,234,567"),
        (1234567, "tokens", "1,234,567"),
        (1234567, None, "1234567"),
        (98.25, "percent", "98.2 %"),
        (100.0, "percent", "100.0 %"),
        (61.25, "points", "61.2"),
        (80, "points", "80"),
        (0, "ms", "0 ms"),
        (0.42, "ms", "0.4 ms"),
        (850, "ms", "850 ms"),
        (999.6, "ms", "1.0 s"),
        (1234, "ms", "1.2 s"),
        (59_960, "ms", "1 min"),
        (125_000, "ms", "2 min 5 s"),
        (3_599_600, "ms", "1 h"),
        (11_520_000, "ms", "3 h 12 min"),
        (0, "seconds", "0 s"),
        (367_200, "seconds", "4 d 6 h"),
        (True, None, "yes"),
        (date(2026, 3, 2), None, "2026-03-02"),
        (datetime(2026, 3, 2, 8, 5, 9, tzinfo=UTC), None, "2026-03-02 08:05"),
        ({"a": ["<b>"]}, None, '{"a": ["<b>"]}'),
    ],
)
def test_a_value_is_told_as_people_read_it(value: object, unit: Unit | None, expected: str) -> None:
    assert told(value, unit).replace("\u00a0", " ") == expected


def test_a_number_is_never_parted_from_its_unit_by_the_end_of_a_line() -> None:
    parted = [told(1234, "ms"), told(5, "percent"), told(60_000, "ms"), told(3, "seconds")]
    assert not [text for text in parted if " " in text]
    assert told(125_000, "ms").split(" ") == ["2\u00a0min", "5\u00a0s"]


@pytest.mark.parametrize(
    ("value", "before", "expected"),
    [
        (12, 10, "▲ 2 from 10"),
        (8, 10, "▼ 2 from 10"),
        (10, 10, "as before"),
        (10, None, "nothing before"),
        (None, 10, "10 before"),
    ],
)
def test_a_change_says_what_there_was_before(value: float | None, before: float | None, expected: str) -> None:
    assert change(value, before, "count").replace("\u00a0", " ") == expected


def test_rates_change_by_points_and_not_by_percent_of_percent() -> None:
    assert change(91.5, 90.0, "percent").replace("\u00a0", " ") == "▲ 1.5 points from 90.0 %"


def test_text_from_outside_is_one_line_without_control_and_direction_characters() -> None:
    shown = one_line(HOSTILE + "\x00\x1b[2J")
    assert shown.isprintable()
    assert "<script>" in shown
    assert "\u05e9\u05dc\u05d5\u05dd" in shown


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert one_line("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
    assert one_line("x" * (LONGEST_TEXT + 1)) == "x" * (LONGEST_TEXT - 1) + "…"


@pytest.mark.parametrize("special", list("\\`*_{}[]<>()#+!|~&$@"))
def test_no_character_of_a_text_means_anything_in_markdown(special: str) -> None:
    assert escaped(f"a{special}b") == f"a\\{special}b"


@pytest.mark.parametrize("link", ["https://evil.example", "HTTP://evil.example", "www.evil.example", "mailto:a"])
def test_no_text_becomes_a_link_in_markdown(link: str) -> None:
    assert link not in escaped(link)
    assert escaped(link).replace("\\", "") == link


def test_the_way_to_the_rows_is_of_the_period_and_keeps_other_braces() -> None:
    sql = "select '{a,b}' where day >= '{since}' and day < '{until}'"
    filled = filled_in(sql, Period(date(2026, 3, 2), date(2026, 3, 9)))
    assert filled == "select '{a,b}' where day >= '2026-03-02' and day < '2026-03-09'"


def test_a_report_says_which_days_it_is_about_and_that_today_is_not_over() -> None:
    day, week = Period(date(2026, 3, 8), date(2026, 3, 9)), Period(date(2026, 3, 2), date(2026, 3, 9))
    assert (period_told(day), period_told(week)) == ("2026-03-08", "2026-03-02 to 2026-03-08")
    assert "not over" in about(day, week, now=datetime(2026, 3, 8, 23, 59, tzinfo=UTC))
    assert "not over" not in about(day, week, now=datetime(2026, 3, 9, tzinfo=UTC))
