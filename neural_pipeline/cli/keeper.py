"""A process between `neural up` and Dagster: it ends Dagster when its own parent ends, however that happens.

Run as `python -m neural_pipeline.cli.keeper SECONDS [--again NAME] COMMAND...`; the end of its standard input is the
sign to stop. With `--again`, a command that ends by itself is started again, and standard output tells so.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import FrameType

import psutil

_TICK = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a command that ended by itself is started again; a command that lived longer begins with the first."""


def keep(command: Sequence[str], *, patience: float) -> int:
    """Run a command until it ends or standard input does; return its exit code."""
    _hear_no_signals()
    child, family = _start(command, output=None), set[psutil.Process]()
    family = _watch(child, family)
    return _stop(child, family, patience=patience)


def keep_again(command: Sequence[str], *, patience: float, name: str) -> int:
    """Run a command until standard input ends, again and again; what it has left running is kept meanwhile."""
    _hear_no_signals()
    family, pause = set[psutil.Process](), _FIRST_PAUSE
    while True:
        began = time.monotonic()
        try:
            child = _start(command, output=sys.stderr.fileno())
        except OSError as problem:  # no more processes to be had, or a program that is just being replaced
            why = f"cannot be started ({problem})"
        else:
            family = _watch(child, family)
            if child.poll() is None:
                return _stop(child, family, patience=patience)
            why = f"ended with code {child.returncode}"
        pause = _FIRST_PAUSE if time.monotonic() - began > _LONGEST_PAUSE else pause
        _tell(f"the {name} {why}; it is started again in {pause:.0f} s")
        if _parent_is_done(pause):
            _end(family)
            return 0
        pause = min(pause * 2, _LONGEST_PAUSE)


def _hear_no_signals() -> None:
    # Handlers, not SIG_IGN: a child would inherit that and not hear the signal that is to stop it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _hear_nothing)


def _start(command: Sequence[str], *, output: int | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, start_new_session=True)


def _watch(child: subprocess.Popen[bytes], family: set[psutil.Process]) -> set[psutil.Process]:
    """Wait until the child or standard input ends; return what lives of the family and of what the child started."""
    family = family | _family(child.pid)
    # Remembered from before: once the child is dead, nobody knows any more whose children its own were.
    while child.poll() is None and not _parent_is_done(_TICK):
        family = {process for process in family | _family(child.pid) if process.is_running()}
    return family


def _stop(child: subprocess.Popen[bytes], family: set[psutil.Process], *, patience: float) -> int:
    if child.poll() is None:
        # What it has started since the last look would be nobody's a moment later.
        family = family | _family(child.pid)
        child.send_signal(signal.SIGINT)
        _await(child, patience)
    _end(family)
    return child.wait()


def _tell(line: str) -> None:
    with suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _hear_nothing(_number: int, _frame: FrameType | None) -> None:
    """Only the end of standard input stops a keeper."""


def _parent_is_done(seconds: float) -> bool:
    """Wait a moment; the pipe's end shows that the parent closed it or is gone."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


def _family(pid: int) -> set[psutil.Process]:
    """The process and all it has started: run workers outlive a code server that is killed."""
    try:
        first = psutil.Process(pid)
        return {first, *first.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _await(child: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)


def _end(family: Iterable[psutil.Process]) -> None:
    """End what is left; psutil knows a reused pid by its start time and leaves it alone."""
    left = [process for process in family if process.is_running()]
    for process in left:
        _signal(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, timeout=5)
    for process in stubborn:
        _signal(process, signal.SIGKILL)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    seconds, *rest = sys.argv[1:]
    if rest[0] == "--again":
        sys.exit(keep_again(rest[2:], patience=float(seconds), name=rest[1]))
    sys.exit(keep(rest, patience=float(seconds)))
