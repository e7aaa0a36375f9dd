"""Sums of metrics while others write, add up, prune and delete: no row is passed over, and none is counted twice."""

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.store.rollups import Refreshed, refresh
from neural_pipeline_tests.adding_up import METRICS, assert_exact, assert_exact_now, write_some
from neural_pipeline_tests.building import column, in_transaction, waits_for_a_lock, workspaces
from neural_pipeline_tests.retention_world import pruned

pytestmark = pytest.mark.usefixtures("workspace")
SUMS = ("metric_days", "metric_hours", "duration_days", "percentile_days")


def write(engine: Engine, count: int = 10, *, seed: int = 0) -> int:
    with engine.begin() as connection:
        return write_some(connection, count, seed=seed)


def test_a_writer_that_commits_late_is_waited_for_and_one_that_began_since_is_not(engine: Engine) -> None:
    with engine.connect() as early, engine.connect() as late, ThreadPoolExecutor(1) as thread:
        first = write_some(early, 3, seed=1)
        second = write(engine, seed=2)
        refreshing = thread.submit(refresh, engine)
        assert waits_for_a_lock(refreshing)
        assert_exact_now(engine)
        third = write_some(late, 3, seed=3)
        early.commit()
        assert refreshing.result(timeout=20) == Refreshed(first + second, first + second, is_behind=False)
        assert_exact_now(engine)
        late.commit()
    assert_exact_now(engine)
    assert refresh(engine).metrics == third
    assert_exact_now(engine)


@pytest.mark.parametrize("end", [Connection.commit, Connection.rollback])
def test_a_writer_that_takes_too_long_is_left_to_the_next_time(
    engine: Engine, end: Callable[[Connection], None]
) -> None:
    with engine.connect() as slow:
        write_some(slow, 3, seed=1)
        write(engine, seed=2)
        assert refresh(engine, patience=0.2) == Refreshed(0, 0, is_behind=True)
        assert_exact_now(engine)
        end(slow)
    [all_] = in_transaction(engine, lambda connection: column(connection, f"select count(*) from {METRICS}"))
    assert refresh(engine, patience=0).metrics == all_
    assert_exact_now(engine)


def test_who_only_reads_metrics_holds_nothing_up_and_sees_its_own_moment(engine: Engine) -> None:
    written = write(engine)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        assert_exact(reader)
        assert refresh(engine, patience=0).metrics == written
        write(engine, seed=1)
        assert_exact(reader)


def test_two_refreshes_at_once_share_the_work(engine: Engine) -> None:
    written, together = write(engine, 200), Barrier(2)

    def refresh_together(size: int) -> Refreshed:
        together.wait()
        return refresh(engine, slice_=size)

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(refresh_together, (3, 5)))
    assert sum(one.metrics for one in done) == written
    assert {one.through_id for one in done} == {written}
    assert_exact_now(engine)


def test_views_are_exact_while_all_write_and_add_up(engine: Engine) -> None:
    def write_on_and_off(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        for turn in range(25):
            with engine.connect() as connection:
                for part in range(chance.randrange(1, 4)):
                    write_some(connection, 2, seed=1000 * seed + 10 * turn + part)
                    time.sleep(chance.random() / 100)
                connection.rollback() if chance.random() < 0.2 else connection.commit()

    def while_they_do(act: Callable[[], Any], writing: list[Future[None]]) -> list[Any]:
        found = [act()]
        while not all(future.done() for future in writing):
            found.append(act())
        return found

    with ThreadPoolExecutor(5) as threads:
        writing = [threads.submit(write_on_and_off, seed) for seed in (1, 2)]
        adding = [threads.submit(while_they_do, lambda: refresh(engine, slice_=9), writing) for _ in range(2)]
        while_they_do(lambda: assert_exact_now(engine), writing)
        done = [one for future in (*writing, *adding) for one in future.result(timeout=60) or ()]
    done.append(refresh(engine))
    assert_exact_now(engine)
    [all_] = in_transaction(engine, lambda connection: column(connection, f"select count(*) from {METRICS}"))
    assert sum(one.metrics for one in done) == all_
    assert len([one for one in done if one.metrics]) > 2


def refreshing_slowly(engine: Engine, threads: ThreadPoolExecutor) -> Future[Refreshed]:
    """Begin a refresh that takes a second between its sums and its commit."""
    sql = """
    create function be_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return new; end $$;
    create trigger slow before update on rollup_progress for each row execute function be_slow();
    """
    with engine.begin() as connection:
        connection.execute(text(sql))
    refreshing = threads.submit(refresh, engine)
    assert waits_for_a_lock(refreshing)
    return refreshing


def test_a_prune_waits_for_the_sums_that_it_must_remove(engine: Engine) -> None:
    with engine.begin() as connection:
        written = write_some(connection, 20)
        connection.execute(text(f"update {METRICS} set timestamp = timestamp - interval '9 years'"))
    with ThreadPoolExecutor(1) as threads:
        refreshing = refreshing_slowly(engine, threads)
        assert sum(in_transaction(engine, pruned).values()) == written
        assert refreshing.result(timeout=20).metrics == written
    assert_exact_now(engine)
    assert [in_transaction(engine, lambda connection, t=t: column(connection, f"select * from {t}")) for t in SUMS] == [
        [], [], [], []
    ]  # fmt: skip


def test_a_refresh_adds_up_nothing_that_a_prune_has_just_removed(engine: Engine) -> None:
    with engine.begin() as connection:
        write_some(connection, 20)
        connection.execute(text(f"update {METRICS} set timestamp = timestamp - interval '9 years'"))
    with ThreadPoolExecutor(1) as threads, engine.connect() as pruning:
        pruned(pruning)
        refreshing = threads.submit(refresh, engine)
        assert waits_for_a_lock(refreshing)
        pruning.commit()
        assert refreshing.result(timeout=20).metrics == 0
    assert_exact_now(engine)


def delete_workspace(connection: Connection) -> None:
    connection.execute(text("delete from lightfast_org_workspaces where id = 'ws_gone'"))


@pytest.fixture
def kept(engine: Engine) -> int:
    """How many metrics are left when the workspace `ws_gone` is deleted."""
    with engine.begin() as connection:
        workspaces(connection, "ws_gone")
        write_some(connection, 20, seed=1, workspace="ws_gone")
        return write_some(connection, 20, seed=2)


def test_a_workspace_that_is_deleted_during_a_refresh_leaves_no_sums(engine: Engine, kept: int) -> None:
    with ThreadPoolExecutor(1) as threads:
        refreshing = refreshing_slowly(engine, threads)
        in_transaction(engine, delete_workspace)
        refreshing.result(timeout=20)
    assert_exact_now(engine)
    assert refresh(engine).metrics == kept
    assert_exact_now(engine)


def test_a_refresh_waits_for_a_deletion_that_has_begun(engine: Engine, kept: int) -> None:
    refresh(engine)
    with ThreadPoolExecutor(1) as threads, engine.connect() as deleting:
        delete_workspace(deleting)
        refreshing = threads.submit(refresh, engine)
        assert waits_for_a_lock(refreshing)
        assert_exact_now(engine)
        deleting.commit()
        assert refreshing.result(timeout=20).metrics == kept
    assert_exact_now(engine)
