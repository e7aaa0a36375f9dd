"""The plain loop: the same work event by event, one transaction each; one process asks the inbox what is due."""

from sqlalchemy import Connection

from neural_pipeline.resources import Pipeline
from neural_pipeline.store.sql import rows
from neural_pipeline_tests.benchmarks.fast.capture_logic import Job, PerEvent
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured
from neural_pipeline_tests.benchmarks.fast.working import Crew, Signals, contest

NAME = "plain loop, event by event"
CREWS = (Crew(1),)
_PAUSE_SECONDS = 0.02
_PAGE = 100


def run(events: Events, site: BenchSite, crew: Crew = CREWS[0]) -> Measured:
    """Measure it."""
    return contest(NAME, events, site, crew=crew, work=work)


def work(_threads: int, signals: Signals) -> None:
    """Work off what is due, the oldest first, page by page."""
    pipeline = Pipeline()
    per_event = PerEvent(pipeline)
    signals.ready.release()
    while not signals.stop.is_set():
        with pipeline.transaction() as connection:
            due = _due(connection)
        for job in due:
            per_event.work(job)
        if not due:
            signals.stop.wait(_PAUSE_SECONDS)


_DUE = """
select id, function_id, workspace_id from incoming_events
where batch_id is null and outcome is null and due_at <= statement_timestamp() order by due_at, id limit :page
"""


def _due(connection: Connection) -> list[Job]:
    return [Job(row["id"], row["function_id"], row["workspace_id"]) for row in rows(connection, _DUE, page=_PAGE)]
