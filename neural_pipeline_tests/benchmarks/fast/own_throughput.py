"""How many events a second, from `neural ingest` to completed rows, children included, through `neural up`.

`python -m neural_pipeline_tests.benchmarks.fast.own_throughput [--events 20000] [--workspaces 20 --workspaces 1]`.
About a minute and a half per number of workspaces at a thousand events a second, most of it starting and stopping.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from neural_pipeline.postgres.server import status
from neural_pipeline_tests.benchmarks.fast.end_state import EndState, end_state
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.measuring import Measured
from neural_pipeline_tests.benchmarks.fast.own_processes import Meter
from neural_pipeline_tests.benchmarks.fast.own_record import (
    Record,
    dagster_places,
    dagster_since,
    intakes_since,
    moments_since,
    record_of,
    storage_since,
)
from neural_pipeline_tests.benchmarks.fast.own_site import IN_HASTE, NEURAL, Running, Site, metered, own_site
from neural_pipeline_tests.benchmarks.fast.own_telling import (
    Trouble,
    add_choices,
    choices,
    in_one_line,
    lines_of,
    of_roles,
    say,
)

EVENTS = 20_000
SLOWEST = 20.0
"""Events a second below which waiting is given up."""

PATIENCE_SECONDS = 180.0
INGEST_SECONDS = 600.0
_FEEDER = "neural_pipeline_tests.benchmarks.fast.own_feeder"


@dataclass(frozen=True, slots=True)
class Fed:
    """What handing in took: when it began (epoch), seconds in all, seconds of processor time."""

    begin: float
    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Done:
    """What came out, and what is in the database after it."""

    measured: Measured
    end_state: EndState


def throughput(events: Events, *, launcher: str | None = None, dispatcher: bool | None = None) -> Done:
    """Have events done by a `neural up` of their own; raises Trouble."""
    with own_site(IN_HASTE) as site, site.up(launcher=launcher, dispatcher=dispatcher) as running:
        site.make_workspaces(*events.workspaces)
        measured = _measured(site, running, events)
        return Done(measured, end_state(site.engine))


def ingest_alone(events: Events) -> Measured:
    """Hand events in where nothing else works; raises Trouble."""
    with own_site(IN_HASTE) as site, site.database() as engine:
        site.make_workspaces(*events.workspaces)
        files = events.write(site.folder / "events")
        with engine.begin() as connection:
            before = record_of(connection)
        with Meter([pid for pid in [status(site.home).pid] if pid]) as meter:
            fed = feed(site, files)
        with engine.begin() as connection:
            details = _of_ingest(connection, before, fed)
    return Measured(
        name="neural ingest alone",
        events=events.count,
        seconds=fed.seconds,
        events_per_s=events.count / fed.seconds,
        python_cpu_s=fed.cpu,
        postgres_cpu_s=meter.usage.postgres_cpu,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        note="the whole command, the start of its process included",
        details=details,
    )


def feed(site: Site, files: Mapping[str, Path]) -> Fed:
    """Hand in the file of each workspace by the command; raises Trouble where that goes wrong."""
    if len(files) == 1:
        [(workspace, file)] = files.items()
        command = [NEURAL, "ingest", str(file), "--workspace", workspace, "--quiet"]
    else:
        command = [sys.executable, "-m", _FEEDER, *(f"{workspace}={file}" for workspace, file in files.items())]
    before, begin, start = _cpu_of_children(), time.time(), time.perf_counter()
    try:
        done = subprocess.run(
            command,
            env=site.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Trouble(f"`neural ingest` took more than {INGEST_SECONDS:.0f} s") from None
    seconds = time.perf_counter() - start
    if done.returncode:
        raise Trouble(f"`neural ingest` ended with code {done.returncode}: {done.stderr.strip()[-200:]}")
    return Fed(begin, seconds, _cpu_of_children() - before)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _measured(site: Site, running: Running, events: Events) -> Measured:
    files = events.write(site.folder / "events")
    with site.engine.begin() as connection:
        before, dagster_before = record_of(connection), dagster_places(connection)
    with metered(running) as meter:
        fed = feed(site, files)
        patience = PATIENCE_SECONDS + events.count / SLOWEST
        end = site.await_end(running, f"{events.count} events", seconds=patience)
    site.let_runs_end(running)
    with site.engine.begin() as connection:
        details = (
            _of_ingest(connection, before, fed)
            | _of_moments(connection, before, fed)
            | storage_since(before, record_of(connection), events=events.count)
            | dagster_since(connection, dagster_before, events=events.count)
        )
    usage = meter.usage
    return Measured(
        name=_name(running, events),
        events=events.count,
        seconds=end - fed.begin,
        events_per_s=events.count / (end - fed.begin),
        python_cpu_s=usage.python_cpu + fed.cpu,
        postgres_cpu_s=usage.postgres_cpu,
        peak_rss_bytes=usage.python_peak,
        note="runs forked" if running.is_warm else "runs started by the code server",
        details=details
        | of_roles(usage, events=events.count)
        | {"cpu_ms_per_event.ingest": 1000 * fed.cpu / events.count},
    )


def _name(running: Running, events: Events) -> str:
    count = len(events.workspaces)
    return f"neural up, {count} workspace{'s' if count > 1 else ''}"


def _of_ingest(connection: Connection, before: Record, fed: Fed) -> dict[str, float]:
    found = intakes_since(connection, before)
    count = found["received"]
    return {
        "ingest_s": fed.seconds,
        "ingest_events_per_s": count / fed.seconds,
        "ingest_after_start_events_per_s": count / found["working"],
        "ingest_database_events_per_s": count / found["database"],
        "ingest_cpu_ms_per_event": 1000 * fed.cpu / count,
        "ingest_chunks": found["chunks"],
    }


def _of_moments(connection: Connection, before: Record, fed: Fed) -> dict[str, float]:
    found = moments_since(connection, before)
    if found["not_completed"]:
        raise Trouble(f"{found['not_completed']} executions did not end as completed")
    times = {f"{name}_s": found[name] - fed.begin for name in ("capture_outcome", "capture_row", "child_row")}
    counts = {name: found[name] for name in ("captures", "children", "superseded")}
    return {f"last_{name}": seconds for name, seconds in times.items()} | counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline_tests.benchmarks.fast.own_throughput")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--workspaces", type=int, action="append", help="may be repeated; default: 20 and 1")
    add_choices(parser)
    parser.add_argument("--no-ingest", action="store_true", help="leave out `neural ingest` alone")
    given = parser.parse_args(arguments)
    if not given.no_ingest:
        say(*lines_of(ingest_alone(Events(given.events, 1))))
    for count in given.workspaces or (20, 1):
        done = throughput(Events(given.events, count), **choices(given))
        say(*lines_of(done.measured))


if __name__ == "__main__":
    in_one_line(main)
