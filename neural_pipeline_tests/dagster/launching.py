"""A site for runs: a database, a Dagster instance, and what a daemon does with them, one step at a time, in process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from neural_pipeline.automation.inbox import inbox_sensor
from neural_pipeline.automation.lifecycle import record_run
from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.contracts.integrations import EmbeddingSettings
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.resources import Pipeline
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store.intake import Channel, admit
from neural_pipeline.workflows.batch_work.tags import BATCH_TAG
from neural_pipeline.workflows.observation_capture.intake import FUNCTION
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import receipt

UNEMBEDDABLE = "unembeddable"
UNSTORABLE = "unstorable"
FATAL = "fatal"
"""In a title: embedding or storing fails for this event; storing ends the run."""

INGEST = Channel("ingest", Trigger.MANUAL, "ada")
INBOX = inbox_sensor(observation_capture, FUNCTION)

REFUSE_MARKED_TITLES = """
create function refuse_marked_title() returns trigger language plpgsql as $$
begin
  if new.title like '%fatal%' then raise exception 'nothing can be stored' using errcode = 'internal_error'; end if;
  raise exception 'this title cannot be stored' using errcode = 'check_violation';
end $$;
create trigger refuse_marked_title before insert on lightfast_workspace_neural_observations
  for each row when (new.title like '%unstorable%' or new.title like '%fatal%')
  execute function refuse_marked_title();
