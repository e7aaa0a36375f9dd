"""Children that wait for news of what they are about: appending them, and having runs work on them."""

from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.debounce import Period, debounce_of
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import ExtractionPayload, IncomingEvent, ProfilePayload, SummaryPayload
from neural_pipeline.contracts.lifecycle import Cause, Trigger
from neural_pipeline.contracts.workflows import parse_output
from neural_pipeline.store import batches, inbox
from neural_pipeline.store.batches import Token
from neural_pipeline.store.inbox import NewEvent
from neural_pipeline.store.outcomes import FailedAttempt
from neural_pipeline_tests.building import column, event_of, one, run_of

PROFILE = FunctionId.PROFILE_UPDATE
SUMMARY = FunctionId.CLUSTER_SUMMARY
EXTRACTION = FunctionId.LLM_ENTITY_EXTRACTION
PERIODS = dict.fromkeys((PROFILE, SUMMARY, EXTRACTION), Period(60, 300))
STUMBLED = FailedAttempt("store", "it stumbled", "RuntimeError", None, Cause.CODE_ERROR)


def about(subject: str, function_id: FunctionId = PROFILE) -> IncomingEvent:
    """Return what a function is to do about a subject."""
    if function_id == PROFILE:
        return ProfilePayload(actor_id=subject, observation_id="o1")
    if function_id == SUMMARY:
        return SummaryPayload(cluster_id=subject, observation_count=5)
    return ExtractionPayload(observation_id=subject, content_length=300)


def child(
    subject: str, delivery_id: str, *, function_id: FunctionId = PROFILE, is_debounced: bool = True, **fields: Any
) -> NewEvent:
    """Return a child about a subject as a capture asks for it."""
    payload = about(subject, function_id)
    given: dict[str, Any] = {
        "workspace_id": "ws_test",
        "source": "neural",
        "trigger": Trigger.AUTOMATIC,
        "debounce": debounce_of(payload, PERIODS) if is_debounced else None,
    }
    return NewEvent(delivery_id=delivery_id, payload=payload, **(given | fields))


def appended(connection: Connection, *events: NewEvent) -> list[int]:
    """Append in one call; return the new ids in the order of the events."""
    return sorted(inbox.append(connection, events))


def news(connection: Connection, subject: str, delivery_id: str, **fields: Any) -> int:
    """Append one child; return its id."""
    [id_] = appended(connection, child(subject, delivery_id, **fields))
    return id_


def at_work(connection: Connection, *event_ids: int, run_id: str = "run-1", function_id: FunctionId = PROFILE) -> Token:
    """Have a run work on children, due or not."""
    events = batches.waiting_events(connection, event_ids)
    assert len(events) == len(event_ids)
    batch_id = batches.put_on_batch(connection, events, function_id=function_id, trigger=Trigger.AUTOMATIC)
    token = batches.take(connection, batch_id, run_id=run_id, seconds=600, lease=60)
    assert token is not None
    batches.begin(connection, token)
    return token


def waiting_about(connection: Connection, subject: str, *, workspace_id: str = "ws_test") -> list[int]:
    """Return the children about a subject that wait, whatever their function."""
    sql = """
    select id from incoming_events
    where debounce_key = :key and workspace_id = :workspace_id and batch_id is null and outcome is null order by id
    """
    return column(connection, sql, key=subject, workspace_id=workspace_id)


def assert_superseded(connection: Connection, old: int, new: int) -> None:
    """Assert that facts and lifecycle row of `old` say that `new` stands for it, and that it was never begun."""
    event, run, survivor = event_of(connection, old), run_of(connection, old), run_of(connection, new)
    assert (event["outcome"], event["superseded_by"], event["batch_id"]) == ("superseded", new, None)
    assert (run["status"], run["superseded_by"], run["duration_ms"]) == ("completed", survivor["id"], "0")
    assert (run["started_at"], run["dagster_run_id"]) == (None, None)
    assert run["completed_at"] >= run["created_at"]
    assert run["attempt"] == event["attempt"]
    output = parse_output(run["output"], function_id=FunctionId(run["inngest_function_id"])).to_json()
    assert output.items() >= {"status": "skipped", "reason": "superseded"}.items()
    sql = "select tags ->> 'result' from lightfast_workspace_operations_metrics where event_id = :id"
    assert column(connection, sql, id=old) == ["superseded"]


def seconds_until(connection: Connection, event_id: int, name: str) -> float:
    """Return the seconds from now until a time of an event."""
    sql = f"select extract(epoch from {name} - clock_timestamp())::float as n from incoming_events where id = :id"
    return one(connection, sql, id=event_id)["n"]
