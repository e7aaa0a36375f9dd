"""Keeps secrets: makes one safe line of what a provider says, and keeps requests out of the logs."""

import logging
import re
from dataclasses import dataclass

from pydantic import SecretStr

_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|rk)-[\w*.-]{6,}|\bBearer\s+\S+", re.IGNORECASE)
_PIECE = 8
"""Characters of a key that give away something; shorter echoes, as in `sk-ab...yz`, do not."""

_MAX_LINE = 300
_HIDDEN = "[key]"


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Takes a key out of texts, whole or in pieces (providers echo keys), and whatever else looks like a key."""

    key: SecretStr

    def __call__(self, text: str) -> str:
        """Return text as one line without keys, cut to 300 characters."""
        return " ".join(_LIKE_A_KEY.sub(_HIDDEN, self._without_key(text)).split())[:_MAX_LINE]

    def _without_key(self, text: str) -> str:
        key = self.key.get_secret_value()
        size = min(_PIECE, len(key))
        pieces = {key[at : at + size] for at in range(len(key) - size + 1)}
        hidden = [False] * len(text)
        for at in range(len(text) - size + 1):
            if text[at : at + size] in pieces:
                hidden[at : at + size] = [True] * size
        kept = ("\0" if hide else character for character, hide in zip(text, hidden, strict=True))
        return re.sub("\0+", _HIDDEN, "".join(kept))


_TALKATIVE = ("openai", "anthropic", "httpx", "httpx2", "httpcore", "httpcore2")


def hush_libraries() -> None:
    """Keep the debug messages of the providers' libraries out of the logs: they hold whole requests."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
