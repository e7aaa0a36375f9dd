"""The dispatcher: does at once what the sensors do with their next turn. They stay the safety net: it may die any time.

Run as `python -m neural_pipeline.automation.dispatcher [MODULE]`, the module of the code location's definitions. It
hears what the database announces, sleeps in between, and ends with its parent. What it does is in `dispatcher_work`.
"""

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, NoReturn

import dagster as dg
import psycopg2
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from neural_pipeline.automation.dispatcher_pace import Pace
from neural_pipeline.automation.dispatcher_runs import DEFINITIONS, load_jobs
from neural_pipeline.automation.dispatcher_work import Desk
from neural_pipeline.automation.run_server_code import fingerprint
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.resources import Pipeline
from neural_pipeline.store.announcements import PLACE, Channel, Listener, Unheard, listening
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.exclusive import Taken, exclusively

_LONGEST_SLEEP = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
"""Seconds before another attempt where the database is away."""

_SENSOR_NEEDS = 0.2
"""Seconds until a function is looked at again that its sensor is assigning just now."""

_WRITTEN_AFTER = 0.05
_LAST_LOOK_AFTER = 0.5
"""Dagster announces an event before the run has the status that comes with it: so long after it is looked at."""


class Dispatcher:
    """Hears announcements and acts on them, one step after another."""

    def __init__(self, desk: Desk, *, own: Listener, dagster: Listener) -> None:
        self.desk, self.own, self.dagster = desk, own, dagster
        self._due = Pace(rest=0.05, share=1)
        self._ends = Pace(rest=0.1, share=5)
        self._outcomes: dict[int, Pace] = {}
        self._heard_of: dict[str, bool] = {}
        """Runs of which there was news, and whether this is the last time that they are looked at for it."""

    def catch_up(self) -> None:
        """Act on whatever may have been announced while nobody listened, or was left half done."""
        attempt("looking for runs left half launched", self.desk.give_up_unlaunched)
        now = time.monotonic()
        self._due.announce(now)
        self._hear_of_outcomes(now)
        self._hear_of_runs(self.desk.running().values(), now)

    def step(self, *, seconds: float, wake: Iterable[Any] = ()) -> None:
        """Wait until there is something to do, at most so long or until `wake` can be read, and do it; raises Unheard.

        An error of what is done is told and keeps nothing else from being done.
        """
        now = time.monotonic()
        times = [pace.due_at for pace in (self._due, self._ends, *self._outcomes.values()) if pace.due_at is not None]
        until = now if self.own.has_heard or self.dagster.has_heard else min([now + seconds, *times])
        select.select([self.own, self.dagster, *wake], [], [], max(until - now, 0.0))
        self._hear()
        self._do(self._ends, "settling runs that have ended", self._settle)
        self._do(self._due, "looking for what is due", self._start)
        for batch_id, pace in list(self._outcomes.items()):
            self._do(pace, f"recording batch {batch_id}", lambda batch_id=batch_id: self.desk.record(batch_id))

    def _hear(self) -> None:
        announced, now = [*self.own.heard(), *self.dagster.heard()], time.monotonic()
        channels = {channel for channel, _ in announced}
        if Channel.DUE in channels:
            self._due.announce(now)
        if Channel.OUTCOMES in channels:
            self._hear_of_outcomes(now)
        runs = {payload.rpartition("_")[0] for channel, payload in announced if channel == Channel.RUN_EVENTS}
        if runs:
            self._hear_of_runs(runs, now)

    def _hear_of_outcomes(self, now: float) -> None:
        known = self._outcomes
        self._outcomes = {id_: known.get(id_) or Pace(rest=0.02, share=20) for id_ in self.desk.running()}
        for pace in self._outcomes.values():
            pace.announce(now)

    def _hear_of_runs(self, run_ids: Iterable[str], now: float) -> None:
        self._heard_of.update(dict.fromkeys(run_ids, False))
        self._ends.announce(now, after=_WRITTEN_AFTER)

    def _do(self, pace: Pace, what: str, act: Callable[[], object]) -> None:
        began = time.monotonic()
        if not pace.is_due(began):
            return
        pace.begin()
        attempt(what, act)
        pace.end(began, time.monotonic())

    def _start(self) -> None:
        due = self.desk.look_for_due()
        if due.next_in is not None:
            self._due.announce(time.monotonic(), after=due.next_in)
        for name in due.functions:
            attempt(f"starting {name}", lambda name=name: self._start_due(name))

    def _start_due(self, name: str) -> None:
        if self.desk.start_due(FunctionId(name)) is None:
            self._due.announce(time.monotonic(), after=_SENSOR_NEEDS)

    def _settle(self) -> None:
        working = set(self.desk.running().values())
        heard_of = {run: is_last for run, is_last in self._heard_of.items() if run in working}
        self._heard_of = {}
        ended = self.desk.settle_ended(heard_of) if heard_of else set[str]()
        self._heard_of = {run: True for run, is_last in heard_of.items() if run not in ended and not is_last}
        if self._heard_of:
            self._ends.announce(time.monotonic(), after=_LAST_LOOK_AFTER)


