"""A dispatcher driven step by step, on a site whose Dagster has a queue that nobody works off."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from neural_pipeline.automation.dispatcher import Dispatcher
from neural_pipeline.automation.dispatcher_runs import Launchable
from neural_pipeline.automation.dispatcher_work import Desk
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.store.announcements import PLACE, Channel, Listener, listening
from neural_pipeline.store.exclusive import exclusively
from neural_pipeline_tests.dagster.launching import Site

CAPTURE = FunctionId.OBSERVATION_CAPTURE
QUEUE = {
    "run_coordinator": {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {
            "max_concurrent_runs": 3,
            "tag_concurrency_limits": [{"key": "neural/child", "value": "true", "limit": 1}],
        },
    }
}


@contextmanager
def dispatching(site: Site, jobs: dict[FunctionId, Launchable]) -> Iterator[Dispatcher]:
    """Hold the dispatcher's place for the length of the block."""
    with ExitStack() as stack:
        stack.enter_context(suppress(SQLAlchemyError))
        connection = stack.enter_context(exclusively(site.engine, PLACE))
        own = Listener.on(connection, Channel.DUE, Channel.OUTCOMES)
        dagster = stack.enter_context(listening(site.engine, Channel.RUN_EVENTS))
        yield Dispatcher(Desk(Pipeline(), site.instance, jobs, connection), own=own, dagster=dagster)


def for_a_while(dispatcher: Dispatcher, seconds: float = 0.5) -> None:
    """Let it act for a moment."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        dispatcher.step(seconds=0.05)


def until(dispatcher: Dispatcher, is_so: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Let it act until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        dispatcher.step(seconds=0.05)


def queued(site: Site) -> list[dg.DagsterRun]:
    """Return the runs that wait in Dagster's queue, oldest first."""
    waiting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    return [*site.instance.get_runs(waiting, ascending=True)]
