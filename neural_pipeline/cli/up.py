"""`neural up`: the server, the schema, Dagster's daemon and user interface, until Ctrl-C."""

import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from neural_pipeline.cli import companions
from neural_pipeline.cli.daemon import (
    DaemonRunsAlready,
    daemon_place,
    development_command,
    kept_running,
    let_runs_finish,
)
from neural_pipeline.cli.database import prepare_database
from neural_pipeline.cli.environment import deployment_file, process_environment
from neural_pipeline.cli.output import ExitCode, say
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.postgres import server
from neural_pipeline.postgres.target import Target, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.batches import running_batches
from neural_pipeline.store.database import engine_for, wait_briefly
from neural_pipeline.store.settlement import hand_back_all

_READY_WITHIN = 120.0


@dataclass(slots=True)
class Interruptions:
    """How often the user has asked to stop."""

    count: int = 0

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Count a signal."""
        self.count += 1


@contextmanager
def _counted_interruptions() -> Generator[Interruptions]:
    """Count SIGINT and SIGTERM instead of dying of them: what runs is to be stopped in order."""
    interruptions = Interruptions()
    before = {number: signal.signal(number, interruptions.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruptions
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def own_server(settings: Settings, *, keep: bool = False) -> Generator[Target]:
    """Prepare the database; afterwards stop the embedded server unless it ran before or is to be kept."""
    target = resolve_database(settings)
    is_to_stay = keep or not target.embedded or server.status(target.home).running
    target = prepare_database(settings, notify=say)
    try:
        yield target
    finally:
        if not is_to_stay:
            server.stop(target.home)


def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the user interface. Default: NEURAL_WEBSERVER_PORT.")
    ] = None,
) -> None:
    """Start everything and keep it running: Postgres, migrations, Dagster's daemon and user interface.

    Ctrl-C lets running batches finish (NEURAL_DRAIN_SECONDS), then stops what was started; a second one does not wait.
    """
    settings = Settings.load()
    host, number = settings.webserver_host, port or settings.webserver_port
    _require_free(host, number)
    with _counted_interruptions() as interruptions, own_server(settings) as target, only_daemon(target) as place:
        log = target.home / "logs" / "dagster.log"
        command = development_command(deployment_file("workspace.yaml"), host=host, port=number)
        environment = process_environment(target)
        with (
            companions.run_server(settings, target, environment),
            kept_running(command, environment=environment, folder=target.home, log=log) as process,
        ):
            say(f"starting Dagster; its log is {log}")
            with companions.dispatcher(settings, target, environment):
                _serve(process, address_of(host, number), log, interruptions, place=place)
            _drain(place, settings.drain_seconds, interruptions, target=target)
        take_back(place, target)
    say("stopped")


@contextmanager
def only_daemon(target: Target) -> Generator[Connection]:
    """Hold the place of the daemon; a second one is told so."""
    with ExitStack() as stack:
        try:
            place = stack.enter_context(daemon_place(target.url))
        except DaemonRunsAlready:
            raise Refusal("a daemon works on this database already: stop that one first (Ctrl-C)") from None
        yield place


def _require_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Refusal(f"port {port} on {host} cannot be used ({error.strerror}): choose one with --port") from None


def address_of(host: str, port: int) -> str:
    """Return the address of the user interface."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _serve(
    process: subprocess.Popen[bytes], address: str, log: Path, interruptions: Interruptions, *, place: Connection
) -> None:
    """Say when the user interface answers, then wait until the user wants to stop or Dagster does."""
    deadline = time.monotonic() + _READY_WITHIN
    ready = False
    while not interruptions.count:
        if process.poll() is not None:
            raise Refusal(f"Dagster ended with code {process.returncode}: see the end of {log}", ExitCode.UNEXPECTED)
        if not ready and _answers(address):
            ready = True
            say(f"ready: {address} (Ctrl-C stops it)")
        if not ready and time.monotonic() > deadline:
            raise Refusal(f"no answer within {_READY_WITHIN:.0f} seconds: see {log}", ExitCode.UNEXPECTED)
        _require_place(place)
        time.sleep(0.5)


def _require_place(place: Connection) -> None:
    """The daemon's place is a lock of this connection: without it, another daemon could start beside this one."""
    try:
        place.execute(text("select 1"))
    except DBAPIError:
        reason = "the connection to the database was lost, and with it the right to be its only daemon"
        raise Refusal(f"{reason}: start again", ExitCode.DATABASE) from None


def _answers(address: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{address}/server_info", timeout=2) as response:
            return response.status == HTTPStatus.OK
    except OSError:
        return False


def _drain(place: Connection, seconds: float, interruptions: Interruptions, *, target: Target) -> None:
    running = running_batches(place)
    if running:
        say(f"letting {running} running batches finish, for at most {seconds:.0f} s; Ctrl-C again does not wait")
    let_runs_finish(place, seconds=seconds, is_impatient=lambda: interruptions.count > 1)
    take_back(place, target)
    say("stopping")


def take_back(place: Connection, target: Target) -> None:
    """Take back the batches of runs that are not done: before they are stopped, which would be taken for their end.

    And once more when their processes are gone, as a run that was starting may have taken one in between. Whoever has
    lost the place of the daemon takes nothing: the runs may be another one's.
    """
    try:
        place.execute(text("select 1"))
        with engine_for(target.url).begin() as connection:
            wait_briefly(connection)
            left = hand_back_all(connection, reason="handed_back: shutdown")
    except DBAPIError:
        say("batches could not be taken back: their events will be done again when their leases have run out")
    else:
        if left:
            say(f"{left} batches are unfinished: their events will be done again")
