"""Which days `neural report --since` stands for."""

from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.cli.report import period_since
from neural_pipeline.metrics.assets import ReportConfig
from neural_pipeline.metrics.frames import Period
from neural_pipeline.metrics.report.gathering import MOST_DAYS

EVENING = datetime(2026, 3, 8, 23, 59, tzinfo=UTC)
TOMORROW = date(2026, 3, 9)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("1d", date(2026, 3, 8)),
        ("7d", date(2026, 3, 2)),
        ("2w", date(2026, 2, 23)),
        ("2026-03-08", date(2026, 3, 8)),
        ("2026-03-02", date(2026, 3, 2)),
    ],
)
def test_a_period_ends_with_today_and_has_whole_days(text: str, first: date) -> None:
    assert period_since(text, now=EVENING) == Period(first, TOMORROW)


@pytest.mark.parametrize("text", ["", "24h", "30m", "7", "d", "-1d", "yesterday", "2026-02-30", "2026-03-02T08:00"])
def test_what_is_no_number_of_days_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(Refusal, match=r"whole days.*7d.*2026-03-02"):
        period_since(text, now=EVENING)


@pytest.mark.parametrize("text", ["0d", "0w", "2026-03-09", "9999-12-31"])
def test_a_period_without_a_day_is_refused_with_what_day_it_is(text: str) -> None:
    with pytest.raises(Refusal, match="leaves no day: today is 2026-03-08"):
        period_since(text, now=EVENING)


@pytest.mark.parametrize("text", ["9999d", "9999w", "0001-01-01"])
def test_a_period_that_is_too_long_is_refused_with_the_longest_there_is(text: str) -> None:
    with pytest.raises(Refusal, match=f"{MOST_DAYS} at most"):
        period_since(text, now=EVENING)


def test_the_asset_and_the_command_take_the_same_longest_period() -> None:
    assert period_since(f"{MOST_DAYS}d", now=EVENING).days == ReportConfig(days=MOST_DAYS).days
    with pytest.raises(ValidationError):
        ReportConfig(days=MOST_DAYS + 1)
