"""Builders for tests, through the code under test: source events, receipts, events in the inbox, batches, findings."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.contracts.events import Actor, Source, SourceEvent
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import CapturePayload
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.contracts.memory import Entity
from neural_pipeline.contracts.retries import RetryPolicy
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store import batch_events, batches
from neural_pipeline.store.batches import Token
from neural_pipeline.store.intake import Admission, Channel, Receipt, admit
from neural_pipeline.store.settlement import RunEnd, settle
from neural_pipeline.store.workspaces import create_workspace
from neural_pipeline.workflows.batch_work.committing import Report
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules
from neural_pipeline.workflows.observation_capture.logic import Classification, Significance
from neural_pipeline.workflows.observation_capture.persist import Persistence
from neural_pipeline.workflows.observation_capture.recall import KnownAuthors, recall_memory
from neural_pipeline.workflows.observation_capture.verdicts import Decided, Examined, Findings, Memory, decide
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Filtered

Result = TypeVar("Result")

CAPTURE = FunctionId.OBSERVATION_CAPTURE
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LIMITS = Limits(max_events=100, max_bytes=10_000_000, max_open=4)
BY_HAND = Channel("ingest", Trigger.MANUAL, "ada")
SETTINGS = {"version": 1, "embedding": {"namespaceName": "tests"}}


def source_event(source_id: str = "pr:acme/shop#1:opened", **changes: Any) -> SourceEvent:
    """Return a pull request that passes every gate."""
    fields: dict[str, Any] = {
        "source": Source.GITHUB,
        "source_type": "pull-request.opened",
        "source_id": source_id,
        "title": "[PR Opened] Fix the checkout",
        "body": "A short text.",
        "actor": Actor(id="7", name="ada"),
        "occurred_at": NOON,
        "metadata": {"repoId": 42},
    }
    return SourceEvent(**(fields | changes))


def receipt(delivery_id: str = "d-1", *, workspace_id: str = "ws_test", **changes: Any) -> Receipt:
    """Return a payload as handed in, accepted unless `judgement` says otherwise; its source id is the delivery's."""
    fields: dict[str, Any] = {
        "workspace_id": workspace_id,
        "source": "github",
        "event_type": "pull_request",
        "delivery_id": delivery_id,
        "body": b'{"number": 1}',
        "received_at": NOON,
        "judgement": accepted(delivery_id),
    }
    return Receipt(**(fields | changes))


def accepted(source_id: str = "d-1", **changes: Any) -> Judgement:
    """Return the judgement on a payload that is taken in."""
    return Judgement("accepted", event=source_event(source_id, **changes))


_TABLES = """
select string_agg(quote_ident(table_name), ', ') from information_schema.tables
where table_schema = 'public' and table_type = 'BASE TABLE'
  and table_name not in ('neural_alembic_version', 'rollup_progress')
"""


def empty_tables(connection: Connection) -> None:
    """Empty all tables; ids begin at 1 again."""
    tables = connection.execute(text(_TABLES)).scalar_one()
    connection.execute(text(f"truncate {tables} restart identity cascade"))
    connection.execute(text("update rollup_progress set through_id = 0"))


def workspaces(connection: Connection, *ids: str) -> list[str]:
    """Create workspaces."""
    for id_ in ids:
        create_workspace(connection, id_, organisation="org_test", name=id_, settings=SETTINGS)
    return list(ids)


def take_in(connection: Connection, *receipts: Receipt) -> list[Admission]:
    """Admit receipts as if somebody had ingested them by hand."""
    return admit(connection, receipts, channel=BY_HAND)


def waiting(connection: Connection, count: int = 1, *, workspace_id: str = "ws_test", prefix: str = "e") -> list[int]:
    """Put `count` events into the inbox, a second apart; return their ids."""
    receipts = [
        receipt(f"{prefix}-{n}", workspace_id=workspace_id, received_at=NOON + timedelta(seconds=n))
        for n in range(count)
    ]
    return [admission.event_id for admission in take_in(connection, *receipts) if admission.event_id is not None]


def open_batch(connection: Connection, event_ids: Sequence[int]) -> int:
    """Put waiting events on a batch that no run has taken."""
    events = batches.waiting_events(connection, event_ids)
    return batches.put_on_batch(connection, events, function_id=CAPTURE, trigger=Trigger.AUTOMATIC)


def begun_batch(connection: Connection, event_ids: Sequence[int], *, run_id: str = "run-1") -> Token:
    """Put waiting events on a batch and have a run take it and begin."""
    token = batches.take(connection, open_batch(connection, event_ids), run_id=run_id, seconds=600, lease=60)
    assert token is not None
    batches.begin(connection, token)
    return token


def examined(connection: Connection, token: Token) -> list[Examined]:
    """Return the events of a batch, each with findings that make it an observation."""
    rows = batch_events.events_of(connection, token.batch_id)
    return [
        Examined(
            CaptureEvent(
                row["id"],
                row["workspace_id"],
                row["clerk_org_id"],
                row["repository_id"],
                CapturePayload.model_validate(row["payload"]).source_event,
                row["attempt"],
                row["reprocess"],
            ),
            findings(),
        )
        for row in rows
    ]


def findings(*entities: Entity) -> Findings:
    """Return what the analysis may have found: a significant bug fix that names one engineer."""
    return Findings(
        significance=Significance(60, ("base:50",)),
        classification=Classification("bug_fix", ("testing",), 0.5),
        classified_by="offline:rules",
        classification_note=None,
        is_fallback=False,
        topics=("github", "fix"),
        entities=entities or (Entity("engineer", "@ada", None, 0.9, "by @ada"),),
        vectors=np.eye(3, 8, dtype=np.float32),
        embedded_by="made-up",
    )


