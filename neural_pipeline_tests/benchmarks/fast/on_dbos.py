"""The same work in DBOS: a durable workflow per execution on a queue; the work is a step of it.

DBOS has no call for many workflows: they are enqueued by its client in one transaction per chunk.
"""

import os
from datetime import UTC, datetime

from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from neural_pipeline.resources import Pipeline
from neural_pipeline_tests.benchmarks.fast.capture_logic import Job, PerEvent
from neural_pipeline_tests.benchmarks.fast.end_state import left_in_queue
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.framework import measured_with
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured
from neural_pipeline_tests.benchmarks.fast.working import Crew, Signals

NAME = "DBOS"
CREWS = (Crew(1, 4), Crew(2, 4), Crew(2, 8))
_QUEUE, _WORKFLOW, _VERSION = "work", "work", "1"
_POLLING_SECONDS = 0.05
"""Between two looks at the queue; 1 by default, which would start as many workflows a second as it has hands."""

_LEFT = "select count(*) from dbos.workflow_status where status in ('ENQUEUED', 'PENDING', 'DELAYED')"


def run(events: Events, site: BenchSite, crew: Crew = CREWS[0]) -> Measured:
    """Measure it."""
    queue = Queue(site.url)
    try:
        return measured_with(
            NAME, events, site, crew=crew, work=work, enqueue=queue.add, left=lambda: left_in_queue(site.engine, _LEFT)
        )
    finally:
        queue.close()


class Queue:
    """Adds workflows, from any thread."""

    def __init__(self, url: URL) -> None:
        self._client = DBOSClient(system_database_url=_url_of(url), lazy=True)
        self._engine = create_engine(_url_of(url))

    def add(self, jobs: list[Job]) -> None:
        """Enqueue workflows in one transaction, each to start when it is due."""
        with self._engine.begin() as connection:
            for job in jobs:
                self._client.enqueue_in_transaction(connection, _options(job), *_arguments(job))

    def close(self) -> None:
        """Give connections back."""
        self._client.destroy()
        self._engine.dispose()


def _options(job: Job) -> EnqueueOptions:
    options: EnqueueOptions = {"queue_name": _QUEUE, "workflow_name": _WORKFLOW, "app_version": _VERSION}
    delay = 0.0 if job.due_at is None else (job.due_at - datetime.now(UTC)).total_seconds()
    if delay > 0:
        options["delay_seconds"] = delay
    return options


def _arguments(job: Job) -> tuple[int, str, str]:
    return job.event_id, job.function_id, job.workspace_id


def work(threads: int, signals: Signals) -> None:
    """Work off the queue until the contest is over."""
    pipeline = Pipeline()
    per_event, url = PerEvent(pipeline), pipeline.engine.url
    DBOS(config=_config(url))
    queue = Queue(url)

    @DBOS.step()
    def do(event_id: int, function_id: str, workspace_id: str) -> None:
        queue.add(per_event.work(Job(event_id, function_id, workspace_id)))

    @DBOS.workflow(name=_WORKFLOW)
    def workflow(event_id: int, function_id: str, workspace_id: str) -> None:
        do(event_id, function_id, workspace_id)

    DBOS.launch()
    DBOS.register_queue(_QUEUE, worker_concurrency=threads, polling_interval_sec=_POLLING_SECONDS)
    signals.ready.release()
    signals.stop.wait()
    DBOS.destroy()
    queue.close()


def _config(url: URL) -> DBOSConfig:
    return {
        "name": "contest",
        "system_database_url": _url_of(url),
        "application_version": _VERSION,
        "executor_id": f"process {os.getpid()}",
        "log_level": "ERROR",
        "enable_otlp": False,
    }


def _url_of(url: URL) -> str:
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
