"""Which events stand for each other, and how long they wait for a newer one: pure, no database and no clock.

What becomes of an event that a newer one overtakes is in the store.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import ExtractionPayload, IncomingEvent, ProfilePayload, SummaryPayload

MAX_KEY = 191
"""The width of the column debounce_key."""

_HASH = 64
"""Characters of a SHA-256 in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Period:
    """Seconds without news after which a workflow starts on a key, and seconds after which it does so anyway."""

    seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Debounce:
    """An event waits `seconds` for a newer one of its key; a row of such events `max_seconds` at most."""

    key: str
    seconds: float
    max_seconds: float


def debounce_of(payload: IncomingEvent, periods: Mapping[FunctionId, Period]) -> Debounce | None:
    """Return how an event is debounced; None where it never is, or where its function has no period."""
    subject = _subject(payload)
    period = periods.get(payload.inngest_function_id)
    return None if subject is None or period is None else Debounce(_key(subject), period.seconds, period.max_seconds)


def _subject(payload: IncomingEvent) -> str | None:
    match payload:
        case ProfilePayload(merged_into=None):
            return payload.actor_id
        case ProfilePayload():  # the news of a merge must not be lost to other news of the same actor
            return f"{payload.actor_id}>{payload.merged_into}"
        case SummaryPayload():
            return payload.cluster_id
        case ExtractionPayload():
            return payload.observation_id
        case _:
            return None


def _key(subject: str) -> str:
    """A key too long for its column keeps its head and gets a hash; migration 0003 makes the same one."""
    if len(subject) <= MAX_KEY:
        return subject
    digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    return subject[: MAX_KEY - _HASH] + digest
