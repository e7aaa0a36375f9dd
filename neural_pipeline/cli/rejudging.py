"""Stored payloads put through their transformer again, by the way they first came in: ready made, git, or a webhook."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from neural_pipeline.cli.documents import Delivery, Kind, delivery_of_line
from neural_pipeline.settings import Settings
from neural_pipeline.sources.errors import InvalidPayload
from neural_pipeline.sources.intake import DEFAULT_ALLOWED, Judgement, judge, parse_json
from neural_pipeline.sources.readymade import judge_source_event
from neural_pipeline.store.intake import MAX_DELIVERY_ID, Receipt
from neural_pipeline.store.payloads import StoredPayload

_LAUNCHPAD = "launchpad"
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judge:
    """What decides anew on stored payloads: the allow-list, and the largest body in bytes."""

    allowed: frozenset[str]
    max_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> "Judge":
        """Return the judge that the settings make."""
        allowed = DEFAULT_ALLOWED if settings.allowed_events is None else frozenset(settings.allowed_events)
        return cls(allowed, settings.max_payload_bytes)

    def __call__(self, stored: StoredPayload) -> Judgement:
        """Decide what becomes of a stored payload now."""
        return self.receipt(stored).judgement

    def receipt(self, stored: StoredPayload) -> Receipt:
        """Return a stored payload as if it were handed in again, with the judgement on it."""
        delivery = _delivery(stored)
        return Receipt(
            stored.workspace_id,
            delivery.kind.source,
            delivery.kind.event_type,
            stored.delivery_id,
            stored.body,
            stored.received_at,
            self._judgement(stored, delivery),
            {**stored.headers, "neural-channel": stored.channel or _UNKNOWN},
        )

    def _judgement(self, stored: StoredPayload, delivery: Delivery) -> Judgement:
        if len(stored.delivery_id) >= MAX_DELIVERY_ID and "delivery id" in (stored.reason or ""):
            reason = f"of its delivery id only {MAX_DELIVERY_ID} characters were kept: hand it in with a shorter one"
            return Judgement("invalid", reason=reason)
        if delivery.flaw is not None:
            return Judgement("invalid", reason=delivery.flaw)
        body = delivery.body if delivery.payload is None else delivery.payload
        if _is_ready_made(stored):
            return judge_source_event(body, max_bytes=self.max_bytes)
        return self._of_provider(delivery.kind, body, delivery_id=stored.delivery_id, received_at=stored.received_at)

    def _of_provider(self, kind: Kind, body: bytes, *, delivery_id: str, received_at: datetime) -> Judgement:
        return judge(
            *kind,
            body,
            delivery_id=delivery_id,
            received_at=received_at,
            allowed=self.allowed,
            max_bytes=self.max_bytes,
        )


def _delivery(stored: StoredPayload) -> Delivery:
    """What `neural ingest` was given may be an envelope, and what it could not tell apart it may know by now."""
    kind = Kind(stored.source, stored.event_type)
    if stored.channel != "cli":
        return Delivery("", kind, stored.body)
    return delivery_of_line(stored.body, "", given=None if kind == (_UNKNOWN, _UNKNOWN) else kind)


def _is_ready_made(stored: StoredPayload) -> bool:
    """The Launchpad takes webhooks too; a source event is kept under its own type."""
    if stored.channel != _LAUNCHPAD:
        return False
    try:
        members = parse_json(stored.body)
    except InvalidPayload:
        return False
    return isinstance(members, dict) and str(cast("dict[str, Any]", members).get("sourceType")) == stored.event_type
