"""What the contestants that are queues have in common: their connection, their end, and an empty queue after it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy.engine import URL

from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured
from neural_pipeline_tests.benchmarks.fast.working import Crew, Enqueue, Signals, Work, contest

QUEUE_LEFT = "left in the queue"
_POLL_SECONDS = 0.1
_EMPTY_SECONDS = 15.0


def psycopg_url(url: URL) -> str:
    """Return the URL of a database as psycopg 3 takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


async def until_stopped(signals: Signals, stop: Callable[[], object]) -> None:
    """Wait for the end of the contest, then stop the queue's worker."""
    while not signals.stop.is_set():
        await asyncio.sleep(_POLL_SECONDS)
    stop()


def measured_with(
    name: str, events: Events, site: BenchSite, *, crew: Crew, work: Work, enqueue: Enqueue, left: Callable[[], int]
) -> Measured:
    """Measure a queue; what it still holds afterwards, by `left`, stands in the details."""
    rest = 0

    def wait_for_the_queue() -> None:
        # The last rows are completed a moment before the queue has noted that: not its time, but its end is looked at.
        nonlocal rest
        deadline = time.monotonic() + _EMPTY_SECONDS
        while (rest := left()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    measured = contest(name, events, site, crew=crew, work=work, enqueue=enqueue, afterwards=wait_for_the_queue)
    return replace(measured, details={**measured.details, QUEUE_LEFT: rest})
