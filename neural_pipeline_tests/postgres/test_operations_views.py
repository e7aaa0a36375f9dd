"""Views of ended executions against sums made in Python: rolled up or not, in a time zone far from UTC."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, text

from neural_pipeline.metrics.catalogue import BY_NAME
from neural_pipeline.metrics.frames import Period, numbers_of
from neural_pipeline.metrics.of_operations import OF_OPERATIONS
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store.rollups import refresh
from neural_pipeline_tests.building import column, workspaces
from neural_pipeline_tests.measured import Ended, around, random_ending, write_metrics

AUCKLAND = "Pacific/Auckland"
"""Thirteen hours ahead of UTC in summer, twelve in winter."""
PERCENTS = (50, 95, 99)


class World(NamedTuple):
    """What has ended, and a connection to the database that has its metrics."""

    ended: Sequence[Ended]
    connection: Connection


@pytest.fixture(
    scope="module", params=[0, 1, 2], ids=["rolled up: nothing", "rolled up: half", "rolled up: everything"]
)
def metered(request: pytest.FixtureRequest, server: Path, template: str) -> Iterator[tuple[Sequence[Ended], Engine]]:
    name = f"metered_{request.param}_{uuid4().hex}"
    admin = server_url(server, "postgres")
    create_database(admin, name, template=template)
    engine = create_engine(server_url(server, name), connect_args={"options": f"-c timezone={AUCKLAND}"})
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
        [now] = column(connection, "select now()")
    ended = endings(now.astimezone(UTC))
    for number, half in enumerate((ended[::2], ended[1::2])):
        with engine.begin() as connection:
            write_metrics(connection, [metric for one in half for metric in one.metrics()])
        if number < request.param:
            refresh(engine)
    yield ended, engine
    engine.dispose()
    drop_database(admin, name)


@pytest.fixture
def world(metered: tuple[Sequence[Ended], Engine]) -> Iterator[World]:
    ended, engine = metered
    with engine.begin() as connection:
        yield World(ended, connection)


def endings(now: datetime) -> list[Ended]:
    """Executions of the last forty days, many on one day, and some at the very ends of days and of the 31 days."""
    draw = random.Random(20_260_302)  # noqa: S311
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hour = now.replace(minute=0, second=0, microsecond=0)
    moments = [now - timedelta(seconds=draw.uniform(1, 40 * 86_400)) for _ in range(200)]
    moments += [midnight - timedelta(days=3, seconds=draw.uniform(1, 86_400)) for _ in range(300)]
    moments += [moment for days in range(5) for moment in around(midnight - timedelta(days=days))]
    moments += [moment for hours in (742, 743, 744) for moment in around(hour - timedelta(hours=hours))]
    return [random_ending(draw, moment) for moment in moments]


def rate(completed: int, failed: int) -> Decimal | None:
    """Return a success rate in percent, with two decimals."""
    return rounded(100 * completed, completed + failed, "0.01")


def mean(values: Sequence[int], *, of: int) -> Decimal | None:
    return rounded(sum(values), of, "0.1")


def rounded(part: int, whole: int, step: str) -> Decimal | None:
    return (Decimal(part) / whole).quantize(Decimal(step), ROUND_HALF_UP) if whole else None


def nearest_rank(values: Sequence[int], percent: int) -> int:
    return sorted(values)[-(-len(values) * percent // 100) - 1]


def is_near(found: int, true: int) -> bool:
    """Tell whether a duration is within 1 % of the true one, and the rounding to milliseconds."""
    return abs(found - true) <= true / 100 + 0.5 + 1e-6


def day_of(one: Ended) -> date:
    return one.at.astimezone(UTC).date()


def grouped(ended: Sequence[Ended], *by: Callable[[Ended], Any]) -> dict[tuple[Any, ...], list[Ended]]:
    groups: dict[tuple[Any, ...], list[Ended]] = defaultdict(list)
    for one in ended:
        groups[tuple(key(one) for key in by)].append(one)
    return groups


def function_of(one: Ended) -> str:
    return one.function


def read(connection: Connection, view: str, keys: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rows of a view by their first columns; no two have the same."""
    found = [tuple(row) for row in connection.execute(text(f"select * from {view}"))]
    assert len({row[:keys] for row in found}) == len(found)
    return {row[:keys]: row[keys:] for row in found}


