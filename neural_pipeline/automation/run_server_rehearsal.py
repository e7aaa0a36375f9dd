"""What every run does before its own work, done once before the first fork: imports, Dagster's instance, dialects.

Nothing is left open: a connection that was made before a fork would be two processes'.
"""

import sys
import traceback

import dagster as dg
from sqlalchemy import Engine

from neural_pipeline.automation.dagster_storage import hang_up
from neural_pipeline.resources import Pipeline

_instance: dg.DagsterInstance | None = None


@dg.op
def _nothing() -> None:
    """Do nothing."""


@dg.job(executor_def=dg.in_process_executor)  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
def _rehearsal() -> None:
    _nothing()


def rehearse() -> None:
    """Go through what all runs have in common; what goes wrong is told, and left to the runs to do for themselves."""
    global _instance
    try:
        _rehearsal.execute_in_process()
        _instance = dg.DagsterInstance.get()
        _instance.get_runs(limit=1)
        _connect_once(Pipeline().engine)
    except Exception:  # the database may be away, or Dagster's home not there yet
        traceback.print_exc()
        sys.stderr.write("runs do for themselves what could not be rehearsed\n")
    finally:
        hang_up()


def _connect_once(engine: Engine) -> None:
    try:
        with engine.connect():
            pass
    finally:
        engine.dispose()


def dagster_instance() -> dg.DagsterInstance:
    """Return Dagster's instance, made before the fork if that was possible."""
    return _instance or dg.DagsterInstance.get()
