"""What an event costs when there are few, many, and a million before it: set-wise, without Dagster, on the real schema.

`python -m neural_pipeline_tests.benchmarks.fast.own_growth [--sizes 1000 10000 100000] [--million] [--past 1000000]`.
The sizes take as long as their events at the pace of the floor: some three minutes. The million is made in some five
minutes and measured in half a minute; then pages of the history are asked for.

Seconds of processor time count, not those on the clock: on a machine that others use too they are what repeats.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, Engine, text

from neural_pipeline.store.runs import Cursor, RunFilter, list_runs
from neural_pipeline_tests.benchmarks.fast import floor
from neural_pipeline_tests.benchmarks.fast.events import BEGIN, Events
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured
from neural_pipeline_tests.benchmarks.fast.own_telling import Numbers, Trouble, in_one_line, say, shown
from neural_pipeline_tests.benchmarks.fast.site import durable_server, only_settings_of_the_contest, site_for
from neural_pipeline_tests.benchmarks.million_rows import PAGE_SECONDS, Ask, timed
from neural_pipeline_tests.benchmarks.quarter import tidy

SIZES = (1_000, 10_000, 100_000)
SHORT_SIZES = (1_000, 3_000)
PAST = 1_000_000
MOST = 1.2
"""What an event may cost with the past there, compared with an empty database."""

_SCRIPT = Path(__file__).with_suffix(".sql")
_MODEL, _DIMENSION = "hashing-256", 256


def growth(sizes: Sequence[int] = SIZES) -> Numbers:
    """Measure the cost of an event at each number of events, each in a database of its own, and the largest ratio."""
    with only_settings_of_the_contest(), durable_server() as home:
        _measured(home, "warm_up", min(sizes), past=0)
        costs = {size: cost_of(_measured(home, f"empty_{size}", size, past=0)) for size in sizes}
    first = costs[min(sizes)]["cpu_ms"]
    return {f"{what}_per_event.{size}": cost for size, of_it in costs.items() for what, cost in of_it.items()} | {
        "cpu_ratio_of_most_to_fewest": costs[max(sizes)]["cpu_ms"] / first
    }


def with_a_past(past: int = PAST, *, events: int = SIZES[1]) -> Numbers:
    """Measure the cost of an event with and without a past, the ratio of the two, and pages of that history."""
    with only_settings_of_the_contest(), durable_server() as home:
        _measured(home, "warm_up", min(1_000, events), past=0)
        empty = cost_of(_measured(home, "empty", events, past=0))
        pages = dict[str, float]()
        full = cost_of(_measured(home, "full", events, past=past, pages=pages))
        again = cost_of(_measured(home, "empty_again", events, past=0))
    empty = {what: (empty[what] + again[what]) / 2 for what in empty}
    ratios = {f"{what}_ratio": full[what] / empty[what] for what in empty}
    told = {f"{what}_per_event.empty": cost for what, cost in empty.items()}
    return told | {f"{what}_per_event.past_{past}": cost for what, cost in full.items()} | ratios | pages


def cost_of(measured: Measured) -> Numbers:
    """Return the milliseconds of an event: of processor time in all, in Python, in Postgres, and on the clock."""
    return {
        "cpu_ms": measured.cpu_ms_per_event,
        "python_ms": 1000 * measured.python_cpu_s / measured.events,
        "postgres_ms": 1000 * measured.postgres_cpu_s / measured.events,
        "wall_ms": 1000 * measured.seconds / measured.events,
    }


def _measured(home: Path, name: str, count: int, *, past: int, pages: dict[str, float] | None = None) -> Measured:
    events = Events(count, 20)
    with site_for(name, home, events) as site:
        if past:
            make_past(site.engine, past)
        # Where others have written: what is left of that to be done shall not fall into the time of this one.
        with site.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("checkpoint"))
        measured = _on_floor(events, site)
        if pages is not None:
            pages |= pages_of(site.engine)
        return measured


def _on_floor(events: Events, site: BenchSite) -> Measured:
    try:
        return floor.run(events, site)
    except Exception as problem:
        lines = str(problem).splitlines() or [type(problem).__name__]
        raise Trouble(f"{events.count} events set-wise: {lines[0]}") from problem


def make_past(engine: Engine, rows: int) -> None:
    """Fill a database that has workspaces but no events; raises Trouble if its records do not add up."""
    start = perf_counter()
    settings = {"rows": str(rows), "begin": BEGIN.isoformat(), "centroid": _centroid(), "model": _MODEL}
    with engine.begin() as connection:
        for name, value in settings.items():
            connection.execute(
                text("select set_config(:name, :value, true)"), {"name": f"growth.{name}", "value": value}
            )
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.execute(_SCRIPT.read_text(encoding="utf-8"))
    tidy(engine)
    with engine.begin() as connection:
        require_adding_up(connection)
    say(f"a past of {rows} captures made in {perf_counter() - start:.0f} s")


def require_adding_up(connection: Connection) -> None:
    """Raise Trouble where the records of a past hold against each other, but for summaries, which nobody asked for."""
    sql = "select rule from event_accounting where unexplained <> 0 and rule not like '%summary of its cluster'"
    found = connection.execute(text(sql)).scalars().all()
    if found:
        raise Trouble(f"the past does not add up: {found[0]}")


def _centroid() -> str:
    share = _DIMENSION**-0.5
    return "[" + ",".join(f"{share if place % 2 else -share:.6f}" for place in range(_DIMENSION)) + "]"


def pages_of(engine: Engine) -> Numbers:
    """Return the median milliseconds of pages of the history, printing each; the longest under `page_ms_max`."""
    taken = {
        what: 1000 * sorted(timed(engine, what, ask, bound=PAGE_SECONDS).seconds)[2] for what, ask in of_pages(engine)
    }
    return {"page_ms_max": max(taken.values())} | {f"page_ms.{what}": took for what, took in taken.items()}


def of_pages(engine: Engine) -> Iterator[tuple[str, Ask]]:
    """Yield the pages that are asked for, first and deep in."""
    filters: Mapping[str, RunFilter] = {
        "all": RunFilter(),
        "completed": RunFilter(status="completed"),
        "failed": RunFilter(status="failed"),
        "queued": RunFilter(status="queued"),
        "captures": RunFilter(function_id="neural.observation.capture"),
        "a workspace": RunFilter(workspace_id="ws_bench_03"),
        "failed in a workspace": RunFilter(workspace_id="ws_bench_03", status="failed"),
        "captures of a workspace": RunFilter(workspace_id="ws_bench_03", function_id="neural.observation.capture"),
    }
    deep = _deep_in(engine)
    for name, wanted in filters.items():
        for where, place in (("first", None), ("deep", deep)):
            yield f"{name}, {where}", partial(list_runs, wanted=wanted, limit=50, after=place)


def _deep_in(engine: Engine) -> Cursor:
    sql = """
    select created_at, id from lightfast_workspace_workflow_runs
    where id >= (select max(id) / 4 from lightfast_workspace_workflow_runs) order by id limit 1
    """
    with engine.begin() as connection:
        return Cursor(*connection.execute(text(sql)).one())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline_tests.benchmarks.fast.own_growth")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--short", action="store_true", help=f"sizes {SHORT_SIZES}")
    parser.add_argument("--million", action="store_true", help="measure with a past, too")
    parser.add_argument("--past", type=int, default=PAST, help="how many captures that past has")
    parser.add_argument("--events", type=int, default=SIZES[1], help="how many events are measured with a past")
    given = parser.parse_args(arguments)
    if given.sizes:
        say("cost per event:", *shown(growth(SHORT_SIZES if given.short else given.sizes)))
    if given.million:
        found = with_a_past(given.past, events=given.events)
        verdict = "within" if found["cpu_ms_ratio"] <= MOST else "ABOVE"
        say(f"with a past of {given.past} captures, {verdict} a ratio of {MOST}:", *shown(found))


if __name__ == "__main__":
    in_one_line(main)
