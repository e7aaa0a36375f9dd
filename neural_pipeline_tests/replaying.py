"""Builders for tests of replays: executions of any function that have ended, and replays of runs."""

from typing import Any

from sqlalchemy import Connection, text

from neural_pipeline.contracts.incoming import (
    CapturePayload,
    ExtractionPayload,
    IncomingEvent,
    ProfilePayload,
    SummaryPayload,
    SyncPayload,
)
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store import inbox, lifecycle
from neural_pipeline.store.payloads import StoredPayload
from neural_pipeline.store.replay import Answer, Replay, replay
from neural_pipeline_tests.building import column, source_event

WISH = Replay("request-1", "grace")
PAYLOADS: dict[str, IncomingEvent] = {
    "capture": CapturePayload(source_event=source_event()),
    "profile": ProfilePayload(actor_id="github:7", observation_id="obs"),
    "summary": SummaryPayload(cluster_id="1", observation_count=3),
    "extraction": ExtractionPayload(observation_id="obs", content_length=300),
    "sync": SyncPayload(source_id="s", source_type="github", sync_mode="full"),
}

_END = """
update incoming_events
set outcome = :outcome, outcome_at = clock_timestamp(), begun_at = clock_timestamp(), error_message = :error,
  cause = :cause, output = jsonb_build_object('inngestFunctionId', function_id, 'status', 'filtered')
where id = :id
"""


def appended(connection: Connection, payload: IncomingEvent, delivery_id: str = "d", **fields: Any) -> int:
    """Put an execution into the inbox; return its event."""
    given = {"workspace_id": "ws_test", "source": "test", "trigger": Trigger.WEBHOOK, "repository_id": "42"} | fields
    [event_id] = inbox.append(connection, [inbox.NewEvent(delivery_id=delivery_id, payload=payload, **given)])
    return event_id


def end(
    connection: Connection,
    event_id: int,
    outcome: str = "completed",
    *,
    error: str | None = None,
    cause: str | None = None,
) -> int:
    """End an execution and record that; return its run."""
    given = {"outcome": outcome, "error": error or ("no" if outcome == "failed" else None), "cause": cause}
    connection.execute(text(_END), {"id": event_id, **given})
    lifecycle.record_events(connection, [event_id])
    return number_of(connection, event_id)


def ended(connection: Connection, delivery_id: str = "d", outcome: str = "completed", **how: Any) -> int:
    """A capture that has ended; return its run."""
    return end(connection, appended(connection, PAYLOADS["capture"], delivery_id), outcome, **how)


def number_of(connection: Connection, event_id: int) -> int:
    """Return the run of an event."""
    return column(connection, "select id from lightfast_workspace_workflow_runs where event_id = :id", id=event_id)[0]


def never_asked(payload: StoredPayload) -> Judgement:
    """A transformer that must not be needed."""
    raise AssertionError(f"payload {payload.id} was judged again")


def replayed(connection: Connection, *run_ids: int, wish: Replay = WISH) -> list[Answer]:
    """Replay runs whose payloads need no transformer."""
    return replay(connection, run_ids, wish, judge=never_asked)


def replay_event(connection: Connection, event_id: int, *, reprocess: bool = False, request_id: str = "r") -> int:
    """Replay the run of an event; return the new event."""
    wish = Replay(request_id, "grace", reprocess=reprocess)
    [answer] = replayed(connection, number_of(connection, event_id), wish=wish)
    sql = "select event_id from lightfast_workspace_workflow_runs where id = :id"
    return column(connection, sql, id=answer.new_run_id)[0]
