"""A process between `neural up` and Dagster: it ends Dagster when its own parent ends, however that happens.

Run as `python -m neural_pipeline.cli.keeper SECONDS COMMAND...`; the end of its standard input is the sign to stop.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from types import FrameType

import psutil

_TICK = 0.5


def keep(command: Sequence[str], *, patience: float) -> int:
    """Run a command until it ends or standard input does; return its exit code."""
    # Handlers, not SIG_IGN: a child would inherit that and not hear the signal that is to stop it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _hear_nothing)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    family = _family(child.pid)
    # Remembered from before: once the child is dead, nobody knows any more whose children its own were.
    while child.poll() is None and not _parent_is_done():
        family = {process for process in family | _family(child.pid) if process.is_running()}
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        _await(child, patience)
    _end(family)
    return child.wait()


def _hear_nothing(_number: int, _frame: FrameType | None) -> None:
    """Only the end of standard input stops a keeper."""


def _parent_is_done() -> bool:
    """Wait a moment; the pipe's end shows that the parent closed it or is gone."""
    readable, _, _ = select.select([sys.stdin], [], [], _TICK)
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
    sys.exit(keep(sys.argv[2:], patience=float(sys.argv[1])))
