"""`neural up` as a user has it: the command as a process, with a home folder and an embedded server of its own.

The server is as durable as in production. What is asked of it and measured stands in the other modules `own_*`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import Engine, text

from neural_pipeline.cli.documents import delivery_of_line
from neural_pipeline.cli.ingest import Desk, Intake, take_in
from neural_pipeline.cli.tally import Tally
from neural_pipeline.postgres import server
from neural_pipeline.postgres.folders import SHORT_FOLDER
from neural_pipeline.postgres.target import EMBEDDED_DATABASE
from neural_pipeline.settings import Settings
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.workspaces import create_workspace
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.own_processes import Meter, processes_of, role_of, words_of
from neural_pipeline_tests.benchmarks.fast.own_record import forget_everything, unfinished_runs
from neural_pipeline_tests.benchmarks.fast.own_telling import Trouble
from neural_pipeline_tests.benchmarks.fast.site import SETTINGS as IN_HASTE
from neural_pipeline_tests.benchmarks.memory import SETTINGS as OF_WORKSPACES

NEURAL = str(Path(sys.executable).with_name("neural"))
READY_SECONDS = 240.0
STOP_SECONDS = 90.0
WARM_UP_SECONDS = 300.0
WARM_UP = "ws_warm_up"

CAPTURES = "inngest_function_id = 'neural.observation.capture'"
_ANY = "exists (select from lightfast_workspace_workflow_runs where status = '{status}' and {only})"
_FROM_OUTSIDE = ("DATABASE_URL", "DAGSTER_HOME", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")


@dataclass(frozen=True, slots=True)
class Running:
    """A `neural up` that is ready."""

    process: subprocess.Popen[bytes]
    home: Path
    log: Path

    @property
    def roots(self) -> list[int]:
        """The first processes: of the command, and of the server."""
        postmaster = server.status(self.home).pid
        return [self.process.pid, *([postmaster] if postmaster else [])]

    @property
    def is_warm(self) -> bool:
        """Whether runs are forked from a process with all imports."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return any(role_of(words_of(process), parent=None) == "run server" for process in family)

    def require_alive(self) -> None:
        """Raise Trouble unless the command still runs."""
        if self.process.poll() is not None:
            raise Trouble(f"`neural up` ended with code {self.process.returncode}: {_end_of(self.log)}")


