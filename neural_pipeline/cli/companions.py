"""The processes beside Dagster that make it fast: the run server, and the dispatcher.

Nothing depends on them: without them the code server starts the runs, and sensors find the work.
"""

import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from neural_pipeline.cli.daemon import kept_running
from neural_pipeline.cli.output import say
from neural_pipeline.postgres.target import Target
from neural_pipeline.settings import Settings

RUN_SERVER = (sys.executable, "-m", "neural_pipeline.automation.run_server")
DISPATCHER = (sys.executable, "-m", "neural_pipeline.automation.dispatcher")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("MKL", "OMP", "OPENBLAS")}
"""What is to be forked must have no other thread, and numpy's libraries would start theirs at import."""


@contextmanager
def run_server(settings: Settings, target: Target, environment: Mapping[str, str]) -> Generator[None]:
    """Have runs forked for the length of the block, if the settings say so."""
    if settings.run_launcher == "stock":
        yield
        return
    with _companion("run server", RUN_SERVER, {**environment, **ONE_THREAD}, home=target.home):
        yield


@contextmanager
def dispatcher(settings: Settings, target: Target, environment: Mapping[str, str]) -> Generator[None]:
    """Have work found at once for the length of the block, if the settings say so."""
    if not settings.dispatcher:
        yield
        return
    with _companion("dispatcher", DISPATCHER, environment, home=target.home):
        yield


@contextmanager
def _companion(name: str, command: Sequence[str], environment: Mapping[str, str], *, home: Path) -> Generator[None]:
    """Run a companion; what is wrong with it is told, and no reason to end."""
    log = home / "logs" / f"{name.replace(' ', '_')}.log"
    stack = ExitStack()
    try:
        process = stack.enter_context(kept_running(command, environment=environment, folder=home, log=log, again=name))
        _repeat(process.stdout, log)
    except OSError as problem:
        say(f"the {name} cannot be started: {problem}")
    try:
        yield
    finally:
        try:
            stack.close()
        except subprocess.TimeoutExpired:
            say(f"the {name} does not stop")


def _repeat(told: IO[bytes] | None, log: Path) -> None:
    """Say what the keeper tells, from a thread of its own, until it ends."""

    def repeat() -> None:
        for line in told or ():
            say(f"{line.decode(errors='replace').strip()}: see {log}")

    threading.Thread(target=repeat, daemon=True).start()
