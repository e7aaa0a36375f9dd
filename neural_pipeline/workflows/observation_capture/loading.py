"""What a capture works on: the batch of a sensor, what is due, or raw events from the Launchpad. Decides nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.contracts.incoming import CapturePayload
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.store.intake import Channel
from neural_pipeline.workflows.batch_work import claiming
from neural_pipeline.workflows.batch_work.claiming import STEP, Claim, LaunchRefused, LoadedBatch, Request, Terms
from neural_pipeline.workflows.batch_work.steps import Failure, failure_of
from neural_pipeline.workflows.observation_capture.intake import Door, batch_of_raw_events
from neural_pipeline.workflows.observation_capture.work import CaptureEvent

MAX_NOTE = 1_000


class Loaded(LoadedBatch[CaptureEvent]):
    """The events a capture's run has to work off, in order."""


@dataclass(frozen=True, slots=True)
class RawEvents:
    """Events as somebody typed them into the Launchpad, and what they must pass."""

    events: Sequence[Any]
    launched_by: str
    door: Door


def claim(connection: Connection, request: Request, terms: Terms, *, raw: RawEvents) -> Claim:
    """Take or make the batch of a run; raises WorkspaceHeld or LaunchRefused."""
    if request.batch_id is None and raw.events:
        return _claim_raw(connection, request, terms, raw=raw)
    return claiming.claim(connection, request, terms)


def _claim_raw(connection: Connection, request: Request, terms: Terms, *, raw: RawEvents) -> Claim:
    if request.workspace_id is None:
        raise LaunchRefused("events were given without workspace_id: say which workspace they belong to")
    batch_id, admissions = batch_of_raw_events(
        connection,
        raw.events,
        workspace_id=request.workspace_id,
        channel=Channel("launchpad", Trigger.MANUAL, raw.launched_by),
        door=raw.door,
        limits=terms.limits,
    )
    refused = [f"event {n}: {a.reason}" for n, a in enumerate(admissions, start=1) if a.event_id is None]
    note = "; ".join(refused)[:MAX_NOTE] or None
    if batch_id is None:
        return Claim(note=note)
    return replace(claiming.take(connection, batch_id, request, terms, is_closed=True), note=note)


def with_events(mine: Claim, rows: Sequence[RowMapping]) -> Loaded:
    """Return a claim with its events read from their rows; one that cannot be read is a failure of its own."""
    events: list[CaptureEvent] = []
    unreadable: dict[int, Failure] = {}
    for row in rows:
        try:
            source_event = CapturePayload.model_validate(row["payload"]).source_event
        except ValueError as error:
            source_event = _stand_in(row["payload"])
            unreadable[row["id"]] = failure_of(error, step=STEP, rejected=True)
        events.append(_event(row, source_event))
    return Loaded(mine, tuple(events), unreadable)


def _event(row: Mapping[str, Any] | RowMapping, source_event: SourceEvent) -> CaptureEvent:
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
