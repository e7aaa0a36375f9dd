"""Do reports stay fast? `python -m neural_pipeline_tests.benchmarks.million_rows [--rows 1000000] [--view NAME]`.

Makes up ninety days in a server of its own, adds the metrics up, and asks every view of the catalogue and pages of the
job history: warm, one after the other, with all metrics added up and with a tail that is not. Exit code 1 if a view
takes a second or a page a tenth of one; the server's processor time and the load of the machine stand beside it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from statistics import median
from time import perf_counter

from psutil import Process
from sqlalchemy import Connection, Engine, text

from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.frames import last_days, numbers_of
from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import ephemeral_server, server_url
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.migrate import upgrade
from neural_pipeline.store.rollups import refresh
from neural_pipeline.store.runs import Cursor, RunFilter, list_runs
from neural_pipeline_tests.benchmarks.quarter import make_record, tidy, write_metrics

TAIL = 50_000
"""Metrics that are not added up yet."""
VIEW_SECONDS, PAGE_SECONDS = 1.0, 0.1
TIMES = 5

Ask = Callable[[Connection], object]


@dataclass(frozen=True, slots=True)
class Taken:
    """How long something took and how much of that the server worked, in seconds, each time; None is no bound."""

    what: str
    seconds: list[float]
    worked: list[float]
    bound: float | None

    @property
    def is_slow(self) -> bool:
        """Tell whether it mostly took longer than it may."""
        return self.bound is not None and median(self.seconds) > self.bound

    def __str__(self) -> str:
        """Return a line of the table, in milliseconds, with the load of the machine."""
        times = (median(self.seconds), max(self.seconds), median(self.worked))
        mark = "  TOO SLOW" if self.is_slow else ""
        return f"{self.what:<48}" + "".join(f"{1000 * time:>10.1f}" for time in times) + f"{_load():>7}{mark}"


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def say(line: str) -> None:
    """Show a result at once: the next one takes a while."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def timed(engine: Engine, what: str, ask: Ask, *, bound: float | None, times: int = TIMES) -> Taken:
    """Ask once to warm up and then some times more, each in a transaction of its own; print and return what it took."""
    seconds, worked = list[float](), list[float]()
    for _ in range(times + 1):
        with engine.begin() as connection:
            server = Process(connection.execute(text("select pg_backend_pid()")).scalar_one())
            start, before = perf_counter(), server.cpu_times()
            ask(connection)
            seconds.append(perf_counter() - start)
            worked.append(sum(server.cpu_times()[:2]) - sum(before[:2]))
    taken = Taken(what, seconds[1:], worked[1:], bound)
    say(str(taken))
    return taken


def everything_in(view: str) -> Ask:
    """Return the question for all rows of a view."""
    return lambda connection: connection.execute(text(f"select * from {view}")).all()


def of_views(names: list[str]) -> Iterator[tuple[str, Ask]]:
    """Yield what is asked of each view: all its rows, and its numbers for ninety days."""
    period = last_days(90, now=datetime.now(UTC))
    for view in VIEWS:
        if not names or view.name in names:
            yield view.name, everything_in(view.name)
            yield f"{view.name}: numbers", partial(numbers_of, view=view, period=period)


def of_pages(engine: Engine) -> Iterator[tuple[str, Ask]]:
    """Yield the pages of the history that are asked for, with and without filters, first and deep in."""
    filters: Mapping[str, RunFilter] = {
        "all": RunFilter(),
        "completed": RunFilter(status="completed"),
        "failed": RunFilter(status="failed"),
        "cancelled": RunFilter(status="cancelled"),
        "queued": RunFilter(status="queued"),
        "captures": RunFilter(function_id="neural.observation.capture"),
        "failed captures": RunFilter(function_id="neural.observation.capture", status="failed"),
        "a busy workspace": RunFilter(workspace_id="ws_0"),
        "a quiet workspace": RunFilter(workspace_id="ws_19"),
        "failed in a quiet workspace": RunFilter(workspace_id="ws_19", status="failed"),
        "captures of a quiet workspace": RunFilter(workspace_id="ws_19", function_id="neural.observation.capture"),
    }
    deep = deep_in(engine)
    for name, wanted in filters.items():
        for where, place in (("first", None), ("deep", deep)):
            yield f"page of {name}, {where}", partial(list_runs, wanted=wanted, limit=50, after=place)


def deep_in(engine: Engine) -> Cursor:
    """Return a place amid the history."""
    sql = "select created_at, id from lightfast_workspace_workflow_runs where id = (select max(id) / 2 from made)"
    with engine.begin() as connection:
        return Cursor(*connection.execute(text(sql)).one())


def fill(engine: Engine, rows: int) -> int:
    """Make the record and add up all metrics but the tail; return the place behind which the tail begins."""
    start = perf_counter()
    metrics = make_record(engine, rows)
    tail_after = max(0, metrics - TAIL)
    write_metrics(engine, -1, through=tail_after)
    tidy(engine)
    say(
        f"{rows} executions and {metrics} metrics made in {perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f}"
    )
    start = perf_counter()
    done = refresh(engine)
    seconds = perf_counter() - start
    rate = done.metrics / seconds
    say(f"{done.metrics} metrics added up in {seconds:.0f} s, {rate:.0f} a second, load {_load()}")
    tidy(engine)
    return tail_after


def measure(engine: Engine, rows: int, names: list[str]) -> list[Taken]:
    """Fill a database and ask it everything; return what was too slow."""
    tail_after = fill(engine, rows)
    say(f"{'milliseconds':<48}{'median':>10}{'longest':>10}{'processor':>10}{'load':>7}")
    views = list(of_views(names))
    taken = [timed(engine, what, ask, bound=VIEW_SECONDS) for what, ask in views]
    taken += [timed(engine, what, ask, bound=PAGE_SECONDS) for what, ask in of_pages(engine)]
    taken.append(timed(engine, "event_accounting", everything_in("event_accounting"), bound=None, times=1))
    tail = write_metrics(engine, tail_after, through=sys.maxsize)
    say(f"with {tail} metrics that are not added up:")
    taken += [timed(engine, what, ask, bound=VIEW_SECONDS) for what, ask in views]
    return [one for one in taken if one.is_slow]


def main() -> None:
    """Measure in a server that goes with this process."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline_tests.benchmarks.million_rows")
    parser.add_argument("--rows", type=int, default=1_000_000, help="executions; there are twice as many metrics")
    parser.add_argument("--view", action="append", default=[], help="ask only this view; may be repeated")
    given = parser.parse_args()
    with ephemeral_server() as home:
        create_database(server_url(home, "postgres"), "quarter")
        engine = engine_for(server_url(home, "quarter"))
        upgrade(engine)
        slow = measure(engine, given.rows, given.view)
        engine.dispose()
    say(f"{len(slow)} of them too slow" if slow else "all within their bounds")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
