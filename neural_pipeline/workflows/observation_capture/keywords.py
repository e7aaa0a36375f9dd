"""Keyword rules: what the tables of scoring and classification are made of. The tables themselves live there.

A text is cut into words once; a rule then looks words up instead of searching the text again for each of its patterns.
"""

import re
from dataclasses import dataclass
from typing import Self

from neural_pipeline.contracts.events import MAX_BODY

WHITE_SPACE = r"\s\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""For use inside a character class: white space as JavaScript has it, where `\\s` is not only ASCII."""

_WORD_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789_"
_WORDS_ONLY = bytes(byte if byte in _WORD_BYTES else ord(" ") for byte in range(256))


@dataclass(frozen=True, slots=True)
class KeywordText:
    """A lower-cased text and its words (runs of ASCII letters, digits and underscores)."""

    text: str
    words: frozenset[str]
    spaced: str

    @classmethod
    def of(cls, heading: str, body: str) -> Self:
        """Cut the heading and the first 10,000 characters of the body into words."""
        text = f"{heading} {body[:MAX_BODY]}".lower()
        words = frozenset(text.encode("ascii", errors="replace").translate(_WORDS_ONLY).decode("ascii").split())
        return cls(text=text, words=words, spaced=f" {' '.join(words)}")


@dataclass(frozen=True, slots=True)
class KeywordRule:
    """Matches a text that opens so, holds one of the words, a word with one of the beginnings, or the pattern.

    A space stands before each beginning.
    """

    words: frozenset[str]
    beginnings: tuple[str, ...]
    opening: str | None
    pattern: re.Pattern[str] | None

    def matches(self, text: KeywordText) -> bool:
        """Say whether the rule holds for the text."""
        if not text.words.isdisjoint(self.words):
            return True
        if self.opening is not None and text.text.startswith(self.opening):
            return True
        if any(map(text.spaced.__contains__, self.beginnings)):
            return True
        return self.pattern is not None and self.pattern.search(text.text) is not None


def keyword_rule(
    words: str, beginnings: str = "", *, opening: str | None = None, pattern: str | None = None
) -> KeywordRule:
    """Build a rule from space-separated words and beginnings, and an expression for what is more than a word.

    A pattern is quick if it starts with a plain letter, so a word boundary is written behind it: `x(?<!\\wx)`.
    """
    return KeywordRule(
        words=frozenset(words.split()),
        beginnings=tuple(f" {beginning}" for beginning in beginnings.split()),
        opening=opening,
        pattern=None if pattern is None else re.compile(pattern, re.ASCII),
    )
