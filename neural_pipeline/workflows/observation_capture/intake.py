"""Raw events that somebody typed into the Launchpad: what decides on them, and putting them on a batch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import Connection

from neural_pipeline.contracts.batching import Limits, plan_batches
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.sources.intake import DEFAULT_ALLOWED, Judgement, judge
from neural_pipeline.sources.readymade import judge_source_event
from neural_pipeline.store import batches
from neural_pipeline.store.intake import Admission, Channel, Receipt, admit
from neural_pipeline.workflows.batch_work.claiming import require_free

FUNCTION = FunctionId.OBSERVATION_CAPTURE


@dataclass(frozen=True, slots=True)
class Door:
    """What decides on raw events: the allow-list, and the largest body in bytes."""

    allowed: frozenset[str] = DEFAULT_ALLOWED
    max_bytes: int = 25 * 1024 * 1024

    def judge(self, source: str, event_type: str, body: bytes, *, delivery_id: str, received_at: datetime) -> Judgement:
        """Decide what becomes of a raw payload."""
        return judge(
            source,
            event_type,
            body,
            delivery_id=delivery_id,
            received_at=received_at,
            allowed=self.allowed,
            max_bytes=self.max_bytes,
        )


def batch_of_raw_events(
    connection: Connection, raw: Sequence[Any], *, workspace_id: str, channel: Channel, door: Door, limits: Limits
) -> tuple[int | None, list[Admission]]:
    """Take raw events in and put those that are accepted on a batch; raises WorkspaceHeld before taking any in."""
    batches.lock_assignment(connection, function_id=FUNCTION)
    require_free(connection, workspace_id, function_id=FUNCTION)
    launch = uuid4().hex
    receipts = [
        _receipt(item, workspace_id=workspace_id, delivery_id=f"{launch}-{position}", door=door)
        for position, item in enumerate(raw, start=1)
    ]
    admissions = admit(connection, receipts, channel=channel)
    accepted = [admission.event_id for admission in admissions if admission.event_id is not None]
    if not accepted:
        return None, admissions
    events = batches.waiting_events(connection, accepted)
    # What does not fit waits in the inbox like any other event.
    plan = plan_batches(events, slots=1, limits=limits)[0]
    return batches.put_on_batch(connection, plan, function_id=FUNCTION, trigger=Trigger.MANUAL), admissions


def _receipt(item: Any, *, workspace_id: str, delivery_id: str, door: Door) -> Receipt:
    received_at = datetime.now(UTC)
    named = cast("Mapping[str, Any]", item if isinstance(item, Mapping) else {})
    is_webhook = "payload" in named
    source, event_type = str(named.get("source")), str(named.get("eventType" if is_webhook else "sourceType"))
    body = json.dumps(named["payload"] if is_webhook else item).encode()
    if is_webhook:
        judgement = door.judge(source, event_type, body, delivery_id=delivery_id, received_at=received_at)
    else:
        judgement = judge_source_event(body, max_bytes=door.max_bytes)
    return Receipt(workspace_id, source, event_type, delivery_id, body, received_at, judgement)
