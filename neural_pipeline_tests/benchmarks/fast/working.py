"""Worker processes of a contestant, and its time: from the first payload handed in until the last row is completed.

Processes start and import what they need before the clock does.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event, Semaphore

from sqlalchemy import Engine

from neural_pipeline.store.sql import scalar
from neural_pipeline_tests.benchmarks.fast.capture_logic import Job
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.intake import hand_in
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured, Stopwatch

_START_SECONDS = 120.0
_STANDSTILL_SECONDS = 120.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Crew:
    """How many processes work, and how many events each of them has under way at once."""

    processes: int = 1
    threads: int = 1

    def __str__(self) -> str:
        """Return the same in words."""
        return f"{self.processes} x {self.threads}"


@dataclass(frozen=True, slots=True)
class Signals:
    """What a worker process tells, that it is ready, and what it is told, that it is to end."""

    ready: Semaphore
    stop: Event


Work = Callable[[int, Signals], None]
"""Works until it is told to stop, on so many events at once; runs in a process of its own."""

Enqueue = Callable[[list[Job]], None]


class NothingMoves(Exception):
    """A contestant has stopped working though there is work."""


def nothing(_jobs: list[Job]) -> None:
    """Enqueue nothing: the inbox is the queue."""


def contest(
    name: str,
    events: Events,
    site: BenchSite,
    *,
    crew: Crew,
    work: Work,
    enqueue: Enqueue = nothing,
    afterwards: Callable[[], None] = lambda: None,
) -> Measured:
    """Have worker processes do all there is to be done about the events while these are handed in; measure that.

    What happens `afterwards`, before the processes are stopped, is not measured.
    """
    engine = site.engine
    len(events.of_workspace)  # made before the clock runs
    with _working(site.environment, crew, work):
        with Stopwatch(site.home) as watch:
            begin = time.perf_counter()
            for jobs in hand_in(engine, events):
                enqueue(jobs)
            handed_in = time.perf_counter() - begin
            await_the_end(engine)
        afterwards()
    captured = _seconds_until_captured(engine)
    return watch.measured(
        name,
        events.count,
        note=_said_of(events, crew),
        hand_in_s=handed_in,
        captures_per_s=events.count / captured,
        children_worked=_worked_children(engine),
    )


def _said_of(events: Events, crew: Crew) -> str:
    workspaces, processes = len(events.workspaces), crew.processes
    threads = f" of {crew.threads} threads" if crew.threads > 1 else ""
    return f"{workspaces} workspace{'s' * (workspaces > 1)}, {processes} process{'es' * (processes > 1)}{threads}"


@contextmanager
def _working(environment: Mapping[str, str], crew: Crew, work: Work) -> Generator[None]:
    spawning = multiprocessing.get_context("spawn")
    signals = Signals(spawning.Semaphore(0), spawning.Event())
    arguments = (dict(environment), crew.threads, work, signals)
    processes = [spawning.Process(target=_worker, args=arguments, daemon=True) for _ in range(crew.processes)]
    for process in processes:
        process.start()
    try:
        _await_ready(processes, signals)
        yield
    finally:
        signals.stop.set()
        for process in processes:
            process.join(timeout=30)
            if process.is_alive():
                process.kill()
                process.join()


def _await_ready(processes: Sequence[BaseProcess], signals: Signals) -> None:
    deadline, ready = time.monotonic() + _START_SECONDS, 0
    while ready < len(processes):
        ready += signals.ready.acquire(timeout=1)
        if time.monotonic() > deadline or any(process.exitcode is not None for process in processes):
            raise NothingMoves("a worker process has not come up, or has ended at once")


def _worker(environment: Mapping[str, str], threads: int, work: Work, signals: Signals) -> None:
    os.environ.update(environment)
    work(threads, signals)


def await_the_end(engine: Engine) -> None:
    """Return when every execution has ended and its row is completed; raises NothingMoves if that does not come."""
    last, since = None, time.monotonic()
    while True:
        with engine.begin() as connection:
            if not scalar(connection, _OPEN_ROWS):
                return
            latest = scalar(connection, _LATEST)
        if latest != last:
            last, since = latest, time.monotonic()
        if time.monotonic() - since > _STANDSTILL_SECONDS:
            raise NothingMoves("executions are left, and none has ended for a minute")
        time.sleep(_POLL_SECONDS)


# Both by an index, whatever the history: a scan of the whole inbox at every look would be measured, too.
_LATEST = "select max(outcome_at) from incoming_events where outcome is not null"
_OPEN_ROWS = """
select exists (select from lightfast_workspace_workflow_runs where status in ('queued', 'running'))
"""

_CAPTURED = """
select extract(epoch from max(outcome_at) - min(received_at)) from incoming_events
where function_id = 'neural.observation.capture'
"""
_WORKED = """
select count(*) from incoming_events where parent_event_id is not null and outcome is distinct from 'superseded'
"""


def _seconds_until_captured(engine: Engine) -> float:
    """Return the seconds from the first acceptance to the last outcome of a capture."""
    with engine.begin() as connection:
        return float(scalar(connection, _CAPTURED))


def _worked_children(engine: Engine) -> int:
    with engine.begin() as connection:
        return int(scalar(connection, _WORKED))
