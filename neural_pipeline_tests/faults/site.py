"""The processes of a fault test: an embedded server with production durability, Dagster's daemon, its code server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from neural_pipeline.cli.companions import DISPATCHER, ONE_THREAD, RUN_SERVER
from neural_pipeline.cli.instance import dagster_instance
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.postgres import server
from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.target import DAGSTER_SCHEMA, Target
from neural_pipeline.settings import Settings
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store.intake import Channel, admit
from neural_pipeline.store.migrate import upgrade
from neural_pipeline.store.workspaces import create_workspace
from neural_pipeline_tests.building import SETTINGS, receipt
from neural_pipeline_tests.faults.events import WORKSPACES, Work
from neural_pipeline_tests.faults.keeping import kept

ROOT = Path(__file__).parents[2]
DATABASE = "neural"
ROLE = "pipeline"
"""Not a superuser, so that a privilege can be taken from it."""

FAST = {
    "NEURAL_CAPTURE_MAX_BATCH": "1000",
    "NEURAL_CAPTURE_CHUNK": "50",
    "NEURAL_ISOLATING_LOSSES": "5",
    "NEURAL_LEASE_SECONDS": "6",
    "NEURAL_RETRY_BASE_SECONDS": "1",
    **{
        Settings.variable(name): os.environ.get(Settings.variable(name), str(Settings.model_fields[name].default))
        for name in ("run_launcher", "dispatcher")
    },
    **{
        f"NEURAL_{child}_{period}_SECONDS": seconds
        for child in ("PROFILE", "SUMMARY", "EXTRACTION")
        for period, seconds in (("DEBOUNCE", "2"), ("MAX_DEBOUNCE", "6"))
    },
}
"""Several runs to hit, a few more after a loss, and short leases, so that losses are noticed within seconds."""
DEFINITIONS = "neural_pipeline_tests.faults.definitions"
WORKSPACE_FILE = f"""load_from:
  - python_module:
      module_name: {DEFINITIONS}
      location_name: neural_pipeline