def decided(seen: Sequence[Examined]) -> list[Decided]:
    """Decide on events as if the memory were empty."""
    return decide(seen, Memory(), ClusterRules())


def persistence(
    engine: Engine, token: Token, *, chunk: int = 100, deadline: float = float("inf"), extra_attempts: int = 0
) -> Persistence:
    """Return the store step of a batch; it decides anew from what the database holds."""

    def anew(seen: Sequence[Examined], captured: set[tuple[str, str]]) -> list[Decided]:
        with engine.begin() as connection:
            memory = recall_memory(connection, seen, ClusterRules(), authors=KnownAuthors({}))
        memory.captured.update(captured)
        return decide(seen, memory, ClusterRules())

    return Persistence(
        engine=engine,
        token=token,
        decide=anew,
        chunk=chunk,
        seconds={},
        deadline=deadline,
        retries=RetryPolicy(extra_attempts),
        draw=lambda: 0.5,
    )


def capture(
    engine: Engine, token: Token, *, but: dict[int, Filtered | Failure] | None = None, chunk: int = 100
) -> Report:
    """Work a begun batch off; `but` says which events end otherwise than as observations."""
    with engine.begin() as connection:
        seen = examined(connection, token)
    endings = but or {}
    seen = [Examined(one.event, endings.get(one.event.id, one.result)) for one in seen]
    return persistence(engine, token, chunk=chunk).keep(seen, decided(seen))


def ready(engine: Engine, count: int, *, workspace_id: str = "ws_test") -> tuple[Token, list[Examined]]:
    """A begun batch of `count` events and what was found out about them."""
    with engine.begin() as connection:
        token = begun_batch(connection, waiting(connection, count, workspace_id=workspace_id))
        return token, examined(connection, token)


def keep(engine: Engine, token: Token, seen: list[Examined], *, chunk: int = 100) -> Report:
    """Decide on events as if the memory were empty, and commit chunk by chunk."""
    return persistence(engine, token, chunk=chunk).keep(seen, decided(seen))


def kept(engine: Engine) -> dict[str, int]:
    """Count what the store step has written."""
    tables = {
        "observations": "lightfast_workspace_neural_observations",
        "vectors": "observation_vectors",
        "links": "observation_entities",
        "children": "incoming_events where parent_event_id is not null",
        "metrics": "lightfast_workspace_operations_metrics",
        "attempts": "workflow_run_attempts",
        "in clusters": "lightfast_workspace_observation_clusters cross join generate_series(1, observation_count)",
        "mentions": "lightfast_workspace_neural_entities cross join generate_series(1, occurrence_count)",
    }
    with engine.begin() as connection:
        return {name: column(connection, f"select count(*) from {table}")[0] for name, table in tables.items()}


def belongings(observations: int, *, failed: int = 0) -> dict[str, int]:
    """What the tables hold after so many observations and failures."""
    return {
        "observations": observations,
        "vectors": 3 * observations,
        "links": observations,
        "children": 2 * observations,
        "metrics": 5 * observations,
        "attempts": failed,
        "in clusters": observations,
        "mentions": observations,
    }


def end_run(connection: Connection, token: Token, end: RunEnd = RunEnd.SUCCESS, *, run_id: str | None = None) -> bool:
    """Settle a batch as the sensors do when a run has ended; one that is lost shows no sign of life any more."""
    if end is RunEnd.LOST:
        sql = "update event_batches set lease_until = now() where id = :id and state = 'running'"
        connection.execute(text(sql), {"id": token.batch_id})
    return settle(connection, token.batch_id, run_id=run_id or token.run_id, end=end, isolating_losses=3)


def assign(connection: Connection, limits: Limits = LIMITS) -> list[int]:
    """Put due events on batches as the inbox sensor does."""
    return batches.assign(connection, function_id=CAPTURE, limits=limits)


def events_on(connection: Connection, batch_id: int) -> list[int]:
    """Return the events of a batch in the order of their work."""
    return column(
        connection, "select id from incoming_events where batch_id = :id order by received_at, id", id=batch_id
    )


def held_by(connection: Connection, batch_id: int) -> list[str]:
    """Return the workspaces that a batch holds."""
    sql = "select workspace_id from batch_workspaces where batch_id = :id and closed_at is null order by 1"
    return column(connection, sql, id=batch_id)


def put_off(connection: Connection, event_id: int) -> None:
    """Make an event due in an hour."""
    connection.execute(text("update incoming_events set due_at = now() + '1 hour' where id = :id"), {"id": event_id})


def waits_for_a_lock(future: Future[Any]) -> bool:
    """Tell whether what a thread does is still held up after a moment."""
    time.sleep(0.3)
    return not future.done()


def in_transaction(engine: Engine, act: Callable[[Connection], Result]) -> Result:
    """Do something in a transaction of its own; for threads."""
    with engine.begin() as connection:
        return act(connection)


def one(connection: Connection, sql: str, **parameters: Any) -> Any:
    """Return the single row of a query."""
    return connection.execute(text(sql), parameters).mappings().one()


def column(connection: Connection, sql: str, **parameters: Any) -> list[Any]:
    """Return the first column of a query."""
    return list(connection.execute(text(sql), parameters).scalars())


def run_of(connection: Connection, event_id: int) -> Any:
    """Return the lifecycle row of an event."""
    return one(connection, "select * from lightfast_workspace_workflow_runs where event_id = :id", id=event_id)


def event_of(connection: Connection, event_id: int) -> Any:
    """Return the inbox row of an event."""
    return one(connection, "select * from incoming_events where id = :id", id=event_id)


def batch_of(connection: Connection, batch_id: int) -> Any:
    """Return a batch."""
    return one(connection, "select * from event_batches where id = :id", id=batch_id)