def attempt(what: str, act: Callable[[], object]) -> None:
    """Do something; what goes wrong with it is told, and left to the sensors."""
    try:
        act()
    except Exception as error:  # whatever it is, the next announcement must find somebody who listens
        say(f"{what} failed and is left to the sensors: {told(error)}")


def told(error: BaseException) -> str:
    """Return what an error says in one line, without the statement and its parameters."""
    original = getattr(error, "orig", None) or error
    return f"{type(error).__name__}: {' '.join(str(original).split())[:300]}"


def say(line: str) -> None:
    """Write a line to the log."""
    sys.stderr.write(f"dispatcher {os.getpid()}: {line}\n")
    sys.stderr.flush()


class Ending:
    """Whether the process is to end: it was told to, or its parent has ended. Can be waited for."""

    def __init__(self, parent: int) -> None:
        self.parent, self._is_told = parent, False
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    def fileno(self) -> int:
        """Return what can be read once a signal has come."""
        return self._read

    def is_near(self, *, within: float = 0.0) -> bool:
        """Tell whether to end, now or after waiting for it."""
        if within and not self._is_told:
            select.select([self], [], [], within)
        return self._is_told or os.getppid() != self.parent

    def _hear(self, _number: int, _frame: object) -> None:
        self._is_told = True


class CodeChanged(Exception):
    """What is on disk is not what was imported."""


def serve(module: str, ending: Ending) -> None:
    """Work until the end is near, through outages of the database; raises CodeChanged."""
    loaded = fingerprint(module)
    jobs, pipeline = load_jobs(module), Pipeline()
    elsewhere = engine_for(resolve_database(pipeline.settings).dagster_url)
    pause = _FIRST_PAUSE
    with dg.DagsterInstance.get() as instance:
        while not ending.is_near():
            try:
                with ExitStack() as stack:
                    dispatcher = _take_place(stack, pipeline, elsewhere, instance=instance, jobs=jobs)
                    pause = _FIRST_PAUSE
                    _dispatch(dispatcher, ending, is_code_changed=lambda: fingerprint(module) != loaded)
            except Taken:
                say("another one works on this database: waiting for it to end")
                pause = _LONGEST_SLEEP
            except (Unheard, SQLAlchemyError, psycopg2.Error) as error:
                say(f"the database is away: {told(error.__cause__ or error)}")
            ending.is_near(within=pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _dispatch(dispatcher: Dispatcher, ending: Ending, *, is_code_changed: Callable[[], bool]) -> None:
    looked_at = time.monotonic()
    while not ending.is_near():
        dispatcher.step(seconds=_LONGEST_SLEEP, wake=[ending])
        if time.monotonic() - looked_at > _LONGEST_SLEEP:
            if is_code_changed():
                raise CodeChanged
            looked_at = time.monotonic()


def _take_place(
    stack: ExitStack, pipeline: Pipeline, elsewhere: Engine, *, instance: dg.DagsterInstance, jobs: Any
) -> Dispatcher:
    connection = stack.enter_context(exclusively(pipeline.engine, PLACE))
    own = Listener.on(connection, Channel.DUE, Channel.OUTCOMES)
    dagster = stack.enter_context(listening(elsewhere, Channel.RUN_EVENTS))
    dispatcher = Dispatcher(Desk(pipeline, instance, jobs, connection), own=own, dagster=dagster)
    dispatcher.catch_up()
    say("listening")
    return dispatcher


def main() -> None:
    """Work until told to end; begin anew where the code on disk has changed."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline.automation.dispatcher")
    parser.add_argument("module", nargs="?", default=DEFINITIONS)
    parser.add_argument("--parent", type=int, default=os.getppid())
    given = parser.parse_args()
    try:
        serve(given.module, Ending(given.parent))
    except CodeChanged:
        say("the code has changed: loading it anew")
        _begin_anew(given.module, parent=given.parent)


def _begin_anew(module: str, *, parent: int) -> NoReturn:
    """Become a new process image; the parent may have ended meanwhile, so that it is named."""
    command = [sys.executable, "-m", "neural_pipeline.automation.dispatcher", module, "--parent", str(parent)]
    os.execv(sys.executable, command)  # noqa: S606 - this very program


if __name__ == "__main__":
    main()