def test_job_statistics_count_each_execution_on_the_day_of_its_end(world: World) -> None:
    expected = {}
    for key, group in grouped(world.ended, day_of, function_of).items():
        outcomes = Counter(one.outcome for one in group)
        completed, failed = outcomes["completed"], outcomes["failed"]
        runs = [one.run_ms for one in group if one.outcome == "completed" and one.queue_ms is not None]
        success = rate(completed, failed)
        expected[key] = (
            len(group),
            completed,
            failed,
            outcomes["cancelled"],
            success,
            None if success is None else 100 - success,
            mean(runs, of=len(runs)),
        )
    assert read(world.connection, "job_statistics", 2) == expected


def test_errors_by_cause_count_each_failed_execution_once(world: World) -> None:
    failed = [one for one in world.ended if one.outcome == "failed"]
    expected = Counter((day_of(one), one.function, one.cause or "unknown") for one in failed)
    assert read(world.connection, "errors_by_cause", 3) == {key: (errors,) for key, errors in expected.items()}


def test_documents_indexed_are_those_of_synchronisations_that_succeeded(world: World) -> None:
    found = [metric for one in world.ended for metric in one.metrics() if metric[0].type == "documents_indexed"]
    syncs: Counter[tuple[date, str, str]] = Counter()
    documents: Counter[tuple[date, str, str]] = Counter()
    for metric, at in found:
        key = (at.astimezone(UTC).date(), metric.tags.source_type, metric.tags.sync_mode)
        syncs[key] += 1
        documents[key] += metric.value
    assert read(world.connection, "documents_indexed", 3) == {key: (syncs[key], documents[key]) for key in syncs}


def test_percentiles_are_within_one_percent_of_the_nearest_rank(world: World) -> None:
    durations: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for one in world.ended:
        if one.outcome != "cancelled":
            for measure, ms in one.durations.items():
                durations[day_of(one), one.function, one.outcome, measure].append(ms)
    found = read(world.connection, "duration_percentiles", 4)
    assert found.keys() == durations.keys()
    for key, values in durations.items():
        runs, *percentiles, longest = found[key]
        assert runs == len(values)
        assert is_near(longest, max(values)), (key, longest)
        for percent, ms in zip(PERCENTS, percentiles, strict=True):
            assert is_near(ms, nearest_rank(values, percent)), (key, percent, ms, sorted(values))


def test_the_hourly_series_has_every_hour_of_the_last_31_days_since_the_first_with_any(world: World) -> None:
    [now] = column(world.connection, "select now()")
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    recent = [one for one in world.ended if one.at >= last - timedelta(hours=743)]
    groups = grouped(recent, hour_of, function_of)
    first = min(hour for hour, _ in groups)
    expected = {}
    for function in {one.function for one in recent}:
        for ago in range((last - first) // timedelta(hours=1) + 1):
            key = (last - timedelta(hours=ago), function)
            outcomes = Counter(one.outcome for one in groups[key])
            completed, failed = outcomes["completed"], outcomes["failed"]
            runs = [one.run_ms for one in groups[key] if one.outcome == "completed" and one.queue_ms is not None]
            counts = completed, failed, outcomes["cancelled"]
            expected[key] = (*counts, mean(runs, of=len(runs)), rate(completed, failed))
    assert first == last - timedelta(hours=743)
    assert read(world.connection, "hourly_series", 2) == expected


def hour_of(one: Ended) -> datetime:
    return one.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def test_the_numbers_are_those_of_the_period(world: World) -> None:
    last = max(day_of(one) for one in world.ended)
    period = Period(last - timedelta(days=5), last - timedelta(days=1))
    within = [one for one in world.ended if period.since <= day_of(one) < period.until]
    outcomes = Counter(one.outcome for one in within)
    found = {
        name: value for view in OF_OPERATIONS for name, value in numbers_of(world.connection, view, period).items()
    }
    assert outcomes["failed"] > 20
    assert found["executions_ended"] == len(within)
    assert found["executions_failed"] == found["errors_total"] == outcomes["failed"]
    assert found["executions_cancelled"] == outcomes["cancelled"]
    assert found["success_rate_percent"] == float(rate(outcomes["completed"], outcomes["failed"]) or 0)
    for cause in ("code_error", "worker_lost", "timeout", "rejected"):
        assert found[f"errors_{cause}"] == sum(one.cause == cause for one in within)
    assert found["documents_indexed_total"] == sum(one.documents for one in within if one.has_indexed)


def test_a_percentile_of_several_days_is_that_of_the_slowest(scratch: Connection) -> None:
    moments = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 2, 2, 3)]
    times = [
        (at, Ended(at=at, run_ms=ms, queue_ms=ms + 1, total_ms=ms + 2))
        for at, ms in zip(moments, (5, 7, 20, 50), strict=True)
    ]
    others = [
        Ended(at=moments[1], run_ms=30, queue_ms=40, total_ms=40, outcome="failed"),
        Ended(at=moments[1], run_ms=30, queue_ms=40, total_ms=40, function="neural.profile.update"),
    ]
    write_metrics(scratch, [metric for one in [one for _, one in times] + others for metric in one.metrics()])
    found = numbers_of(scratch, BY_NAME["duration_percentiles"], Period(date(2026, 3, 1), date(2026, 3, 3)))
    assert found == {
        "capture_queue_p95_ms": 21,
        "capture_run_p95_ms": 20,
        "capture_total_p95_ms": 22,
        "longest_run_ms": 30,
    }