@dataclass
class Site:
    """A home folder; `settings` are variables of every process that is started here."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def home(self) -> Path:
        """The home folder of the pipeline."""
        return self.folder / "home"

    @property
    def engine(self) -> Engine:
        """This process's engine for the embedded database."""
        return engine_for(server.server_url(self.home, EMBEDDED_DATABASE))

    def environment(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the variables of a process here; what the caller's shell exports does not count."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("NEURAL_") and name not in _FROM_OUTSIDE
        }
        return kept | dict(self.settings) | dict(changes or {}) | {"NEURAL_HOME": str(self.home)}

    def neural(self, *arguments: str, seconds: float = 120.0) -> str:
        """Run a `neural` command to its end and return what it says; raises Trouble."""
        try:
            done = subprocess.run(
                [NEURAL, *arguments],
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Trouble(f"`neural {arguments[0]}` took more than {seconds:.0f} s") from None
        if done.returncode:
            raise Trouble(f"`neural {arguments[0]}` ended with code {done.returncode}: {_last_line(done.stderr)}")
        return done.stdout

    @contextmanager
    def database(self) -> Iterator[Engine]:
        """Have the server run, without a daemon, for the length of the block."""
        self.neural("db", "start")
        try:
            yield self.engine
        finally:
            self.engine.dispose()
            self.neural("db", "stop")

    def make_workspaces(self, *names: str) -> None:
        """Make the workspaces that are not there yet, as those of all contestants."""
        with self.engine.begin() as connection:
            for name in names:
                create_workspace(connection, name, organisation="org_bench", name=name, settings=OF_WORKSPACES)

    def hand_in(self, workspace: str, *payloads: bytes) -> None:
        """Admit webhooks of GitHub from this process, as `neural ingest` does."""
        deliveries = (delivery_of_line(body, workspace, given=None) for body in payloads)
        desk = Desk.of(Settings.load(), workspace=workspace)
        take_in(self.engine, Intake(deliveries, "cli"), desk, tally=Tally(), quiet=True)

    @contextmanager
    def up(self, *, launcher: str | None = None, dispatcher: bool | None = None) -> Iterator[Running]:
        """Have `neural up` ready and warmed up for the length of the block; prove that nothing of it is left after.

        What is None is left to the program. Raises Trouble.
        """
        choice = {"NEURAL_RUN_LAUNCHER": launcher, "NEURAL_DISPATCHER": None if dispatcher is None else str(dispatcher)}
        running = self._start({name: value for name, value in choice.items() if value is not None})
        try:
            _await_ready(running)
            self._warm_up(running)
            yield running
        except BaseException:
            with suppress(Trouble):  # what came first says more
                _stop(running)
            raise
        finally:
            self.engine.dispose()
        _stop(running)

    def _start(self, changes: Mapping[str, str]) -> Running:
        log = self.folder / "up.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [NEURAL, "up", "--port", str(_free_port())],
                env=self.environment(changes),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Running(process, self.home, log)

    def _warm_up(self, running: Running) -> None:
        """Have some events done, twice: what is timed later finds sensors, launcher and code server at work."""
        self.make_workspaces(WARM_UP)
        [webhooks] = Events(8, 1).of_workspace.values()
        for some in (webhooks[:4], webhooks[4:]):
            self.hand_in(WARM_UP, *some)
            only = "true" if IN_HASTE.items() <= self.settings.items() else CAPTURES
            self.await_end(running, "the first events", seconds=WARM_UP_SECONDS, only=only)
        self.let_runs_end(running)
        forget_everything(self.engine)

    def let_runs_end(self, running: Running, *, seconds: float = WARM_UP_SECONDS) -> None:
        """Wait until Dagster has ended its runs and batches are closed, which is after the last row; raises Trouble."""
        deadline = time.monotonic() + seconds
        while True:
            with self.engine.begin() as connection:
                if not unfinished_runs(connection):
                    return
            running.require_alive()
            if time.monotonic() > deadline:
                raise Trouble(f"Dagster's runs had no end after {seconds:.0f} s: {_end_of(running.log)}")
            time.sleep(0.5)

    def await_end(self, running: Running, what: str, *, seconds: float, only: str = "true") -> float:
        """Wait until no execution is unfinished, looking twice a second; return the time of the look that saw that.

        `only` is a condition on their rows. Raises Trouble.
        """
        # One statement, one moment: the children of an execution are there before its row is completed.
        unfinished = " or ".join(_ANY.format(status=status, only=only) for status in ("queued", "running"))
        deadline = time.monotonic() + seconds
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while connection.execute(text(f"select {unfinished}")).scalar_one():
                running.require_alive()
                if time.monotonic() > deadline:
                    raise Trouble(f"{what} had no end after {seconds:.0f} s: {_end_of(running.log)}")
                time.sleep(0.5)
            return time.time()


@contextmanager
def own_site(settings: Mapping[str, str] | None = None) -> Iterator[Site]:
    """Yield a fresh site; afterwards its server is stopped and its folder removed, after trouble all but the logs."""
    folder = Path(tempfile.mkdtemp(prefix="neural-bench-", dir=SHORT_FOLDER))
    folder.chmod(0o755)  # the account of the server has to get in
    site = Site(folder, settings or {})
    try:
        # Should this process be killed, the watchdog stops the server; without that `neural up` ends, too.
        with _watchdog(site.home):
            try:
                yield site
            except Trouble as trouble:
                (folder / "logs").mkdir()
                with suppress(OSError):
                    shutil.copytree(site.home / "logs", folder / "logs", dirs_exist_ok=True)
                raise Trouble(f"{trouble}; its logs are in {folder}") from None
    except Trouble:
        shutil.rmtree(folder / "events", ignore_errors=True)
        raise
    finally:
        if not (folder / "logs").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _watchdog(home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "neural_pipeline.postgres.watchdog", str(home)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


@contextmanager
def metered(running: Running, *, look_seconds: float = 0.5) -> Iterator[Meter]:
    """Measure what the processes of a `neural up` use within the block."""
    with Meter(running.roots, look_seconds=look_seconds) as meter:
        yield meter


def _await_ready(running: Running) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while b"ready: " not in running.log.read_bytes():
        running.require_alive()
        if time.monotonic() > deadline:
            raise Trouble(f"`neural up` was not ready after {READY_SECONDS:.0f} s: {_end_of(running.log)}")
        time.sleep(0.2)


def _stop(running: Running) -> None:
    """Interrupt the command as Ctrl-C does and wait for its end; raises Trouble if something is left of it."""
    running.process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        running.process.wait(timeout=STOP_SECONDS)
    _, left = psutil.wait_procs(processes_of(running.home), timeout=5)
    named = ", ".join(f"{process.pid} {role_of(words_of(process), parent=None)}" for process in left)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if left:
        raise Trouble(f"{STOP_SECONDS:.0f} s after its interruption `neural up` had left, killed now: {named}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_of(log: Path) -> str:
    return _last_line(log.read_text(errors="replace")) if log.exists() else "it said nothing"


def _last_line(said: str) -> str:
    return next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
