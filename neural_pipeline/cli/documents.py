"""What a piece of input holds: a payload, an envelope around one, or a dataset of many. Reading files is `reading`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from neural_pipeline.sources.quick_json import Undecided, read_quickly

_UNKNOWN = "unknown"
_NOT_TOLD = "cannot be told apart by its keys: pass --source and --event-type"
_DETAILS = ("comment", "review", "thread")
"""Keys of deliveries about a comment or a review, which carry the issue or pull request as well."""


class Kind(NamedTuple):
    """What a payload is, in the provider's words."""

    source: str
    event_type: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One payload to hand in.

    `body` is kept as the bytes that came, `payload` is what is judged, where the two differ; with a `flaw` nothing is.
    """

    place: str
    kind: Kind
    body: bytes
    payload: bytes | None = None
    delivery_id: str | None = None
    flaw: str | None = None


def parse(body: bytes) -> tuple[Any, str | None]:
    """Parse JSON; return the value, or None and one line that says why it is none."""
    with suppress(Undecided):
        return read_quickly(body), None
    try:
        return json.loads(body.decode("utf-8-sig")), None
    except UnicodeDecodeError as error:
        return None, f"is not UTF-8 (byte {error.start})"
    except json.JSONDecodeError as error:
        empty = not body.strip()
        return None, "is empty" if empty else f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
    except RecursionError:
        return None, "is nested too deeply"
    except ValueError:
        return None, "holds a number with too many digits"


def deliveries_in(body: bytes, place: str, *, given: Kind | None) -> Iterator[Delivery]:
    """Yield what a whole document holds: the items of a dataset, or one payload, invalid if it cannot be parsed."""
    value, flaw = parse(body)
    items = _members(value).get("webhooks")
    if isinstance(items, list):
        del body  # it may be large, and the items do not need it
        yield from _items(cast("list[Any]", items), place, given=given)
    else:
        yield _single(body, place, value=value, flaw=flaw, given=given)


def delivery_of_line(line: bytes, place: str, *, given: Kind | None) -> Delivery:
    """Return what one line of JSON lines holds; the whole line is kept, also where it is an envelope."""
    value, flaw = parse(line)
    return _single(line, place, value=value, flaw=flaw, given=given)


def _items(items: list[Any], place: str, *, given: Kind | None) -> Iterator[Delivery]:
    """Yield the items of a dataset, each kept as its payload written anew, in ASCII: its own bytes are not known."""
    for position, item in enumerate(items):
        where = f"{place}:webhooks[{position}]"
        delivery = _single(_written(item), where, value=item, flaw=None, given=given)
        yield delivery if delivery.payload is None else replace(delivery, body=delivery.payload, payload=None)


def _single(body: bytes, place: str, *, value: Any, flaw: str | None, given: Kind | None) -> Delivery:
    if flaw is not None:
        return Delivery(place, given or Kind(_UNKNOWN, _UNKNOWN), body, flaw=f"the payload {flaw}")
    members = _members(value)
    if members.keys() >= {"source", "payload"} and "eventType" in members:
        return _unwrapped(body, place, members)
    kind = given or kind_of(members)
    if kind is None:
        return Delivery(place, Kind(_UNKNOWN, _UNKNOWN), body, flaw=f"the payload {_NOT_TOLD}")
    return Delivery(place, kind, body)


def _members(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _unwrapped(body: bytes, place: str, envelope: Mapping[str, Any]) -> Delivery:
    source, event_type, delivery_id = envelope["source"], envelope["eventType"], envelope.get("deliveryId")
    kind = Kind(str(source), str(event_type))
    if not isinstance(source, str) or not isinstance(event_type, str):
        return Delivery(place, kind, body, flaw="source and eventType are not both text")
    if delivery_id is not None and not (isinstance(delivery_id, str) and delivery_id.strip()):
        return Delivery(place, kind, body, flaw="deliveryId is not a text with something in it")
    return Delivery(place, kind, body, payload=_written(envelope["payload"]), delivery_id=delivery_id)


def _written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def kind_of(payload: Mapping[str, Any]) -> Kind | None:
    """Tell what a bare payload is by its keys, None where they do not say."""
    kind = payload.get("type")
    if isinstance(kind, str) and kind.startswith("deployment."):
        return Kind("vercel", kind)
    event_type = _github_event_type(payload)
    return None if event_type is None else Kind("github", event_type)


def _github_event_type(payload: Mapping[str, Any]) -> str | None:
    subject = next((key for key in ("pull_request", "issue", "release", "discussion") if key in payload), None)
    if subject is not None:
        detail = next((key for key in _DETAILS if key in payload), None)
        return f"{subject}_{detail}" if detail else {"issue": "issues"}.get(subject, subject)
    if "ref_type" in payload:
        return None
    return "push" if "commits" in payload or "ref" in payload else None
