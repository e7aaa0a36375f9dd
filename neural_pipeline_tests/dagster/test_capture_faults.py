"""What goes wrong in a run: an event that fails touches no other, and a run that must stop harms none."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.store.revision import SCHEMA_REVISION
from neural_pipeline.workflows.batch_work import committing
from neural_pipeline.workflows.observation_capture import classifying, persist
from neural_pipeline.workflows.observation_capture import job as job_module
from neural_pipeline.workflows.observation_capture.classification import Classification
from neural_pipeline.workflows.observation_capture.identity import external_id
from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.launching import (
    UNEMBEDDABLE,
    UNSTORABLE,
    Site,
    failure_of,
    metadata_of,
    table_of,
)

FORCED = {
    "embed": ({"body": UNEMBEDDABLE}, "this text cannot be embedded", "ValueError"),
    "classify": ({"title": "unclassifiable"}, "this title cannot be classified", "LookupError"),
    "store": ({"title": UNSTORABLE}, "this title cannot be stored", "CheckViolation"),
}


@pytest.fixture
def picky_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    real = classifying.classify_by_rules

    def refuse_marked(event: SourceEvent) -> Classification:
        if event.title == "unclassifiable":
            raise LookupError("this title cannot be classified")
        return real(event)

    monkeypatch.setattr(classifying, "classify_by_rules", refuse_marked)


@pytest.mark.usefixtures("picky_classifier")
@pytest.mark.parametrize("step", FORCED)
def test_an_event_that_fails_in_a_later_step_fails_alone_and_tells_why(site: Site, step: str):
    changes, message, error_class = FORCED[step]
    events = [source_event("a"), source_event("b", **changes), source_event("c")]
    ids = site.ingest(*events)
    result = site.capture()
    assert result.success
    assert site.statuses() == ["completed", "failed", "completed"]
    row = site.run_of(ids[1])
    assert row["error_message"].startswith(message)
    assert row["output"] == {
        "inngestFunctionId": "neural.observation.capture",
        "status": "failure",
        "sourceId": "b",
        "error": row["error_message"],
        "step": step,
    }
    assert (row["cause"], row["attempt"]) == ("code_error", 1)
    attempt = site.row("select * from workflow_run_attempts")
    assert (attempt["event_id"], attempt["step"], attempt["cause"]) == (ids[1], step, "code_error")
    assert (attempt["attempt"], attempt["dagster_run_id"]) == (1, result.run_id)
    assert attempt["error_class"] == error_class
    assert attempt["message"] == row["error_message"]
    assert message in attempt["stack"]
    [record] = table_of(result, "store", "failures")
    assert (record["event"], record["workspace"], record["subject"]) == (ids[1], "ws_test", "b")
    assert record["step"] == step
    assert record["error"].startswith(message)
    stored = site.column("select source_id from lightfast_workspace_neural_observations order by id")
    assert stored == ["a", "c"]
    [error] = site.column("select tags from lightfast_workspace_operations_metrics where type = 'errors'")
    assert error["cause"] == "code_error"


def test_an_event_without_failures_has_an_empty_table(site: Site):
    site.ingest(source_event("a"))
    assert table_of(site.capture(), "store", "failures") == []


def test_a_hostile_title_comes_out_as_one_line_of_plain_text_in_the_failures(site: Site):
    site.ingest(source_event("a\x1b[31m\nb<b>|*", title=UNSTORABLE))
    [record] = table_of(site.capture(), "store", "failures")
    assert record["subject"] == "a [31m b<b>|*"


@pytest.mark.parametrize("chunk", ["1", "2", "500"])
def test_an_event_whose_payload_cannot_be_read_fails_alone(site: Site, chunk: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", chunk)
    ids = site.ingest(source_event("a"), source_event("b"), source_event("a"), source_event("c"))
    site.execute(
        "update incoming_events set payload = payload #- '{sourceEvent,title}' where id = any(:ids)", ids=ids[1:3]
    )
    result = site.capture()
    assert site.statuses() == ["completed", "failed", "failed", "completed"]
    outputs = [site.run_of(id_)["output"] for id_ in ids[1:3]]
    assert [(output["step"], output["sourceId"]) for output in outputs] == [("load", "b"), ("load", "a")]
    assert metadata_of(result, "load")["unreadable"] == 2


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_an_event_at_the_edge_of_the_calendar_harms_no_other(site: Site, moment: str):
    site.ingest(source_event("a"), source_event("b", occurred_at=moment), source_event("c", occurred_at=moment))
    assert site.capture().success
    assert site.statuses() == ["completed"] * 3
    counts = "select observation_count from lightfast_workspace_observation_clusters order by id"
    assert site.column(counts) == [1, 2]


def test_a_run_whose_batch_was_given_to_another_writes_nothing_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch):
    [id_] = site.ingest(source_event("a"))
    real = classifying.classify_by_rules

    def lose_the_batch(event: SourceEvent) -> Classification:
        site.execute("update event_batches set run_id = 'another', epoch = epoch + 1")
        return real(event)

    monkeypatch.setattr(classifying, "classify_by_rules", lose_the_batch)
    result = site.launch()
    assert not result.success
    assert "no longer belongs to run" in failure_of(result)
    assert site.column("select stale_writes from event_batches") == [1]
    assert site.count("select count(*) from lightfast_workspace_neural_observations") == 0
    assert site.row("select outcome from incoming_events where id = :id", id=id_) == {"outcome": None}


def test_an_event_whose_observation_appeared_meanwhile_is_a_duplicate(site: Site, monkeypatch: pytest.MonkeyPatch):
    ids = site.ingest(source_event("a"), source_event("b"))
    real = classifying.classify_by_rules

    def store_the_same(event: SourceEvent) -> Classification:
        site.execute(
            """
            insert into lightfast_workspace_neural_observations (external_id, workspace_id, occurred_at,
              observation_type, title, content, source, source_type, source_id)
            values (:external_id, 'ws_test', now(), '', '', '', 'github', '', 'b') on conflict do nothing
            """,
            external_id=external_id("observation", "ws_test", "b"),
        )
        return real(event)

    monkeypatch.setattr(classifying, "classify_by_rules", store_the_same)
    site.capture()
    assert [site.reason_of(id_) for id_ in ids] == ["success", "duplicate"]


def test_a_run_leaves_what_it_has_no_time_for_to_a_later_one(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.ingest(source_event("a"), source_event("b"), source_event("c"))
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", "1")
    began = time.monotonic()
    monkeypatch.setattr(committing, "time", SimpleNamespace(monotonic=lambda: began + 1000.0))
    result = site.capture()
    assert metadata_of(result, "store")["left to a later run"] == 2
    assert sorted(site.statuses()) == ["completed", "queued", "queued"]
    waiting = site.rows(
        "select batch_id, begun_at, attempt, losses from incoming_events "
        "where function_id = 'neural.observation.capture' and outcome is null order by id"
    )
    assert waiting == [{"batch_id": None, "begun_at": None, "attempt": 0, "losses": 0}] * 2


def test_work_waits_for_a_program_that_knows_the_schema(site: Site):
    [id_] = site.ingest(source_event("a"))
    site.execute("update neural_alembic_version set version_num = '9999'")
    try:
        result = site.capture()
    finally:
        site.execute("update neural_alembic_version set version_num = :known", known=SCHEMA_REVISION)
    assert result.success
    assert f"is not at revision {SCHEMA_REVISION}" in metadata_of(result, "load")["note"]
    assert site.run_of(id_)["status"] == "queued"
    assert [batch["close_reason"] for batch in site.batches()] == ["handed_back: schema"]
    assert site.tick() == []
    site.execute("update incoming_events set due_at = clock_timestamp()")
    assert site.capture().success
    assert site.run_of(id_)["status"] == "completed"


def test_a_deadlock_is_repeated_without_spending_an_attempt(site: Site):
    site.execute(
        """
        create sequence tries;
        create function deadlock_once() returns trigger language plpgsql as $$
        begin
          if nextval('tries') = 1 then raise exception 'deadlock detected' using errcode = 'deadlock_detected'; end if;
          return null;
        end $$;
        create trigger deadlock_once after insert on lightfast_workspace_neural_observations
          for each statement execute function deadlock_once();
        """
    )
    try:
        [id_] = site.ingest(source_event("a"))
        result = site.capture()
    finally:
        site.execute("drop function deadlock_once cascade; drop sequence tries")
    assert metadata_of(result, "store")["chunks repeated"] == 1
    assert (site.run_of(id_)["status"], site.run_of(id_)["attempt"]) == ("completed", 1)
    assert site.count("select count(*) from workflow_run_attempts") == 0


def test_an_event_that_cannot_be_written_down_fails_alone(site: Site, monkeypatch: pytest.MonkeyPatch):
    ids = site.ingest(*(source_event(name) for name in ("a", "b", "c")))
    children = persist.children_of

    def refusing(observation: Any, **rest: Any) -> Any:
        if observation.source_event.source_id == "b":
            raise ValueError("no children today")
        return children(observation, **rest)

    monkeypatch.setattr(persist, "children_of", refusing)
    assert site.capture().success
    ends = {run_id: site.run_of(run_id) for run_id in ids}
    assert [ends[id_]["status"] for id_ in ids] == ["completed", "failed", "completed"]
    assert ends[ids[1]]["output"]["step"] == "store"
    assert ends[ids[1]]["error_message"] == "no children today"


def test_a_worker_that_dies_over_the_events_has_taken_its_batch(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.ingest(source_event("a"))
    monkeypatch.setattr(job_module, "with_events", dies)
    [request] = site.tick()
    assert not site.launch(tags=dict(request.tags)).success
    assert [(batch["close_reason"], batch["run_id"] is None) for batch in site.batches()] == [("failure", False)]
    assert site.column("select losses from incoming_events") == [1]


def dies(*_: Any) -> None:
    raise MemoryError
