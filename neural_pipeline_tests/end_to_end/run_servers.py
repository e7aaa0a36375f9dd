"""Real run servers for tests: a database of their own, Dagster's storage in it, runs of the pipeline to be forked."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from sqlalchemy import Engine

from neural_pipeline.automation.run_server_process import WORKER_TAG
from neural_pipeline.automation.run_server_socket import line_to, place_of
from neural_pipeline.cli.companions import ONE_THREAD, RUN_SERVER
from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.settings import Settings
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.workspaces import create_workspace
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import SETTINGS
from neural_pipeline_tests.end_to_end.processes import environment_of

STOPPABLE = "neural_pipeline_tests.faults.definitions"
"""The pipeline's definitions, whose runs can be made to wait in an op."""


@dataclass
class Yard:
    """Where runs are made and launched; `environment` is that of Dagster's processes, and of this one too."""

    home: Path
    environment: dict[str, str]
    engine: Engine
    instance: dg.DagsterInstance
    module: str = STOPPABLE
    server: subprocess.Popen[bytes] | None = None
    made: list[str] = field(default_factory=list[str])

    @property
    def socket(self) -> Path:
        return place_of(Settings.load(), dagster_home=Path(self.environment["DAGSTER_HOME"]))

    @property
    def launcher(self) -> Any:
        return self.instance.run_launcher

    def log(self) -> str:
        return (self.home / "run_server.log").read_text()

    @contextmanager
    def serving(self, *, module: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Have a run server for the length of the block."""
        command = [*RUN_SERVER, "--module", module or self.module]
        with (self.home / "run_server.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment | ONE_THREAD, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.server = process
        try:
            await_(lambda: self.launcher.is_warm() or process.poll() is not None, "the run server to answer")
            assert process.poll() is None, self.log()
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            process.wait(timeout=20)
            self.server = None

    def run(self, *, module: str | None = None, tags: dict[str, str] | None = None) -> dg.DagsterRun:
        """Make a run of the capture job; nobody has launched it."""
        origin = origin_of(module or self.module, observation_capture.name)
        run = self.instance.create_run_for_job(observation_capture, job_code_origin=origin, tags=tags)
        self.made.append(run.run_id)
        return run

    def launch(self, run: dg.DagsterRun) -> int:
        """Launch a run as one does who has no workspace; return the pid of its process."""
        self.instance.launch_run(run.run_id, workspace=None)  # pyright: ignore[reportArgumentType]
        return self.worker(run)["pid"]

    def worker(self, run: dg.DagsterRun) -> dict[str, Any]:
        return json.loads(self.again(run).tags[WORKER_TAG])

    def again(self, run: dg.DagsterRun) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found

    def status(self, run: dg.DagsterRun) -> dg.DagsterRunStatus:
        return self.again(run).status

    def await_end(self, run: dg.DagsterRun, *, seconds: float = 120.0) -> dg.DagsterRunStatus:
        await_(lambda: self.again(run).is_finished, f"the end of {run.run_id}", seconds=seconds)
        return self.status(run)

    def messages(self, run: dg.DagsterRun) -> list[str]:
        return [entry.message for entry in self.instance.all_logs(run.run_id)]

    def stopped_in(self, op: str, run: dg.DagsterRun) -> int:
        """Launch a run and wait until it waits in an op; return the pid of its process."""
        mark, pause = self.home / "at" / op, self.home / "pause" / op
        mark.unlink(missing_ok=True)
        pause.parent.mkdir(exist_ok=True)
        pause.touch()
        pid = self.launch(run)
        await_(lambda: mark.exists() and mark.read_text(), f"the run in {op}")
        assert int(mark.read_text()) == pid
        return pid

    def go_on(self, op: str) -> None:
        (self.home / "pause" / op).unlink(missing_ok=True)

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Say something to the server and hang up after its answer."""
        with line_to(self.socket, seconds=30) as line:
            line.send(message)
            return line.receive()


def origin_of(module: str, job: str) -> Any:
    return ReconstructableRepository(ModuleCodePointer(module, "defs")).get_reconstructable_job(job).get_python_origin()


def await_(is_so: Callable[[], Any], what: str, *, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


def is_going(pid: int) -> bool:
    """Tell whether a process is there, and not only waits for somebody to ask how it ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def own_yard(server: Path, template: str, home: Path, *, module: str = STOPPABLE) -> Iterator[Yard]:
    """A database with a workspace, a home folder, and Dagster's storage, open in this process too."""
    name = f"yard_{home.name}"
    url = server_url(server, name)
    create_database(server_url(server, "postgres"), name, template=template)
    engine = engine_for(url)
    with pytest.MonkeyPatch.context() as patch:
        environment = environment_of(engine, url, home) | {"NEURAL_RUN_LAUNCHER": "warm"}
        for variable, value in environment.items():
            patch.setenv(variable, value)
        with engine.begin() as connection:
            create_workspace(connection, "ws_test", organisation="org", name="tests", settings=SETTINGS)
        with dg.DagsterInstance.get() as instance:
            yield Yard(home, environment, engine, instance, module)
    engine.dispose()
