"""Getting a batch for a run: take it, or make it, then read its events. Nothing is decided about the events here."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.contracts.incoming import CapturePayload
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.store import batches, settlement
from neural_pipeline.store.batches import Token
from neural_pipeline.store.intake import Channel
from neural_pipeline.store.revision import SCHEMA_REVISION, current_revision
from neural_pipeline.workflows.observation_capture.intake import (
    FUNCTION,
    Door,
    batch_of_due_events,
    batch_of_raw_events,
)
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Failure, failure_of

STEP = "load"
MAX_NOTE = 1_000


@dataclass(frozen=True, slots=True)
class Loaded:
    """The events a run has to work off, in order; without a token there are none, and `note` says why."""

    token: Token | None = None
    events: Sequence[CaptureEvent] = ()
    unreadable: Mapping[int, Failure] = field(default_factory=dict[int, Failure])
    deadline: float = 0.0
    note: str | None = None


class LaunchRefused(Exception):
    """A launch asks for something that cannot be done."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a run is to work on: an assigned batch, raw events for a workspace, or what is due (of one workspace)."""

    run_id: str
    batch_id: int | None
    workspace_id: str | None
    events: Sequence[Any]
    launched_by: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run must keep to: bounds of its batch, its times, and what raw events pass.

    In seconds: `working` until it takes no further chunk, `timeout` until its batch is taken from it, `lease` without a
    sign of life, and the `pause` of a batch that is handed back.
    """

    limits: Limits
    working: float
    timeout: float
    lease: float
    pause: float
    door: Door


def claim(connection: Connection, request: Request, terms: Terms) -> Loaded:
    """Take or make the batch of a run, without its events yet; raises WorkspaceHeld or LaunchRefused.

    The caller commits before it reads the events: a worker that dies over them has taken its batch, and is counted.
    """
    if request.batch_id is not None:
        return _take(connection, request.batch_id, request, terms)
    if request.events:
        return _claim_raw(connection, request, terms)
    batch_id = batch_of_due_events(connection, workspace_id=request.workspace_id, limits=terms.limits)
    if batch_id is None:
        return Loaded(note="nothing is due")
    return _take(connection, batch_id, request, terms)


def _claim_raw(connection: Connection, request: Request, terms: Terms) -> Loaded:
    if request.workspace_id is None:
        raise LaunchRefused("events were given without workspace_id: say which workspace they belong to")
    channel = Channel("launchpad", Trigger.MANUAL, request.launched_by)
    batch_id, admissions = batch_of_raw_events(
        connection,
        request.events,
        workspace_id=request.workspace_id,
        channel=channel,
        door=terms.door,
        limits=terms.limits,
    )
    refused = [f"event {n}: {a.reason}" for n, a in enumerate(admissions, start=1) if a.event_id is None]
    note = "; ".join(refused)[:MAX_NOTE] or None
    return replace(_take(connection, batch_id, request, terms), note=note) if batch_id else Loaded(note=note)


def _take(connection: Connection, batch_id: int, request: Request, terms: Terms) -> Loaded:
    token = batches.take(connection, batch_id, run_id=request.run_id, seconds=terms.timeout, lease=terms.lease)
    if token is None:
        return Loaded(note=f"batch {batch_id} is taken or closed: another run has done, or does, its work")
    if current_revision(connection) != SCHEMA_REVISION:
        settlement.hand_back(connection, token, reason="handed_back: schema", pause=terms.pause)
        return Loaded(note=f"the database is not at revision {SCHEMA_REVISION}: the events wait for the right program")
    if not request.events:
        batches.top_up(connection, token, function_id=FUNCTION, limits=terms.limits)
    batches.begin(connection, token)
    return Loaded(token, deadline=time.monotonic() + terms.working)


def with_events(loaded: Loaded, rows: Sequence[RowMapping]) -> Loaded:
    """Return what was claimed with its events read from their rows; one that cannot be read is a failure of its own."""
    events: list[CaptureEvent] = []
    unreadable: dict[int, Failure] = {}
    for row in rows:
        try:
            source_event = CapturePayload.model_validate(row["payload"]).source_event
        except ValueError as error:
            source_event = _stand_in(row["payload"])
            unreadable[row["id"]] = failure_of(error, step=STEP, rejected=True)
        events.append(_event(row, source_event))
    return replace(loaded, events=events, unreadable=unreadable)


def _event(row: RowMapping, source_event: SourceEvent) -> CaptureEvent:
    return CaptureEvent(
        id=row["id"],
        workspace_id=row["workspace_id"],
        clerk_org_id=row["clerk_org_id"],
        repository_id=row["repository_id"],
        source_event=source_event,
        attempt=row["attempt"],
        reprocess=row["reprocess"],
    )


def _stand_in(payload: dict[str, Any]) -> SourceEvent:
    """A source event with just the id, for the failed row of one that this program cannot read."""
    try:
        source_id = str(payload["sourceEvent"]["sourceId"])
    except (KeyError, TypeError):
        source_id = "unknown"
    return SourceEvent.model_construct(source_id=source_id, references=(), metadata={}, body="")
