"""The same work in procrastinate: its own worker per process, tasks in threads, jobs deferred in bulk."""

import asyncio
from typing import Any

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.jobs import Job as QueueJob
from procrastinate.tasks import Task

from neural_pipeline.resources import Pipeline
from neural_pipeline_tests.benchmarks.fast.capture_logic import Job, PerEvent
from neural_pipeline_tests.benchmarks.fast.end_state import left_in_queue
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.framework import measured_with, psycopg_url, until_stopped
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured
from neural_pipeline_tests.benchmarks.fast.working import Crew, Signals

NAME = "procrastinate"
CREWS = (Crew(1, 4), Crew(2, 1), Crew(2, 4))
_TASK = "work"
_POLLING_SECONDS = 0.5
"""Between two looks at jobs whose time has come; 5 by default, which would cost the last of them as long."""

_LEFT = "select count(*) from procrastinate_jobs where status in ('todo', 'doing')"


def run(events: Events, site: BenchSite, crew: Crew = CREWS[0]) -> Measured:
    """Measure it."""
    app = App(connector=SyncPsycopgConnector(conninfo=psycopg_url(site.url)))
    with app.open():
        app.schema_manager.apply_schema()
        queue = Queue(app, _task_of(app, None))
        return measured_with(
            NAME, events, site, crew=crew, work=work, enqueue=queue.add, left=lambda: left_in_queue(site.engine, _LEFT)
        )


class Queue:
    """Adds jobs, from any thread."""

    def __init__(self, app: App, task: Task[Any, Any, Any]) -> None:
        self._app, self._task = app, task

    def add(self, jobs: list[Job]) -> None:
        """Defer jobs with one statement, each to be done when it is due."""
        if jobs:
            self._app.job_manager.batch_defer_jobs([self._made(job) for job in jobs])

    def _made(self, job: Job) -> QueueJob:
        arguments = {"event_id": job.event_id, "function_id": job.function_id, "workspace_id": job.workspace_id}
        return self._task.configure(schedule_at=job.due_at).job.evolve(task_kwargs=arguments)


def _task_of(app: App, per_event: PerEvent | None) -> Task[Any, Any, Any]:
    """Register the task; whoever only adds jobs needs no hands for it."""

    def handle(**arguments: Any) -> None:
        if per_event is not None:
            queue.add(per_event.work(Job(**arguments)))

    task = app.task(handle, name=_TASK)
    queue = Queue(app, task)
    return task


def work(threads: int, signals: Signals) -> None:
    """Run a worker until the contest is over."""
    asyncio.run(_work(threads, signals))


async def _work(threads: int, signals: Signals) -> None:
    pipeline = Pipeline()
    per_event = PerEvent(pipeline)
    app = App(connector=PsycopgConnector(conninfo=psycopg_url(pipeline.engine.url)))
    _task_of(app, per_event)
    async with app.open_async():
        worker = asyncio.create_task(
            app.run_worker_async(
                concurrency=threads, fetch_job_polling_interval=_POLLING_SECONDS, install_signal_handlers=False
            )
        )
        signals.ready.release()
        await until_stopped(signals, worker.cancel)
        await asyncio.gather(worker, return_exceptions=True)
