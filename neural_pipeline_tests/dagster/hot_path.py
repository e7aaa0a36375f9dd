"""Everything that happens to a batch of events, in process: taken in, captured, recorded, its children worked off.

Each step is named before it is done, so that whoever watches the database can tell them apart; what is only made ready
for the next one has no name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from neural_pipeline.automation.inbox import inbox_sensor
from neural_pipeline.automation.lifecycle import record_run
from neural_pipeline.contracts.batching import Limits
from neural_pipeline.contracts.events import Actor, Reference, SourceEvent
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches, leases, lifecycle
from neural_pipeline.store.intake import Admission, Receipt, admit
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.workflows.cluster_summary.job import cluster_summary
from neural_pipeline.workflows.llm_entity_extraction.job import llm_entity_extraction
from neural_pipeline.workflows.profile_update.job import profile_update
from neural_pipeline_tests.building import NOON, accepted, assign, end_run, receipt, source_event
from neural_pipeline_tests.dagster.launching import INGEST, UNEMBEDDABLE, Site

WORKSPACES = 5
SETTINGS = {
    "NEURAL_MAX_OPEN_BATCHES": "1",
    "NEURAL_CAPTURE_RETRIES": "1",
    "NEURAL_PROFILE_DEBOUNCE_SECONDS": "0",
    "NEURAL_SUMMARY_DEBOUNCE_SECONDS": "0",
    "NEURAL_EXTRACTION_DEBOUNCE_SECONDS": "0",
    "NEURAL_SUMMARY_MIN_OBSERVATIONS": "2",
    "NEURAL_SUMMARY_MIN_AGE_HOURS": "0",
    # Nobody renews a lease meanwhile: that goes by the clock.
    "NEURAL_LEASE_SECONDS": "600",
}
ROOMS = {
    "profiles": (profile_update, FunctionId.PROFILE_UPDATE),
    "summaries": (cluster_summary, FunctionId.CLUSTER_SUMMARY),
    "extractions": (llm_entity_extraction, FunctionId.LLM_ENTITY_EXTRACTION),
}
_CLEAR = """
update incoming_events set outcome = 'cancelled', outcome_at = clock_timestamp() where outcome is null
"""
_SENSORS = {name: inbox_sensor(job, function_id) for name, (job, function_id) in ROOMS.items()}
_BODY = (
    "Thanks to @grace and Jane Doe: moves `src/cart/total.py` from PostgreSQL to Redis, sets MAX_CARTS, closes #{n}. "
    + "x" * 200
)


@dataclass(frozen=True)
class HotPath:
    """Batches of a site's events; `person` tells who acts in a workspace, by its number."""

    site: Site
    name: str
    at: datetime = NOON
    person: Callable[[int], str] = str

    def steps(self, count: int) -> Iterator[str]:
        """Work off batches of so many events; every step is named, and done when the next one is asked for."""
        receipts = self._receipts("new", count)
        yield "intake"
        self.take_in(receipts)
        yield "duplicates"
        assert {one.event_id for one in self.take_in(receipts)} == {None}
        yield from self._captured(count)
        self.take_in(self._receipts("news", count))
        requests = self.site.tick()
        yield "capture beside waiting children"
        self._record(self._launched(requests))
        yield from self._children()
        yield from self._failures(count)
        yield from self._losses(count)

    def take_in(self, receipts: list[Receipt]) -> list[Admission]:
        """Admit receipts."""
        with self.site.engine.begin() as connection:
            return admit(connection, receipts, channel=INGEST)

    def _captured(self, count: int) -> Iterator[str]:
        yield "assignment"
        requests = self.site.tick()
        yield "capture"
        run_id = self._launched(requests)
        yield "progress"
        with self.site.engine.begin() as connection:
            [batch] = leases.unfinished_batches(connection)
            assert lifecycle.record_batch(connection, batch.id) == count
        yield "settlement"
        self.site.record(run_id)
        yield ""

    def _children(self) -> Iterator[str]:
        for name, (job, _) in ROOMS.items():
            yield f"{name}: assignment"
            with dg.build_sensor_context(instance=self.site.instance, resources={"pipeline": Pipeline()}) as context:
                requests = _SENSORS[name].evaluate_tick(context).run_requests or []
            [request] = requests
            yield name
            given = {"pipeline": Pipeline()}
            result = job.execute_in_process(instance=self.site.instance, tags=dict(request.tags), resources=given)
            yield f"{name}: settlement"
            self._record(result.run_id)

    def _failures(self, count: int) -> Iterator[str]:
        """Attempts that fail and are to be made again."""
        yield ""
        self.take_in(self._receipts("failing", count, title=f"[PR Opened] {UNEMBEDDABLE}"))
        requests = self.site.tick()
        yield "failures"
        self._record(self._launched(requests))

    def _losses(self, count: int) -> Iterator[str]:
        """A run dies over its batch, and the events wait again."""
        yield ""
        self.take_in(self._receipts("lost", count))
        limits = Limits(max_events=count, max_bytes=10_000_000, max_open=1)
        with self.site.engine.begin() as connection:
            [batch_id] = assign(connection, limits)
            token = batches.take(connection, batch_id, run_id="lost", seconds=600, lease=60)
            assert token is not None
            batches.begin(connection, token)
        yield "loss"
        with self.site.engine.begin() as connection:
            lifecycle.record_batch(connection, batch_id)
            assert end_run(connection, token, RunEnd.LOST)
        yield ""
        self.site.execute(_CLEAR)

    def _receipts(self, kind: str, count: int, **changes: Any) -> list[Receipt]:
        events = [self._event(f"{self.name}-{kind}-{n}", n, changes) for n in range(count)]
        return [
            receipt(event.source_id, workspace_id=f"ws_{n % WORKSPACES}", judgement=accepted(**dict(event)))
            for n, event in enumerate(events)
        ]

    def _event(self, source_id: str, n: int, changes: dict[str, Any]) -> SourceEvent:
        """Return a pull request, or every tenth time a push, followed by the deployment of its commit."""
        person = self.person(n % WORKSPACES)
        fields: dict[str, Any] = {
            "title": f"[PR Opened] Fix the checkout of carts, part {n}",
            "body": _BODY.format(n=n),
            "actor": Actor(id=person, name=f"person{person}"),
            "occurred_at": self.at + timedelta(seconds=n),
            "references": (Reference(type="commit", id=f"{self.name}-{n // WORKSPACES // 2}"),),
        }
        if n // WORKSPACES % 10 == 0:
            fields |= {"source_type": "push", "title": f"New feature: carts, part {n}"}
        elif n // WORKSPACES % 10 == 1:
            fields |= {"source": "vercel", "source_type": "deployment.ready", "actor": Actor(id="ada", name="ada")}
        return source_event(source_id, **fields | changes)

    def _launched(self, requests: list[dg.RunRequest]) -> str:
        [request] = requests
        result = self.site.launch(tags=dict(request.tags))
        assert result.success
        return result.run_id

    def _record(self, run_id: str) -> None:
        run = self.site.instance.get_run_by_id(run_id)
        assert run is not None
        record_run(Pipeline(), self.site.instance, run, run.status)
