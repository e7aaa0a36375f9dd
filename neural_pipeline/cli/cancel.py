"""`neural runs cancel`: end executions that wait or are at work. What that means is in `store.cancellation`."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Engine

from neural_pipeline.cli.account import login_name
from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.output import ExitCode, print_json, say, warn
from neural_pipeline.postgres.target import Target, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.cancellation import Cancellation, cancel_event
from neural_pipeline.store.database import wait_briefly
from neural_pipeline.store.runs import event_of_run

if TYPE_CHECKING:
    from dagster import DagsterInstance


def cancel(
    runs: Annotated[list[str], typer.Argument(metavar="ID...", help="Numbers of runs, or ids of their executions.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Cancel runs that wait or are at work; what one has not committed by then it never will.

    The other runs of the same batch go on. A run that has ended stays as it is, and the exit code is 1.
    """
    settings = Settings.load()
    engine = ready_engine(settings)
    ends = {name: _cancel(engine, name) for name in dict.fromkeys(runs)}
    if as_json:
        print_json([{"run": name, "status": end and end.status} for name, end in ends.items()])
    else:
        for name, end in ends.items():
            _tell(name, end)
    idle = sorted({end.idle_run_id for end in ends.values() if end and end.idle_run_id})
    if idle:
        _stop(resolve_database(settings), idle)
    if any(end is None or end.status != "cancelled" for end in ends.values()):
        raise typer.Exit(ExitCode.INVALID)


def _cancel(engine: Engine, name: str) -> Cancellation | None:
    with engine.begin() as connection:
        wait_briefly(connection)
        event_id = event_of_run(connection, name) if name.isprintable() else None
        return None if event_id is None else cancel_event(connection, event_id, by=login_name())


def _tell(name: str, end: Cancellation | None) -> None:
    if end is None:
        warn(f"there is no run {name[:60]}: `neural runs list` shows the runs")
    elif end.status == "cancelled":
        say(f"run {name}: cancelled" if end.is_new else f"run {name}: was cancelled before")
    else:
        warn(f"run {name} has ended already: {end.status}")


def _stop(target: Target, run_ids: list[str]) -> None:
    """Stop Dagster runs that have nothing left to do; their record is complete without that."""
    # Only now: importing Dagster takes longer than all the rest.
    from neural_pipeline.cli.instance import dagster_instance

    left = list(run_ids)
    with suppress(Exception), dagster_instance(target) as instance:  # whatever Dagster may raise: the work is cancelled
        left = [run_id for run_id in run_ids if not _is_stopped(instance, run_id)]
    for run_id in left:
        warn(f"Dagster's run {run_id} could not be stopped: it has nothing left to do and will end by itself")


def _is_stopped(instance: "DagsterInstance", run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return True
    try:
        return instance.run_launcher.terminate(run_id)
    except Exception:  # whatever a launcher may raise
        return False