DURATIONS = st.one_of(st.integers(0, 100), st.integers(0, 10_000), st.integers(0, 2**31 - 1))


@given(values=st.lists(DURATIONS, min_size=1, max_size=120))
@settings(max_examples=60, deadline=None)
def check_percentiles(connection: Connection, values: list[int]) -> None:
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    with connection.begin_nested() as savepoint:
        write_metrics(connection, [metric for ms in values for metric in Ended(at=at, total_ms=ms).metrics()])
        [row] = read(connection, "duration_percentiles", 4).values()
        savepoint.rollback()
    runs, *percentiles, longest = row
    assert (runs, is_near(longest, max(values))) == (len(values), True)
    assert all(is_near(ms, nearest_rank(values, percent)) for percent, ms in zip(PERCENTS, percentiles, strict=True))


def test_percentiles_of_any_durations_are_near_the_true_ones(scratch: Connection) -> None:
    check_percentiles(scratch)


def test_an_hour_that_has_passed_since_the_first_run_has_a_row_of_zeros(scratch: Connection) -> None:
    [now] = column(scratch, "select now()")
    write_metrics(scratch, Ended(at=now - timedelta(hours=3), outcome="cancelled").metrics())
    found = list(read(scratch, "hourly_series", 2).values())
    assert sorted(found, key=lambda row: row[2]) == [(0, 0, 0, None, None)] * 3 + [(0, 0, 1, None, None)]


def test_the_last_31_days_are_744_hours_where_clocks_were_put_forward_in_between(scratch: Connection) -> None:
    [now] = column(scratch, "select now()")
    since = min((now - timedelta(days=10)).timetuple().tm_yday, 365)
    scratch.execute(text(f"set local time zone 'STD-12DST,J{since},J{(since + 180) % 365 + 1}'"))
    first = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=743)
    write_metrics(scratch, [metric for at in around(first) for metric in Ended(at=at).metrics()])
    found = read(scratch, "hourly_series", 2)
    assert (len(found), min(hour for hour, _ in found)) == (744, first)


def test_the_numbers_of_the_hourly_series_are_those_of_24_hours(scratch: Connection) -> None:
    [now] = column(scratch, "select now()")
    first = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    ends = [*zip(around(first), ("completed", "completed"), strict=True), (now, "failed"), (now, "cancelled")]
    write_metrics(scratch, [metric for at, outcome in ends for metric in Ended(at=at, outcome=outcome).metrics()])
    found = numbers_of(scratch, BY_NAME["hourly_series"], Period(date(2026, 3, 1), date(2026, 3, 2)))
    assert found == {"ended_last_24_hours": 3, "success_rate_last_24_hours_percent": 50.0}