"""


@dataclass(frozen=True)
class StumblingEmbedder:
    """An embedder that refuses a marked text, and with it everything it is asked for together with it."""

    inner: Embedder

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def dimension(self) -> int:
        return self.inner.dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if any(UNEMBEDDABLE in one for one in texts):
            raise ValueError("this text cannot be embedded")
        return self.inner.embed(texts)


class StumblingPipeline(Pipeline):
    """The pipeline, with the embedder that stumbles."""

    def embedder_of(self, chosen: EmbeddingSettings) -> Embedder:
        return StumblingEmbedder(super().embedder_of(chosen))


@dataclass(frozen=True)
class Site:
    """Everything that runs need; each launch reads the settings anew, as a process of its own would."""

    engine: Engine
    instance: dg.DagsterInstance

    def ingest(self, *events: SourceEvent, workspace_id: str = "ws_test") -> list[int]:
        """Take source events in, one delivery each; return the ids of the executions."""
        known = self.count("select count(*) from raw_payloads")
        receipts = [
            receipt(f"d-{number}", workspace_id=workspace_id, judgement=Judgement("accepted", event=event))
            for number, event in enumerate(events, start=known)
        ]
        with self.engine.begin() as connection:
            admissions = admit(connection, receipts, channel=INGEST)
        return [admission.event_id for admission in admissions if admission.event_id is not None]

    def launch(
        self, config: dict[str, Any] | None = None, *, tags: dict[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run the job to its end, whatever that is; nobody records it."""
        return observation_capture.execute_in_process(
            instance=self.instance,
            run_config={"ops": {"load": {"config": config}}} if config else None,
            tags=tags,
            resources={"pipeline": StumblingPipeline()},
            raise_on_error=False,
        )

    def tick(self) -> list[dg.RunRequest]:
        """Evaluate the inbox sensor once; return the runs it asks for."""
        return self.evaluate().run_requests or []

    def evaluate(self) -> Any:
        """Evaluate the inbox sensor once."""
        given = {"pipeline": StumblingPipeline()}
        with dg.build_sensor_context(instance=self.instance, resources=given) as context:
            return INBOX.evaluate_tick(context)

    def record(self, run_id: str) -> None:
        """Do what the lifecycle sensor of a run's present status does."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        record_run(StumblingPipeline(), self.instance, run, run.status)

    def capture(self, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        """Launch one run by hand and record its end."""
        result = self.launch(config)
        self.record(result.run_id)
        return result

    def work_off(self) -> list[dg.ExecuteInProcessResult]:
        """Tick, run and record until nothing is due any more, as the daemon does."""
        results: list[dg.ExecuteInProcessResult] = []
        while requests := self.tick():
            for request in requests:
                results.append(self.launch(tags=dict(request.tags)))
                self.record(results[-1].run_id)
            assert len(results) < 100, "the inbox does not become empty"
        return results

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(sql), parameters).mappings()]

    def row(self, sql: str, **parameters: Any) -> dict[str, Any]:
        """Return the only row of a query."""
        [row] = self.rows(sql, **parameters)
        return row

    def column(self, sql: str, **parameters: Any) -> list[Any]:
        """Return the first column of a query."""
        return [next(iter(row.values())) for row in self.rows(sql, **parameters)]

    def count(self, sql: str, **parameters: Any) -> int:
        """Return the only number of a query."""
        [number] = self.column(sql, **parameters)
        return int(number)

    def execute(self, sql: str, **parameters: Any) -> None:
        """Change something behind the program's back."""
        with self.engine.begin() as connection:
            connection.execute(text(sql), parameters)

    def run_of(self, event_id: int) -> dict[str, Any]:
        """Return the lifecycle row of an execution."""
        return self.row("select * from lightfast_workspace_workflow_runs where event_id = :id", id=event_id)

    def reason_of(self, event_id: int) -> str:
        """Return why a capture kept its event out, or else the status of its output."""
        output = self.run_of(event_id)["output"]
        return output.get("reason", output["status"])

    def statuses(self) -> list[str]:
        """Return the states of the captures, in the order of their events."""
        sql = """
        select status from lightfast_workspace_workflow_runs where inngest_function_id = :name order by event_id
        """
        return self.column(sql, name=FUNCTION)

    def rows_of_runs(self) -> list[dict[str, Any]]:
        """Return what lifecycle rows say that does not depend on the clock or on who did it, in order."""
        sql = """
        select r.event_id, r.status, r.attempt, r.cause, r.error_message, r.output, r.batch_id is null as waits,
          r.started_at is not null as began, r.completed_at is not null as ended, e.losses, e.outcome,
          (select array_agg(m.type || (m.tags ->> 'jobType') || coalesce(m.tags ->> 'outcome', '') order by m.type)
           from lightfast_workspace_operations_metrics m
           where m.event_id = e.id and m.type in ('job_duration', 'errors')) as metrics
        from lightfast_workspace_workflow_runs r join incoming_events e on e.id = r.event_id order by r.event_id
        """
        return self.rows(sql)

    def batches(self) -> list[dict[str, Any]]:
        """Return all batches, oldest first."""
        return self.rows("select * from event_batches order by id")

    def contents(self) -> dict[str, list[str]]:
        """Return every row of every table as text, sorted: two sites, or two moments, are compared by it."""
        tables = self.column(
            "select table_name from information_schema.tables "
            "where table_schema = 'public' and table_type = 'BASE TABLE' order by 1"
        )
        return {table: sorted(self.column(f"select t::text from {table} t")) for table in tables}


def metadata_of(result: dg.ExecuteInProcessResult, op: str) -> dict[str, Any]:
    """Return the metadata of an op's output as plain values."""
    [event] = [event for event in result.events_for_node(op) if event.is_successful_output]
    return {name: cast("Any", value).value for name, value in event.step_output_data.metadata.items()}


def table_of(result: dg.ExecuteInProcessResult, op: str, name: str) -> list[dict[str, Any]]:
    """Return the records of a table in the metadata of an op's output."""
    [event] = [event for event in result.events_for_node(op) if event.is_successful_output]
    table = event.step_output_data.metadata[name]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Return what the op that failed says."""
    [event] = [event for event in result.all_events if event.is_step_failure]
    error = event.step_failure_data.error
    assert error is not None
    return error.message


def batch_tag(batch_id: int) -> dict[str, str]:
    """Return the tags of the run that a sensor asks for."""
    return {BATCH_TAG: str(batch_id)}
