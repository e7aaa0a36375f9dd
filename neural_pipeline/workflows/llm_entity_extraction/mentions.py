"""What the rules find in a text. Pure."""

from typing import NamedTuple


class Mention(NamedTuple):
    """An entity named in a text: key and spelling, how sure that is, and from where to where it, or its cue, stands."""

    category: str
    key: str
    value: str | None
    confidence: float
    start: int
    end: int
