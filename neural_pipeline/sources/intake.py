"""What is taken in: the allow-list of events, and the judgement on one received body."""

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NoReturn

from pydantic import JsonValue

from neural_pipeline.contracts.events import Source, SourceEvent
from neural_pipeline.sources.errors import InvalidPayload, UnsupportedEvent
from neural_pipeline.sources.git_history import parse_record
from neural_pipeline.sources.github import branch_of
from neural_pipeline.sources.quick_json import Undecided, read_quickly
from neural_pipeline.sources.sanitation import one_line
from neural_pipeline.sources.transform import known_source, require_observation, to_source_event

ANY_BRANCH = "push.any-branch"
DEFAULT_ALLOWED = frozenset(
    {
        "push",
        "pull_request.opened",
        "pull_request.closed",
        "pull_request.reopened",
        "pull_request.ready_for_review",
        "issues.opened",
        "issues.closed",
        "issues.reopened",
        "release.published",
        "discussion.created",
        "discussion.answered",
        "deployment.created",
        "deployment.succeeded",
        "deployment.ready",
        "deployment.error",
        "deployment.canceled",
        "git.push",
    }
)


@dataclass(frozen=True)
class Judgement:
    """What became of one received body; the event is there exactly when it was accepted."""

    disposition: Literal["accepted", "unsupported", "invalid"]
    event: SourceEvent | None = None
    reason: str | None = None


def _field(value: JsonValue, *keys: str) -> JsonValue:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _allowance(source: Source, event_type: str, payload: JsonValue) -> str:
    if source is Source.GIT:
        return f"git.{event_type}"
    if source is Source.VERCEL or event_type == "push":
        return event_type
    return f"{event_type}.{_field(payload, 'action')}"


def _is_default_branch(payload: JsonValue) -> bool:
    ref, default = _field(payload, "ref"), _field(payload, "repository", "default_branch")
    return isinstance(ref, str) and isinstance(default, str) and branch_of(ref) == default


def _refusal(source: Source, event_type: str, payload: JsonValue, allowed: Collection[str]) -> str | None:
    allowance = _allowance(source, event_type, payload)
    if allowance not in allowed:
        return f"{allowance[:80]} is not taken in"
    if source is not Source.GITHUB or event_type != "push" or ANY_BRANCH in allowed:
        return None
    return None if _is_default_branch(payload) else "push is taken in only on the repository's default branch"


def is_taken_in(source: Source | str, event_type: str, payload: JsonValue, allowed: Collection[str]) -> bool:
    """Return whether the allow-list lets this event in.

    A GitHub push off the repository's default branch needs `push.any-branch` besides `push`.
    """
    try:
        origin = known_source(source)
        require_observation(origin, event_type)
    except UnsupportedEvent:
        return False
    return _refusal(origin, event_type, payload, allowed) is None


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidPayload("", f"is not JSON: it holds the number {name}")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise InvalidPayload("", "holds a number out of range")
    return number


def parse_json(body: bytes) -> JsonValue:
    """Read JSON as Postgres can keep it; raises InvalidPayload, whose reason is one line."""
    with suppress(Undecided):
        return read_quickly(body)
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise InvalidPayload("", f"is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InvalidPayload("", f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise InvalidPayload("", "is nested too deeply") from None
    except InvalidPayload:
        raise
    except ValueError:
        raise InvalidPayload("", "holds a number with too many digits") from None


def _parse(source: Source, body: bytes, max_bytes: int) -> JsonValue:
    if len(body) > max_bytes:
        raise InvalidPayload("", f"is too large: {len(body)} bytes, at most {max_bytes} are read")
    if not body.strip():
        raise InvalidPayload("", "is empty")
    return parse_record(body) if source is Source.GIT else parse_json(body)


def _repairs(event: SourceEvent) -> str | None:
    match event.metadata.get("replacedCharacters"):
        case int(count):
            return f"{count} character{'' if count == 1 else 's'} replaced (NUL or lone surrogate)"
        case _:
            return None


def judge(
    source: Source | str,
    event_type: str,
    body: bytes,
    *,
    delivery_id: str,
    received_at: datetime,
    allowed: Collection[str],
    max_bytes: int,
) -> Judgement:
    """Decide what becomes of a received body: an event, or one line that says why there is none.

    No body makes it raise. `max_bytes` bounds what is parsed; `received_at` is aware.
    """
    try:
        origin = known_source(source)
        payload = _parse(origin, body, max_bytes)
        event = to_source_event(origin, event_type, payload, delivery_id=delivery_id, received_at=received_at)
    except UnsupportedEvent as error:
        return Judgement("unsupported", reason=one_line(str(error)))
    except InvalidPayload as error:
        return Judgement("invalid", reason=one_line(str(error)))
    refusal = _refusal(origin, event_type, payload, allowed)
    if refusal is not None:
        return Judgement("unsupported", reason=one_line(refusal))
    return Judgement("accepted", event=event, reason=_repairs(event))