"""


class NotInTime(Exception):
    """What a scenario waits for did not come about."""


@dataclass
class Site:
    """A home folder with a server and the processes that work on it."""

    base: Path
    settings: dict[str, str] = field(default_factory=dict[str, str])
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    companions: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])

    @property
    def home(self) -> Path:
        """The home folder of Dagster's processes."""
        return self.base / "home"

    @property
    def server_home(self) -> Path:
        """The home folder of the server: another one, or the pipeline would find its way to the owner's rights."""
        return self.base / "server"

    # The server.

    def prepare(self, work: Work) -> None:
        """Make server, database, role and workspaces, and put the work into the inbox."""
        for folder in (self.home, self.server_home, self.home / "pause"):
            folder.mkdir(mode=0o711)
        (self.home / "workspace.yaml").write_text(WORKSPACE_FILE)
        server.ensure(self.server_home)
        create_database(server.server_url(self.server_home, "postgres"), DATABASE)
        upgrade(self.engine)
        self.execute(
            f"create role {ROLE} login",
            f"grant all on schema public to {ROLE}",
            f"grant all on all tables in schema public to {ROLE}",
            f"grant all on all sequences in schema public to {ROLE}",
            f"create schema {DAGSTER_SCHEMA} authorization {ROLE}",
        )
        with self.engine.begin() as connection:
            for name in WORKSPACES:
                create_workspace(connection, name, organisation="org", name=name, settings=SETTINGS)
            receipts = [
                receipt(f"d-{number}", workspace_id=workspace, judgement=Judgement("accepted", event=event))
                for number, (workspace, event) in enumerate(work.events)
            ]
            admit(connection, receipts, channel=Channel("ingest", Trigger.MANUAL, "faults"))

    @property
    def engine(self) -> Engine:
        """An engine of the server's owner; every connection is new, as servers come and go."""
        return create_engine(server.server_url(self.server_home, DATABASE), poolclass=NullPool)

    def execute(self, *statements: str) -> None:
        """Change something as the server's owner."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(sql), parameters).mappings()]

    def scalar(self, sql: str, **parameters: Any) -> Any:
        """Return the first column of the first row of a query."""
        with self.engine.begin() as connection:
            return connection.execute(text(sql), parameters).scalar()

    def restart_server(self) -> None:
        """Stop the server as a power cut would, and start it again."""
        server.stop(self.server_home, mode="immediate")
        server.ensure(self.server_home)

    # Dagster.

    @property
    def target(self) -> Target:
        """The database as the pipeline's own role sees it."""
        url = server.server_url(self.server_home, DATABASE).set(username=ROLE)
        return Target(url, _in_schema(url), embedded=False, home=self.home, note=None)

    @contextmanager
    def dagster(self) -> Iterator[dg.DagsterInstance]:
        """Open Dagster's storage."""
        with dagster_instance(self.target) as instance:
            yield instance

    def environment(self) -> dict[str, str]:
        """Return the variables of Dagster's processes."""
        from neural_pipeline.cli.environment import process_environment

        own = {
            "DATABASE_URL": self.target.url.render_as_string(hide_password=False),
            "NEURAL_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
        }
        return os.environ | process_environment(self.target) | own | FAST | self.settings

    def start_daemon(self) -> None:
        """Start a daemon with its code server below a keeper, so that nothing is left over, and its companions."""
        self.start_companions()
        program = Path(sys.executable).with_name("dagster-daemon")
        workspace = str(self.home / "workspace.yaml")
        self.daemons.append(kept([str(program), "run", "-w", workspace], self.environment(), self.home))

    def start_companions(self) -> None:
        """Start what `neural up` starts beside the daemon and what does not run yet: the run server, the dispatcher."""
        environment = self.environment()
        commands: dict[str, list[str]] = {}
        if environment["NEURAL_RUN_LAUNCHER"] == "warm":
            commands["run server"] = [*RUN_SERVER, "--module", DEFINITIONS]
        if environment["NEURAL_DISPATCHER"].lower() == "true":
            commands["dispatcher"] = [*DISPATCHER, DEFINITIONS]
        for name, command in commands.items():
            if name not in self.companions:
                self.companions[name] = kept(command, environment | ONE_THREAD, self.home, again=name)

    def execute_job(self, *, tags: dict[str, str]) -> None:
        """Execute the job in a process of its own, as somebody does who runs it again."""
        program = Path(sys.executable).with_name("dagster")
        command = [str(program), "job", "execute", "-m", DEFINITIONS, "-j", "observation_capture"]
        with (self.home / "dagster.log").open("ab") as log:
            subprocess.run(
                [*command, "--tags", json.dumps(tags)],
                env=self.environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )

    def keep_daemon(self) -> None:
        """Do what a supervisor does: start a daemon that has ended anew."""
        if self.daemons and all(daemon.poll() is not None for daemon in self.daemons):
            self.start_daemon()

    @property
    def keepers(self) -> list[subprocess.Popen[bytes]]:
        """Everything that was started here, but for the server."""
        return [*self.daemons, *self.companions.values()]

    def processes(self) -> list[psutil.Process]:
        """Return everything below the keepers: daemons, code servers, run servers, run workers."""
        found: list[psutil.Process] = []
        for keeper in self.keepers:
            with suppress(psutil.NoSuchProcess):
                found += psutil.Process(keeper.pid).children(recursive=True)
        return found

    def companion(self, name: str) -> int:
        """Wait for a companion, the run server or the dispatcher, and return its pid."""
        keeper = psutil.Process(self.companions[name].pid)
        self.await_(keeper.children, f"a {name}")
        return keeper.children()[0].pid

    def kill_everything(self, *, only: str = "") -> None:
        """kill -9 of Dagster's processes, all or those with a word in their command line."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if only in " ".join(process.cmdline()):
                    process.kill()

    def stop_daemons(self) -> None:
        """End all daemons and their companions in order."""
        for keeper in self.keepers:
            if keeper.stdin:
                keeper.stdin.close()
        for keeper in self.keepers:
            keeper.wait(timeout=60)
        self.daemons.clear()
        self.companions.clear()

    # Waiting, and runs inside an op.

    def await_(self, is_so: Callable[[], Any], what: str, *, seconds: float = 240.0) -> None:
        """Wait until something is so; raises NotInTime."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline:
                raise NotInTime(f"waited {seconds:.0f} s for {what}")
            time.sleep(0.1)

    def stop_in(self, op: str) -> int:
        """Wait until a run is inside an op and stays there; return its worker's pid."""
        mark = self.home / "at" / op
        mark.unlink(missing_ok=True)
        (self.home / "pause" / op).touch()
        self.await_(lambda: mark.exists() and mark.read_text(), f"a run in {op}")
        return int(mark.read_text())

    def go_on(self, op: str) -> None:
        """Let the runs that wait in an op go on."""
        (self.home / "pause" / op).unlink(missing_ok=True)

    def finished(self) -> int:
        """Return how many executions have their end."""
        return int(self.scalar(f"{_EXECUTIONS} where status in ('completed', 'failed', 'cancelled')"))

    def unfinished(self) -> int:
        """Return how many executions have not."""
        return int(self.scalar(f"{_EXECUTIONS} where status in ('queued', 'running')"))

    def await_progress(self, more: int = 1) -> None:
        """Wait until some more executions have their end."""
        before = self.finished()
        self.await_(lambda: self.finished() >= before + more or not self.unfinished(), "executions to end")

    def close(self) -> None:
        """End everything that was started here."""
        self.kill_everything()
        with suppress(subprocess.TimeoutExpired):
            self.stop_daemons()
        server.stop(self.server_home, mode="immediate")


_EXECUTIONS = "select count(*) from lightfast_workspace_workflow_runs"


def _in_schema(url: URL) -> URL:
    return url.update_query_dict({"options": f"-csearch_path={DAGSTER_SCHEMA}"})


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that a scenario has found."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def terminate_backends(connection: Connection) -> None:
    """Cut every connection of the pipeline's own role."""
    sql = "select pg_terminate_backend(pid) from pg_stat_activity where usename = :role"
    connection.execute(text(sql), {"role": ROLE})
