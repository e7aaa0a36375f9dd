"""Typed access to the parsed JSON of a provider: every complaint names the path of the value it is about.

Text that comes out is repaired and bounded; what the values mean is the business of the transformers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import JsonValue

from neural_pipeline.contracts.events import MAX_BODY
from neural_pipeline.sources.errors import InvalidPayload
from neural_pipeline.sources.sanitation import BLANKS, email_address, repair, web_url

MAX_NAME = 500
MAX_PROSE = 2 * MAX_BODY
MAX_WHOLE = 2**63 - 1
FUTURE_TOLERANCE = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TYPE_NAMES: dict[type[object], str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _TYPE_NAMES.get(type(value), "something that is not JSON")


@dataclass
class Reading:
    """What is shared while one payload is read: the latest believable time, and the characters replaced per path."""

    latest: datetime
    repairs: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def replaced(self) -> int:
        """Characters replaced so far; a text read twice counts once."""
        return sum(self.repairs.values())


class Payload:
    """One JSON value of a payload together with its path."""

    __slots__ = ("_at", "_reading", "_value")

    def __init__(self, value: JsonValue, reading: Reading, at: tuple[str | int, ...] = ()) -> None:
        self._value = value
        self._reading = reading
        self._at = at

    @classmethod
    def received(cls, value: JsonValue, received_at: datetime) -> Self:
        """Wrap a whole payload; anything but an object is refused."""
        if not isinstance(value, dict):
            raise InvalidPayload("", f"is not an object but {_kind(value)}")
        return cls(value, Reading(received_at + FUTURE_TOLERANCE))

    @property
    def replaced(self) -> int:
        """Characters replaced so far in the whole payload."""
        return self._reading.replaced

    def _path(self, keys: tuple[str | int, ...]) -> str:
        steps = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in (*self._at, *keys))
        return "".join(steps).removeprefix(".")

    def invalid(self, keys: tuple[str, ...], problem: str) -> InvalidPayload:
        """Return the error that says what is wrong with the value at these keys."""
        return InvalidPayload(self._path(keys), problem)

    def _find(self, keys: tuple[str, ...]) -> JsonValue:
        value = self._value
        if len(keys) == 1 and isinstance(value, dict):
            return value.get(keys[0])
        for depth, key in enumerate(keys):
            if isinstance(value, dict):
                value = value.get(key)
            elif value is None and depth:
                return None
            else:
                raise self.invalid(keys[:depth], f"is not an object but {_kind(value)}")
        return value

    def _missing(self, keys: tuple[str, ...]) -> InvalidPayload:
        return self.invalid(keys, "is missing")

    def _wrong(self, keys: tuple[str, ...], wanted: str, value: JsonValue) -> InvalidPayload:
        return self.invalid(keys, f"is not {wanted} but {_kind(value)}")

    def optional_at(self, *keys: str) -> "Payload | None":
        """Return the object at the keys, None when it is missing or null."""
        value = self._find(keys)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(keys, "an object", value)
        return Payload(value, self._reading, (*self._at, *keys))

    def at(self, *keys: str) -> "Payload":
        """Return the object at the keys."""
        inner = self.optional_at(*keys)
        if inner is None:
            raise self._missing(keys)
        return inner

    def _repaired(self, keys: tuple[str, ...], text: str) -> str:
        text, replaced = repair(text)
        if replaced:
            self._reading.repairs[self._path(keys)] = replaced
        return text

    def _string(self, keys: tuple[str, ...]) -> str | None:
        value = self._find(keys)
        if value is not None and not isinstance(value, str):
            raise self._wrong(keys, "text", value)
        return value

    def optional_text(self, *keys: str) -> str | None:
        """Return a name or another short text of at most 500 characters, None when missing, null or empty."""
        value = self._string(keys)
        if not value:
            return None
        if len(value) > MAX_NAME:
            raise self.invalid(keys, f"is longer than {MAX_NAME} characters")
        return self._repaired(keys, value)

    def text(self, *keys: str) -> str:
        """Return a short text that must be there."""
        value = self.optional_text(*keys)
        if value is None:
            raise self.invalid(keys, "is empty") if self._string(keys) == "" else self._missing(keys)
        return value

    def optional_prose(self, *keys: str) -> str:
        """Return text written by people, cut to twice the longest body; empty when missing or null."""
        return self._prose(keys, self._string(keys) or "")

    def _prose(self, keys: tuple[str, ...], text: str) -> str:
        return self._repaired(keys, text if len(text) <= MAX_PROSE else text.strip(BLANKS)[:MAX_PROSE])

    def prose(self, *keys: str) -> str:
        """Return text written by people that must be there; it may be empty."""
        text = self._string(keys)
        if text is None:
            raise self._missing(keys)
        return self._prose(keys, text)

    def optional_whole(self, *keys: str) -> int | None:
        """Return a whole number of at most 64 bits, None when missing or null."""
        value = self._find(keys)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.invalid(keys, f"is not a whole number but {_not_whole(value)}")
        if abs(value) > MAX_WHOLE:
            raise self.invalid(keys, "is a number out of range")
        return value

    def whole(self, *keys: str) -> int:
        """Return a whole number that must be there."""
        value = self.optional_whole(*keys)
        if value is None:
            raise self._missing(keys)
        return value

    def optional_flag(self, *keys: str) -> bool | None:
        """Return true or false, None when missing or null."""
        value = self._find(keys)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(keys, "true or false", value)
        return value

    def is_set(self, *keys: str) -> bool:
        """Return whether the value is there and not null, whatever it is."""
        return self._find(keys) is not None

    def _list(self, keys: tuple[str, ...]) -> list[JsonValue]:
        value = self._find(keys)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(keys, "a list", value)
        return value

    def count(self, *keys: str) -> int:
        """Return how many entries the list at the keys has, 0 when it is missing or null."""
        return len(self._list(keys))

    def items(self, *keys: str) -> "Iterator[Payload]":
        """Yield the entries of the list at the keys one by one; none when it is missing or null."""
        for position, value in enumerate(self._list(keys)):
            yield Payload(value, self._reading, (*self._at, *keys, position))

    def texts(self, *keys: str) -> Iterator[str]:
        """Yield the short texts of the list at the keys."""
        return (entry.text() for entry in self.items(*keys))

    def _short(self, keys: tuple[str, ...]) -> str | None:
        text = self._string(keys)
        return self._repaired(keys, text) if text and len(text) <= MAX_NAME else None

    def url(self, *keys: str) -> str | None:
        """Return a web address, None when it is missing or not a valid one."""
        return web_url(self._short(keys))

    def email(self, *keys: str) -> str | None:
        """Return an e-mail address, None when it is missing or not a valid one."""
        return email_address(self._short(keys))

    def _believable(self, keys: tuple[str, ...], moment: datetime) -> datetime:
        if moment > self._reading.latest:
            raise self.invalid(keys, "lies more than one day after it was received")
        return moment

    def moment(self, *keys: str) -> datetime | None:
        """Return an ISO-8601 time in UTC, None when missing, null or empty; it must carry a time zone."""
        text = self.optional_text(*keys)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise self.invalid(keys, f"is not an ISO-8601 time: {text[:40]!r}") from None
        if moment.tzinfo is None:
            raise self.invalid(keys, "has no time zone")
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise self.invalid(keys, "is a time out of range") from None
        return self._believable(keys, moment)

    def milliseconds(self, *keys: str) -> datetime | None:
        """Return a time given in milliseconds since 1970, None when missing or null."""
        value = self._find(keys)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(keys, "a number", value)
        try:
            moment = _EPOCH + timedelta(milliseconds=value)
        except (OverflowError, ValueError):
            raise self.invalid(keys, "is a time out of range") from None
        return self._believable(keys, moment)


def _not_whole(value: JsonValue) -> str:
    return "a fraction" if isinstance(value, float) else _kind(value)
