"""The one door of the room: any provider's parsed payload to a SourceEvent."""

from datetime import datetime
from typing import assert_never

from pydantic import JsonValue

from neural_pipeline.contracts.events import Source, SourceEvent
from neural_pipeline.sources import git_commit, github, vercel
from neural_pipeline.sources.draft import Draft, finish
from neural_pipeline.sources.errors import UnsupportedEvent
from neural_pipeline.sources.payload import Payload

MAX_EVENT_TYPE = 100


def known_source(source: str) -> Source:
    """Return the source of this name; UnsupportedEvent when there is none."""
    try:
        return Source(source)
    except ValueError:
        raise UnsupportedEvent(f"unknown source {str(source)[:40]!r}") from None


def _is_observation(source: Source, event_type: str) -> bool:
    match source:
        case Source.GITHUB:
            return event_type in github.KINDS
        case Source.VERCEL:
            return event_type.startswith(vercel.PREFIX) and event_type.isprintable()
        case Source.GIT:
            return event_type == git_commit.EVENT_TYPE
        case _:
            assert_never(source)


def require_observation(source: Source, event_type: str) -> None:
    """Raise UnsupportedEvent when the provider's event type is not one that becomes an observation."""
    if len(event_type) > MAX_EVENT_TYPE or not _is_observation(source, event_type):
        raise UnsupportedEvent(f"{source} event type {event_type[:60]!r} is not an observation")


def _draft(source: Source, event_type: str, payload: Payload) -> Draft:
    match source:
        case Source.GITHUB:
            return github.KINDS[event_type](payload)
        case Source.VERCEL:
            return vercel.deployment_draft(event_type, payload)
        case Source.GIT:
            return git_commit.commit_draft(payload)
        case _:
            assert_never(source)


def to_source_event(
    source: Source | str, event_type: str, payload: JsonValue, *, delivery_id: str, received_at: datetime
) -> SourceEvent:
    """Turn one parsed payload into a SourceEvent.

    `event_type` is the provider's own (`pull_request`, `deployment.created`, `push`); `received_at` is aware.
    Raises UnsupportedEvent when the delivery is no observation, InvalidPayload with a path when it is malformed.
    """
    origin = known_source(source)
    require_observation(origin, event_type)
    reading = Payload.received(payload, received_at)
    draft = _draft(origin, event_type, reading)
    return finish(origin, draft, raw=payload, payload=reading, delivery_id=delivery_id, received_at=received_at)
