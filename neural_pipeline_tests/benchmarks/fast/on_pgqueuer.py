"""The same work in pgqueuer: its own queue manager per process, handlers in threads, jobs enqueued in bulk."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from threading import Lock

import psycopg
from pgqueuer import PgQueuer
from pgqueuer.adapters.persistence.queries import Queries, SyncQueries
from pgqueuer.db import PsycopgDriver, SyncPsycopgDriver
from pgqueuer.models import Job as QueueJob

from neural_pipeline.resources import Pipeline
from neural_pipeline_tests.benchmarks.fast.capture_logic import Job, PerEvent
from neural_pipeline_tests.benchmarks.fast.end_state import left_in_queue
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.framework import measured_with, psycopg_url, until_stopped
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured
from neural_pipeline_tests.benchmarks.fast.working import Crew, Signals

NAME = "pgqueuer"
CREWS = (Crew(1, 4), Crew(2, 1), Crew(2, 4))
_ENTRYPOINT = "work"
_BATCH = 10
"""The default."""

_LEFT = "select count(*) from pgqueuer"


def run(events: Events, site: BenchSite, crew: Crew = CREWS[0]) -> Measured:
    """Measure it."""
    asyncio.run(_install(psycopg_url(site.url)))
    with psycopg.connect(psycopg_url(site.url), autocommit=True) as connection:
        queue = Queue(connection)
        return measured_with(
            NAME, events, site, crew=crew, work=work, enqueue=queue.add, left=lambda: left_in_queue(site.engine, _LEFT)
        )


async def _install(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await Queries.from_psycopg_connection(connection).install()


class Queue:
    """Adds jobs, from any thread."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._queries = SyncQueries(SyncPsycopgDriver(connection))
        self._lock = Lock()

    def add(self, jobs: list[Job]) -> None:
        """Enqueue jobs with one statement, each to be done when it is due."""
        now = datetime.now(UTC)
        payloads: list[bytes | None] = [json.dumps(asdict(job), default=str).encode() for job in jobs]
        waits: list[timedelta | None] = [job.due_at and max(job.due_at - now, timedelta(0)) for job in jobs]
        if jobs:
            with self._lock:
                self._queries.enqueue([_ENTRYPOINT] * len(jobs), payloads, [0] * len(jobs), waits)


def work(threads: int, signals: Signals) -> None:
    """Run a queue manager until the contest is over."""
    asyncio.run(_work(threads, signals))


async def _work(threads: int, signals: Signals) -> None:
    pipeline = Pipeline()
    per_event, url = PerEvent(pipeline), psycopg_url(pipeline.engine.url)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        with psycopg.connect(url, autocommit=True) as adding, ThreadPoolExecutor(threads) as pool:
            queues, queue = PgQueuer(PsycopgDriver(connection)), Queue(adding)

            def handle(payload: bytes) -> None:
                queue.add(per_event.work(Job(**json.loads(payload))))

            @queues.entrypoint(_ENTRYPOINT)
            async def entrypoint(job: QueueJob) -> None:
                await asyncio.get_running_loop().run_in_executor(pool, handle, job.payload or b"")

            stopping = asyncio.create_task(until_stopped(signals, queues.shutdown.set))
            signals.ready.release()
            with suppress(asyncio.CancelledError):
                await queues.run(
                    batch_size=_BATCH, max_concurrent_tasks=2 * _BATCH, dequeue_timeout=timedelta(seconds=0.5)
                )
            stopping.cancel()
