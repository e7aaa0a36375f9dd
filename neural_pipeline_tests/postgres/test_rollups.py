"""Sums of metrics: the views that read them equal the rows at any time, and each row is counted once."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store import retention, rollups
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.rollups import refresh
from neural_pipeline.workflows.retention.pruning import cutoffs
from neural_pipeline_tests.adding_up import (
    DIMENSIONS,
    METRICS,
    assert_exact,
    assert_exact_now,
    some_metrics,
    write_some,
)
from neural_pipeline_tests.building import column, one, workspaces
from neural_pipeline_tests.measured import Ended, metric, write_metrics
from neural_pipeline_tests.retention_world import SETTINGS, pruned, today

SUMS = ("metric_days", "metric_hours", "duration_days", "percentile_days")
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def rollups_engine(server: Path, template: str) -> Iterator[Engine]:
    """The engine of a database that the tests of this module share."""
    create_database(server_url(server, "postgres"), "rollups", template=template)
    url = server_url(server, "rollups")
    yield engine_for(url)
    engine_for(url).dispose()


@pytest.fixture
def engine(rollups_engine: Engine) -> Engine:
    """The same, with nothing in it but two workspaces."""
    with rollups_engine.begin() as connection:
        connection.execute(text("drop trigger if exists obstacle on rollup_progress"))
        connection.execute(text(f"truncate {', '.join((METRICS, *SUMS))} restart identity"))
        connection.execute(text("delete from lightfast_org_workspaces"))
        connection.execute(text("update rollup_progress set through_id = 0"))
        workspaces(connection, "ws_test", "ws_other")
    return rollups_engine


def write(engine: Engine, count: int, *, seed: int = 0, workspace: str = "ws_test") -> int:
    with engine.begin() as connection:
        return write_some(connection, count, seed=seed, workspace=workspace)


def sums(engine: Engine) -> dict[str, int]:
    with engine.begin() as connection:
        return {table: column(connection, f"select count(*) from {table}")[0] for table in SUMS}


def mark(engine: Engine) -> int:
    with engine.begin() as connection:
        return one(connection, "select through_id from rollup_progress")["through_id"]


def test_metrics_at_random_are_of_every_type() -> None:
    assert {str(one.type) for one, _ in some_metrics(random.Random(1), 300)} == DIMENSIONS.keys()  # noqa: S311


@pytest.mark.parametrize("size", [1, 7, rollups.SLICE])
def test_the_views_equal_the_rows_with_nothing_all_and_a_part_added_up(engine: Engine, size: int) -> None:
    assert_exact_now(engine)
    first = write(engine, 60, seed=1)
    assert_exact_now(engine)
    assert refresh(engine, slice_=size) == rollups.Refreshed(first, first, is_behind=False)
    assert all(sums(engine).values())
    assert_exact_now(engine)
    second = write(engine, 60, seed=2)
    assert_exact_now(engine)
    assert refresh(engine, slice_=size).metrics == second
    assert_exact_now(engine)
    assert refresh(engine) == rollups.Refreshed(0, first + second, is_behind=False)


def test_nothing_to_add_up_is_no_error_and_is_remembered_as_done(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("update rollup_progress set refreshed_at = '2020-01-01'"))
    assert refresh(engine) == rollups.Refreshed(0, 0, is_behind=False)
    with engine.begin() as connection:
        assert column(connection, "select refreshed_at > now() - interval '1 minute' from rollup_progress") == [True]


@pytest.mark.parametrize("rolled", [False, True])
def test_days_and_hours_are_those_of_utc_whatever_zone_the_clock_is_of(engine: Engine, rolled: bool) -> None:
    ends = [MIDNIGHT, MIDNIGHT - timedelta(microseconds=1), MIDNIGHT + timedelta(hours=1, minutes=59)]
    own = create_engine(engine.url, connect_args={"options": "-c timezone=Asia/Kathmandu"})
    with own.begin() as connection:
        write_metrics(connection, [one for at in ends for one in Ended(at, run_ms=250, queue_ms=0).metrics()])
    if rolled:
        refresh(own)
    with own.begin() as connection:
        totals = connection.execute(text("select day::text, metrics, total from metric_totals order by 1")).all()
        assert totals == [("2026-03-01", 1, 250), ("2026-03-02", 2, 500)]
        hours = [at.astimezone(UTC) for at in column(connection, "select hour from run_hours order by 1")]
        assert hours == [MIDNIGHT + timedelta(hours=n) for n in (-1, 0, 1)]
    own.dispose()


@pytest.mark.parametrize("rolled", [False, True])
def test_what_never_began_counts_among_totals_only_and_a_millisecond_is_no_zero(engine: Engine, rolled: bool) -> None:
    begun = Ended(MIDNIGHT, run_ms=0, queue_ms=1, total_ms=100)
    with engine.begin() as connection:
        write_metrics(connection, [*begun.metrics(), *Ended(MIDNIGHT, total_ms=100).metrics()])
    if rolled:
        refresh(engine)
    with engine.begin() as connection:
        sql = "select measure, neural_bucket_ms(bucket), runs from duration_histogram order by 1"
        assert connection.execute(text(sql)).all() == [("queue", 1, 1), ("run", 0, 1), ("total", 100, 2)]


def test_a_duration_whose_tags_are_missing_or_odd_stops_nothing(engine: Engine) -> None:
    sql = f"""
    insert into {METRICS} (clerk_org_id, workspace_id, type, value, tags)
    values ('org_test', 'ws_test', 'job_duration', 5, null), ('org_test', 'ws_test', 'of tomorrow', 5, '{{"a": 1}}'),
      ('org_test', 'ws_test', 'profile_updated', 5, '{{"begun": "?"}}'),
      ('org_test', 'ws_test', 'job_duration', 7,
        '{{"begun": "?", "queueWaitMs": 1.5, "totalMs": "9", "outcome": "odd"}}')
    """
    with engine.begin() as connection:
        connection.execute(text(sql))
        totals = column(connection, "select total from metric_totals where dimensions = '{}'")
    assert (totals, refresh(engine).metrics) == ([5, 5, 5], 4)
    with engine.begin() as connection:
        assert column(connection, "select total from metric_totals where dimensions = '{}'") == totals
        hours = connection.execute(text("select job_type, outcome, run_ms from run_hours order by 2")).all()
        assert hours == [("unknown", "odd", 7), ("unknown", "unknown", 5)]
        odd = "select measure, neural_bucket_ms(bucket) from duration_histogram where outcome = 'odd' order by 1"
        assert connection.execute(text(odd)).all() == [("queue", 1), ("run", 7)]


def test_ids_are_drawn_one_by_one(engine: Engine) -> None:
    """Ids that a session keeps for later would be passed over."""
    with engine.begin() as connection:
        sql = f"select pg_get_serial_sequence('{METRICS}', 'id')::regclass::text"
        [sequence] = column(connection, sql)
        assert column(connection, f"select cache_size from pg_sequences where sequencename = '{sequence}'") == [1]


def test_gaps_that_were_rolled_back_do_no_harm(engine: Engine) -> None:
    first = write(engine, 5, seed=1)
    with engine.connect() as connection:
        lost = write_some(connection, 50, seed=2)
        connection.rollback()
    write(engine, 5, seed=3)
    with engine.begin() as connection:
        connection.execute(text(f"select setval(pg_get_serial_sequence('{METRICS}', 'id'), 1000000000000)"))
    last = write(engine, 5, seed=4)
    done = refresh(engine, slice_=first + 1)
    assert done.through_id == 10**12 + last
    assert done.metrics < lost + first + last
    assert_exact_now(engine)


OBSTACLE = """
create or replace function obstacle() returns trigger language plpgsql as $$ begin {act}; return new; end $$;
create trigger obstacle before update on rollup_progress for each row when (new.through_id > 40)
execute function obstacle();
"""


@pytest.mark.parametrize(
    "act", ["raise exception 'no room'", "perform pg_terminate_backend(pg_backend_pid()), pg_sleep(10)"]
)
def test_a_refresh_that_breaks_off_leaves_whole_slices_and_the_next_goes_on(engine: Engine, act: str) -> None:
    written = write(engine, 90)
    with engine.begin() as connection:
        connection.execute(text(OBSTACLE.format(act=act)))
    with pytest.raises(DBAPIError):
        refresh(engine, slice_=12)
    assert mark(engine) == 36
    assert_exact_now(engine)
    with engine.begin() as connection:
        connection.execute(text("drop trigger obstacle on rollup_progress"))
    assert refresh(engine, slice_=12).metrics == written - 36
    assert_exact_now(engine)


def test_a_limit_on_statements_stops_no_slice(engine: Engine) -> None:
    written = write(engine, 20)
    with engine.begin() as connection:
        connection.execute(text(OBSTACLE.format(act="perform pg_sleep(0.5)").replace("> 40", "> 0")))
    hasty = create_engine(engine.url, connect_args={"options": "-c statement_timeout=300"})
    assert refresh(hasty).metrics == written
    hasty.dispose()


def test_a_deleted_workspace_goes_from_the_sums_and_the_rest_is_added_up_anew(engine: Engine) -> None:
    kept = write(engine, 40, seed=1, workspace="ws_other")
    write(engine, 40, seed=2)
    refresh(engine)
    with engine.begin() as connection:
        connection.execute(text("delete from lightfast_org_workspaces where id = 'ws_test'"))
        assert_exact(connection)
    assert_exact_now(engine)
    assert sums(engine) == dict.fromkeys(SUMS, 0)
    assert refresh(engine).metrics == kept
    assert_exact_now(engine)


def test_a_deletion_that_is_rolled_back_leaves_the_sums(engine: Engine) -> None:
    write(engine, 40)
    refresh(engine)
    before = sums(engine)
    with engine.connect() as connection:
        connection.execute(text("delete from lightfast_org_workspaces where id = 'ws_test'"))
        connection.rollback()
    assert sums(engine) == before
    assert_exact_now(engine)


def test_a_deletion_that_finds_no_workspace_leaves_the_sums(engine: Engine) -> None:
    write(engine, 40)
    refresh(engine)
    before = sums(engine)
    with engine.begin() as connection:
        connection.execute(text("delete from lightfast_org_workspaces where id = 'nobody'"))
    assert sums(engine) == before


def test_of_many_slices_only_so_many_are_counted_as_are_asked_for(engine: Engine) -> None:
    written = write(engine, 90)
    assert refresh(engine, slice_=20, slices=2).metrics == 40
    assert_exact_now(engine)
    assert refresh(engine, slice_=20).metrics == written - 40


def test_metrics_become_old_at_midnight() -> None:
    late = datetime.fromisoformat("2026-03-02T01:30:00+02:00")
    kept = SETTINGS.model_copy(update={"keep_metric_days": 10})
    assert cutoffs(late, kept).metric == datetime(2026, 2, 19, tzinfo=UTC)


@pytest.mark.parametrize("rolled", ["none", "some", "all"])
@pytest.mark.parametrize("page", [1, 1000])
def test_a_prune_takes_old_rows_and_their_sums(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, page: int, rolled: str
) -> None:
    monkeypatch.setattr(retention, "PAGE", page)
    with engine.begin() as connection:
        midnight = today(connection).metric
    around = [midnight + timedelta(microseconds=n) for n in (-1, 0, 1)] + [midnight - timedelta(days=3)]
    for half in (around[::2], around[1::2]):
        with engine.begin() as connection:
            metrics = [(metric("profile_updated", actorId="a"), at) for at in half]
            write_metrics(connection, metrics + [one for at in half for one in Ended(at, run_ms=5).metrics()])
        if rolled == "all" or (rolled == "some" and half[0] == around[0]):
            refresh(engine)
    with engine.begin() as connection:
        assert sum(pruned(connection).values()) == 4
    assert_exact_now(engine)
    refresh(engine)
    assert_exact_now(engine)
    with engine.begin() as connection:
        for table in ("metric_days", "duration_days", "percentile_days"):
            assert column(connection, f"select min(day) from {table}") == [midnight.date()]
        assert column(connection, "select min(hour) from metric_hours") == [midnight]
        assert column(connection, "select count(*) from metric_totals") == [2]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def test_what_is_behind_is_found_by_its_ids_and_not_taken_for_a_third_of_the_table(engine: Engine) -> None:
    many = f"""
    insert into {METRICS} (clerk_org_id, workspace_id, type, value, tags, timestamp)
    select 'org_test', 'ws_test', 'job_duration', n, jsonb_build_object('jobType', 'f', 'outcome', 'completed'),
      now() - n * interval '1 minute' from generate_series(1, 20000) n
    """
    with engine.begin() as connection:
        connection.execute(text(many))
    refresh(engine)
    write(engine, 20)
    with engine.begin() as connection:
        connection.execute(text(f"analyze {METRICS}"))
        for view in ("metrics_behind", "metric_totals", "run_hours", "duration_histogram"):
            [plan] = column(connection, f"explain (format json) select * from {view}")
            read = [node for node in nodes(plan[0]["Plan"]) if node.get("Relation Name") == METRICS]
            assert [node.get("Index Name") for node in read] == [f"{METRICS}_pkey"], view
            assert read[0]["Plan Rows"] < 1000, view
