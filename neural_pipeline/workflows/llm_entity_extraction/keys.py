"""The normal form of keys, by category: what a model names and what the capture's patterns find must meet. Pure. D-79.

Where a name is given by others (a login, a setting, a path, a ticket) its spelling is kept as the capture keeps it;
whatever is a notion or the name of a product is lower-case and hyphenated.
"""

import re
import unicodedata
from collections.abc import Callable

from neural_pipeline.contracts.answers import EntityCategory
from neural_pipeline.contracts.entity_keys import MAX_KEY, folded, is_key
from neural_pipeline.workflows.llm_entity_extraction.services import service_key

_MARKS_BEFORE = "`'\"\u2018\u2019\u201c\u201d,;:!?"
_MARKS_BEHIND = f"{_MARKS_BEFORE}."
"""A dot before a name belongs to it: `.NET`, `.env`."""
_BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_BETWEEN_WORDS = re.compile(r"[\s_]+|-{2,}")

_ENDPOINT = re.compile(r"(get|post|put|patch|delete|head|options) (/\S+)", re.IGNORECASE)
_TICKET = re.compile(r"#\d{1,6}|[A-Z]{2,10}-\d{1,6}", re.ASCII)
_ADVISORY = re.compile(r"cve-\d{4}-\d{4,7}", re.IGNORECASE | re.ASCII)
_BRANCH = re.compile(r"branch[: ] ?(\S+)", re.IGNORECASE)
_HASH = re.compile(r"(?=[a-f]*\d)(?=\d*[a-f])[a-f0-9]{7,40}", re.ASCII)
_SHORT_HASH = 7

_GENERIC_WORDS = """
app application backend branch bug bugs ci cli client code commit commits config configuration data database
dependencies dependency deployment dev developer docs documentation endpoint engineer env environment error errors
feature features file files fix frontend function input issue issues library main maintainer maintainers master method
module n/a none null number option options output package packages path performance pipeline pr production project
pull-request readme reference release releases repo repository request response reviewer security server service
services setting settings staging system tbd team test tests the this ticket token tool tools type ui unknown user
users value version web website
"""
_GENERIC = frozenset(_GENERIC_WORDS.split())
"""Words that stand for any of their kind and name none."""


def normal_key(category: EntityCategory, key: str) -> str | None:
    """Return the key in its normal form; None if it names nothing."""
    if len(key) >= MAX_KEY:  # the answer's shape has cut it, or it should have been
        return None
    text, form = plain(key).replace("\u2019", "'"), _FORMS[category]
    while (normal := form(_bare(text))) != text:  # what was within can bear marks of its own
        text = normal
    return normal if _names_something(normal) else None


def _bare(text: str) -> str:
    bare = text.lstrip(_MARKS_BEFORE).rstrip(_MARKS_BEHIND).strip()
    return _bare(bare[1:-1]) if _is_bracketed(bare) else bare


def _is_bracketed(text: str) -> bool:
    """Tell whether the last character closes the bracket that the first one opens."""
    opening, closing = text[:1], _BRACKETS.get(text[:1])
    depth = 0
    for place, character in enumerate(text if closing else ""):
        depth += (character == opening) - (character == closing)
        if depth == 0:
            return place == len(text) - 1
    return False


def _names_something(key: str) -> bool:
    is_word = any(character.isalnum() for character in key)
    return is_word and is_key(key) and is_key(key.upper()) and folded(key) not in _GENERIC


def plain(text: str) -> str:
    """Return text on one line, without control characters, lone surrogates and what has no shape."""
    composed = unicodedata.normalize("NFC", text)
    shown = (
        character if character.isprintable() else "" if unicodedata.category(character) == "Cf" else " "
        for character in composed
    )
    return " ".join("".join(shown).split())


def _notion(text: str) -> str:
    return _BETWEEN_WORDS.sub("-", text.lower()).strip("-")


def _as_spelt(text: str) -> str:
    return _notion(text) if " " in text else text


def _engineer(text: str) -> str:
    """A login keeps its `@`; before a name with blanks it would make another person's login of it."""
    return text.lower() if text.startswith("@") and " " not in text else _notion(text.lstrip("@"))


def _project(text: str) -> str:
    return text if _TICKET.fullmatch(text) else _notion(text)


def _endpoint(text: str) -> str:
    if match := _ENDPOINT.fullmatch(text):
        return f"{match[1].upper()} {match[2].rstrip(')')}"
    return _as_spelt(text)


def _config(text: str) -> str:
    return _as_spelt(text.lstrip("-"))


def _definition(text: str) -> str:
    return text if "/" in text and " " not in text else _notion(text)


def _service(text: str) -> str:
    return service_key(_notion(text)) or _notion(text)


def _reference(text: str) -> str:
    if match := _BRANCH.fullmatch(text):
        return f"branch:{match[1]}"
    if _HASH.fullmatch(text):
        return text[:_SHORT_HASH]
    return text.upper() if _ADVISORY.fullmatch(text) else _as_spelt(text)


_FORMS: dict[EntityCategory, Callable[[str], str]] = {
    "engineer": _engineer,
    "project": _project,
    "endpoint": _endpoint,
    "config": _config,
    "definition": _definition,
    "service": _service,
    "reference": _reference,
}
