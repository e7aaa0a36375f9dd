"""Views as data frames: declared columns, declared types, and the numbers of a period."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Connection

from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.definition import View
from neural_pipeline.metrics.frames import Period, frame_of, last_days, numbers_of

PERIOD = Period(date(2026, 1, 1), date(2026, 1, 8))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_without_rows_has_its_declared_columns_and_no_number_that_is_made_up(
    scratch: Connection, view: View
) -> None:
    assert list(frame_of(scratch, view, PERIOD).columns) == [column.name for column in view.columns]
    counts = {number.name for number in view.numbers if number.unit == "count"}
    assert all(value == 0 for name, value in numbers_of(scratch, view, PERIOD).items() if name in counts)


def test_the_last_days_end_with_today():
    period = last_days(7, now=datetime(2026, 3, 5, 23, 59, tzinfo=UTC))
    assert (period, period.days) == (Period(date(2026, 2, 27), date(2026, 3, 6)), 7)
