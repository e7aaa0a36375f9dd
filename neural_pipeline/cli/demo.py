"""`neural demo`: the whole way of an event on real input, and what is in the database afterwards."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Connection, Engine

from neural_pipeline.cli import companions, showcase
from neural_pipeline.cli.daemon import daemon_command, kept_running, let_runs_finish
from neural_pipeline.cli.documents import Delivery, Kind
from neural_pipeline.cli.environment import deployment_file, process_environment
from neural_pipeline.cli.ingest import Desk, Intake, commits, take_in
from neural_pipeline.cli.output import ExitCode, console, say
from neural_pipeline.cli.reading import read_files
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.cli.tally import Tally
from neural_pipeline.cli.up import only_daemon, own_server, take_back
from neural_pipeline.cli.workspaces import new_settings
from neural_pipeline.postgres.target import Target
from neural_pipeline.settings import Settings
from neural_pipeline.sources.errors import HistoryUnavailable
from neural_pipeline.sources.git_history import read_history
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.summaries import done_and_total
from neural_pipeline.store.workspaces import create_workspace

WORKSPACE = "ws_xxx"
BROKEN = "ws_invalid_settings"
_ORGANISATION = "org_demo"
_SAMPLE = files("neural_pipeline") / "sample_data" / "two_weeks.json"
_PATIENCE = 240.0
"""Seconds without any progress after which the demo gives up; beside the longest wait of a child."""

_HASTE = {
    "profile_debounce_seconds": "2",
    "profile_max_debounce_seconds": "10",
    "summary_debounce_seconds": "2",
    "summary_max_debounce_seconds": "10",
    "extraction_debounce_seconds": "1",
    "extraction_max_debounce_seconds": "5",
}
"""Children wait minutes for news; nobody wants to watch that. What the caller has set counts all the same."""


def demo(
    repo: Annotated[
        Path | None, typer.Option(help="Git repository whose history is loaded. Default: this one.")
    ] = None,
) -> None:
    """Run the whole pipeline once: Postgres, Dagster's daemon, sample webhooks and git history, and show the result."""
    settings = Settings.load()
    with own_server(settings, keep=True) as target, only_daemon(target) as place:
        engine = engine_for(target.url)
        _make_workspaces(engine, settings)
        _load_history(engine, settings, repo)
        _load_sample(engine, settings)
        _load_into_broken_workspace(engine, settings)
        _work_off(engine, settings, target, place)
    showcase.show(engine, WORKSPACE)
    showcase.show_where_to_look(settings)


def _work_off(engine: Engine, settings: Settings, target: Target, place: Connection) -> None:
    log = target.home / "logs" / "dagster.log"
    command = daemon_command(deployment_file("workspace.yaml"))
    environment = process_environment(target) | _in_haste()
    with (
        companions.run_server(settings, target, environment),
        kept_running(command, environment=environment, folder=target.home, log=log) as process,
    ):
        say(f"Dagster's daemon works on them; its log is {log}")
        with companions.dispatcher(settings, target, environment):
            _wait_for_all(engine, process, log)
        let_runs_finish(place, seconds=settings.drain_seconds, is_impatient=lambda: False)
        take_back(place, target)
    take_back(place, target)


def _make_workspaces(engine: Engine, settings: Settings) -> None:
    usable = new_settings(WORKSPACE, organisation=_ORGANISATION, dimension=settings.embedding_dimension)
    with engine.begin() as connection:
        create_workspace(connection, WORKSPACE, organisation=_ORGANISATION, name="demo", settings=usable)
        broken = {**usable, "version": 2}
        create_workspace(connection, BROKEN, organisation=_ORGANISATION, name="invalid settings", settings=broken)


def _load_history(engine: Engine, settings: Settings, repo: Path | None) -> None:
    folder = repo or deployment_file("workspace.yaml").parent
    try:
        _hand_in(engine, settings, Intake(commits(read_history(folder)), "git"), f"git history of {folder}")
    except HistoryUnavailable as problem:
        say(f"no git history: {problem}. Name a repository with REPO=folder")


def _load_sample(engine: Engine, settings: Settings) -> None:
    with as_file(_SAMPLE) as path:
        deliveries = read_files([path], given=None)
        _hand_in(engine, settings, Intake(deliveries, "cli"), "webhooks of a team's two busy weeks")


def _load_into_broken_workspace(engine: Engine, settings: Settings) -> None:
    intake = Intake(_one_issue(), "cli")
    _hand_in(engine, settings, intake, "one webhook for a workspace with invalid settings", workspace=BROKEN)


def _one_issue() -> Iterator[Delivery]:
    webhooks = json.loads(_SAMPLE.read_text(encoding="utf-8"))["webhooks"]
    issue = next(one for one in webhooks if one["eventType"] == "issues" and one["payload"]["action"] == "opened")
    yield Delivery("two_weeks.json", Kind("github", "issues"), json.dumps(issue["payload"]).encode())


def _hand_in(engine: Engine, settings: Settings, intake: Intake, what: str, *, workspace: str = WORKSPACE) -> None:
    tally = Tally()
    take_in(engine, intake, Desk.of(settings, workspace=workspace), tally=tally, quiet=True)
    say(f"{what}: {tally.lines()[0]}")


def _in_haste() -> dict[str, str]:
    variables = {Settings.variable(name): value for name, value in _HASTE.items()}
    return {variable: value for variable, value in variables.items() if not os.environ.get(variable)}


def _longest_wait(settings: Settings) -> float:
    """Return the longest time that a child may wait for news, as the daemon has it."""
    hasty = _in_haste()
    names = [name for name in _HASTE if "max" not in name]
    return max(float(hasty.get(Settings.variable(name)) or getattr(settings, name)) for name in names)


def _wait_for_all(engine: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until captures and their children are done; captures beget children, so the total grows on the way."""
    patience = _PATIENCE + _longest_wait(Settings.load())
    deadline = time.monotonic() + patience
    done, total = _done_and_total(engine)
    columns = (BarColumn(), TextColumn("{task.completed} of {task.total} executions done"), TimeElapsedColumn())
    with Progress(*columns, console=console(file=sys.stderr), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=total)
        while done < total:
            if process.poll() is not None:
                raise Refusal(f"Dagster's daemon ended: see the end of {log}", ExitCode.UNEXPECTED)
            if time.monotonic() > deadline:
                left = total - done
                raise Refusal(f"{left} executions still wait after {patience:.0f} s: see {log}", ExitCode.UNEXPECTED)
            time.sleep(0.5)
            before, (done, total) = done, _done_and_total(engine)
            if done > before:
                deadline = time.monotonic() + patience
            progress.update(task, completed=done, total=total)


def _done_and_total(engine: Engine) -> tuple[int, int]:
    with engine.begin() as connection:
        return done_and_total(connection)
