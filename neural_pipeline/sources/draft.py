"""From what a transformer read to a SourceEvent: identity, bounded references, metadata, validation."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import JsonValue, ValidationError

from neural_pipeline.contracts.events import Actor, Source, SourceEvent
from neural_pipeline.sources.errors import InvalidPayload
from neural_pipeline.sources.payload import Payload
from neural_pipeline.sources.references import Mention, gather
from neural_pipeline.sources.sanitation import body_of, one_line, repair, title_of

MAX_SOURCE_ID = 255
_DIGEST = 32


@dataclass(frozen=True)
class Draft:
    """What one transformer made of one payload. `identity` says which thing and what was done to it, not when."""

    source_type: str
    identity: str
    title: str
    body: str
    actor: Actor | None
    occurred_at: datetime | None
    mentions: Iterable[Mention]
    metadata: Mapping[str, JsonValue]


def compact_time(moment: datetime) -> str:
    """Return the time as `2024-01-06T10:00:00Z`, with milliseconds when there are any."""
    moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds").removesuffix(".000") + "Z"


def digest_of(value: JsonValue) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the canonical JSON: sorted keys, no blanks."""
    try:
        canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    except RecursionError:
        raise InvalidPayload("", "is nested too deeply") from None
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def source_id(identity: str, occurrence: str) -> str:
    """Join thing and occurrence; an id over 255 characters keeps its beginning and ends in a hash of the whole."""
    whole = f"{identity}@{occurrence}"
    if len(whole) <= MAX_SOURCE_ID:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST]
    return f"{whole[: MAX_SOURCE_ID - _DIGEST - 1]}~{digest}"


def _metadata(draft: Draft, delivery_id: str, counts: Mapping[str, int]) -> dict[str, JsonValue]:
    present = {key: value for key, value in draft.metadata.items() if value is not None}
    return {"deliveryId": delivery_id, **present, **{key: count for key, count in counts.items() if count}}


def _refusal(error: ValidationError) -> InvalidPayload:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return InvalidPayload("", one_line(f"gives an event with an invalid {where}: {first['msg']}"))


def finish(
    source: Source, draft: Draft, *, raw: JsonValue, payload: Payload, delivery_id: str, received_at: datetime
) -> SourceEvent:
    """Make the event of a draft; `raw` is the parsed JSON behind `payload`."""
    references, dropped = gather(draft.mentions)
    delivery_id, replaced = repair(delivery_id)
    counts = {"referencesDropped": dropped, "replacedCharacters": payload.replaced + replaced}
    moment = draft.occurred_at
    try:
        return SourceEvent(
            source=source,
            source_type=draft.source_type,
            source_id=source_id(draft.identity, digest_of(raw) if moment is None else compact_time(moment)),
            title=title_of(draft.title),
            body=body_of(draft.body),
            actor=draft.actor,
            occurred_at=moment or received_at,
            references=references,
            metadata=_metadata(draft, delivery_id, counts),
        )
    except ValidationError as error:
        raise _refusal(error) from error
