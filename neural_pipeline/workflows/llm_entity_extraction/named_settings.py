"""Settings and endpoints named in prose: identifiers beside words that say what they are. Pure.

Names in capitals (`DATABASE_URL`) and endpoints with a method (`GET /users`) the capture's patterns find.
"""

import re
from collections.abc import Iterator

from neural_pipeline.workflows.llm_entity_extraction.mentions import Mention

_PLAIN_KIND = (
    "(?:env|environment) (?:var|variable)|config(?:uration)? (?:key|option|parameter|value)|setting|option|toggle|knob"
)
_KIND = rf"feature (?:flag|switch)|{_PLAIN_KIND}|flag"
_QUOTE = "[`\"'\u201c\u201d]"
_NAME = r"(?:--)?[A-Za-z][\w.-]{1,79}"
_PARTED = r"[a-z][a-z0-9]{0,40}(?:_[a-z0-9]{1,40}){1,8}"
_VALUE = rf"{_QUOTE}?(?:\d|true\b|false\b|on\b|off\b)"
_CHANGE = (
    "set|setting|raise[ds]?|raising|lower(?:s|ed|ing)?|bump(?:s|ed|ing)?|reduc(?:e|es|ed|ing)|increas(?:e|es|ed|ing)"
)

_BEFORE_ITS_KIND = re.compile(rf"{_QUOTE}({_NAME}){_QUOTE}\s{{1,2}}(?:{_KIND}|timeout)s?\b")
_AFTER_ITS_KIND = re.compile(rf"\b(?:{_KIND})s?:?\s{{1,2}}(?:named |called )?{_QUOTE}({_NAME}){_QUOTE}", re.IGNORECASE)
_ANOTHER = re.compile(rf"(?:,? and |,? or |, ){_QUOTE}({_NAME}){_QUOTE}")
_MOST_IN_A_LIST = 10
_PLAIN_BEFORE = re.compile(rf"(?<![\w./`-])({_PARTED})\s{{1,2}}(?:{_PLAIN_KIND}|timeout)s?\b")
_PLAIN_AFTER = re.compile(rf"\b(?:{_PLAIN_KIND})s?\s{{1,2}}({_PARTED})\b(?![./(])", re.IGNORECASE)
_PARTED_END = re.compile(rf"_[a-z0-9]{{1,40}}\s{{1,2}}(?:{_PLAIN_KIND}|timeout)")
"""What stands in every match of the above, and is found much faster."""
_PLAIN_FLAG = re.compile(r"\bfeature[ -]flags?\s{1,2}([a-z][a-z0-9]{0,40}(?:[_-][a-z0-9]{1,40}){1,8})\b", re.IGNORECASE)
_GIVEN_A_VALUE = re.compile(
    rf"\b(?:{_CHANGE})\s{{1,2}}(?:the )?(?:{_QUOTE}({_NAME}){_QUOTE}|({_PARTED}))"
    rf"\s{{1,2}}(?:to|from|by|=)\s{{1,2}}{_VALUE}",
    re.IGNORECASE,
)
_VALUE_GIVEN = re.compile(rf"\s(?:to|from|by|=)\s{{1,2}}{_VALUE}", re.IGNORECASE)
"""What every match of the above ends with."""
_ENDPOINT = re.compile(rf"{_QUOTE}(/[\w/{{}}:.-]{{1,200}}){_QUOTE}\s{{1,2}}(?:API )?(?:endpoint|route)s?\b")

_PLAIN_WORDS = ("setting", "option", "env var", "environment var", "config ", "configuration ", "toggle", "knob")
_KIND_WORDS = (*_PLAIN_WORDS, "flag", "feature switch")
_FLAG_WORDS = ("feature flag", "feature-flag")
"""One of them stands in every text that names a setting after its kind."""

_SEEN_BY_PATTERNS = re.compile(r"[A-Z][A-Z0-9_]{2,}(?:_[A-Z0-9]+)+")
_FILE = re.compile(
    r".+\.(?:cfg|conf|css|env|go|html|ini|java|js|json|jsx|lock|md|py|rb|rs|sh|sql|toml|ts|tsx|txt|xml|ya?ml)",
    re.IGNORECASE,
)
_VALUES = "default disabled enabled false no none null off on true undefined yes"
_NO_SETTING = frozenset(_VALUES.split())

SURE, FAIRLY_SURE = 0.85, 0.8


def settings_in(text: str) -> Iterator[Mention]:
    """Find settings and endpoints in a text."""
    lowered = _lowered(text)
    for expression, confidence in _worth_searching(text, lowered):
        for match in expression.finditer(text):
            yield from _setting(match, confidence)
    if _holds(lowered, _KIND_WORDS):
        for match in _AFTER_ITS_KIND.finditer(text):
            yield from _listed(text, match)
    for match in _ENDPOINT.finditer(text):
        yield Mention("endpoint", match[1], match[1], SURE, *match.span())


def _lowered(text: str) -> str:
    """Return the text in lower case, where i, k and s stand for whatever IGNORECASE takes for them."""
    return text.lower().replace("\u0131", "i").replace("\u0307", "").replace("\u017f", "s")


def _holds(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def _worth_searching(text: str, lowered: str) -> Iterator[tuple[re.Pattern[str], float]]:
    yield _BEFORE_ITS_KIND, SURE
    if _PARTED_END.search(text):
        yield _PLAIN_BEFORE, FAIRLY_SURE
    if "_" in text and _holds(lowered, _PLAIN_WORDS):
        yield _PLAIN_AFTER, FAIRLY_SURE
    if _holds(lowered, _FLAG_WORDS):
        yield _PLAIN_FLAG, FAIRLY_SURE
    if _VALUE_GIVEN.search(text):
        yield _GIVEN_A_VALUE, FAIRLY_SURE


def _listed(text: str, first: re.Match[str]) -> Iterator[Mention]:
    match: re.Match[str] | None = first
    for _ in range(_MOST_IN_A_LIST):
        if match is None:
            return
        yield from _setting(match, SURE)
        match = _ANOTHER.match(text, match.end())


def _setting(match: re.Match[str], confidence: float) -> Iterator[Mention]:
    name = next(group for group in match.groups() if group).removeprefix("--").rstrip(".-")
    is_known = _SEEN_BY_PATTERNS.fullmatch(name) or _FILE.fullmatch(name) or name.lower() in _NO_SETTING
    if len(name) > 1 and not is_known:
        yield Mention("config", name, None, confidence, *match.span())
