"""Entities named by a source event: found by patterns in its text and taken from its references. Spec, 3.9.

Normal form: two entities are the same when category and case-folded key are equal. The stored key keeps the spelling of
the mention that wins (the more certain, then the earlier); engineer keys are lower-cased, as logins have no case.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from neural_pipeline.contracts.entity_keys import folded, is_key, quoted
from neural_pipeline.contracts.events import MAX_BODY, Reference, SourceEvent
from neural_pipeline.contracts.memory import Entity
from neural_pipeline.workflows.observation_capture.keywords import WHITE_SPACE

MAX_ENTITIES = 50

_REFERENCE_CONFIDENCE = 0.98
_HASH_LENGTH = 40
_SHORT_HASH = 7

_STANDARDS = (
    "AES ANSI ASCII CP CRC CVE CWE DES ECDSA ECMA ES FIPS HMAC HTTP IEC IEEE INT IP IPV ISO MD OAUTH PEP PKCS RFC RSA "
    "SHA SOC SSL TLS UCS UINT USB UTF WCAG"
)
"""Standards, algorithms, encodings and advisories whose numbers look like tickets: UTF-8, SHA-256, CVE-2024."""
_NO_PROJECT = frozenset(_STANDARDS.split())
_CAPITAL_NAMES = (
    "BAD_GATEWAY BAD_REQUEST CHANGES_REQUESTED CHERRY_PICK_HEAD CODE_OF_CONDUCT FETCH_HEAD GATEWAY_TIMEOUT IN_PROGRESS "
    "INTERNAL_SERVER_ERROR ISSUE_TEMPLATE MERGE_HEAD NOT_FOUND NOT_NULL ORIG_HEAD PRIMARY_KEY PULL_REQUEST "
    "PULL_REQUEST_TEMPLATE READY_FOR_REVIEW SERVICE_UNAVAILABLE TOO_MANY_REQUESTS"
)
"""States, git's own refs and file names in capitals that nobody can set as a variable."""
_NO_CONFIG = frozenset(_CAPITAL_NAMES.split())
_AFTER_PATH = ".,;:!?)`"


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One way to find entities of a category; `read` gives key and value of a match, or nothing.

    Every match holds one of the lower-case pieces `needs`, and `shape` where each character stands for its kind:
    a text without them is not searched.
    """

    category: str
    expression: re.Pattern[str]
    confidence: float
    needs: tuple[str, ...]
    shape: bytes
    read: Callable[[re.Match[str]], tuple[str, str | None] | None]

    def may_match(self, lowered: str, shape: bytes) -> bool:
        """Tell whether a text of that shape is worth searching."""
        return self.shape in shape and any(piece in lowered for piece in self.needs)


def _read_whole(match: re.Match[str]) -> tuple[str, None] | None:
    return (match[0], None) if is_key(match[0]) else None


def _read_endpoint(match: re.Match[str]) -> tuple[str, str] | None:
    path = match[2].rstrip(_AFTER_PATH)
    return (f"{match[1]} {path}", path) if len(path) > 1 else None


def _read_ticket(match: re.Match[str]) -> tuple[str, None] | None:
    return None if match[1] in _NO_PROJECT else (match[0], None)


def _read_engineer(match: re.Match[str]) -> tuple[str, str]:
    return f"@{match[1].lower()}", match[1]


def _read_config(match: re.Match[str]) -> tuple[str, None] | None:
    return None if match[0] in _NO_CONFIG else _read_whole(match)


def _read_hash(match: re.Match[str]) -> tuple[str, str] | None:
    """Refuse plain words (`defaced`) and plain numbers; a hash in full length is one whatever it is made of."""
    found = match[0]
    plain = found.isalpha() or found.isdigit()
    return None if plain and len(found) < _HASH_LENGTH else (found[:_SHORT_HASH], found)


def _read_branch(match: re.Match[str]) -> tuple[str, str]:
    return f"branch:{match[1]}", match[1]


def _pattern(
    category: str,
    expression: str,
    *,
    confidence: float,
    needs: tuple[str, ...] = ("",),
    shape: bytes = b"",
    read: Callable[[re.Match[str]], tuple[str, str | None] | None] = _read_whole,
    flags: re.RegexFlag = re.ASCII,
) -> _Pattern:
    return _Pattern(category, re.compile(expression, flags), confidence, needs, shape, read)


_HEXADECIMAL = b"0123456789abcdef"
_CAPITALS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_KINDS = bytes.maketrans(_HEXADECIMAL + _CAPITALS, b"0" * len(_HEXADECIMAL) + b"A" * len(_CAPITALS))


def _shape(text: str) -> bytes:
    """Return the text with a 0 for each hexadecimal digit and an A for each capital."""
    return text.encode("ascii", errors="replace").translate(_KINDS)


# Where an expression starts with a plain letter, the places where it may match are found fast: so the word boundary
# is written behind that letter, as in `x(?<!\wx)`.
_PATTERNS = (
    _pattern(
        "endpoint",
        rf"(G(?<!\wG)ET|P(?<!\wP)(?:OST|UT|ATCH)|D(?<!\wD)ELETE)[{WHITE_SPACE}]+(/[^{WHITE_SPACE}\"'<>]{{1,200}})",
        confidence=0.95,
        needs=("/",),
        read=_read_endpoint,
    ),
    # Not an HTML character (&#39;), not the beginning of a longer number or of a colour.
    _pattern("project", r"#(?<!&#)\d{1,6}(?!\w)", confidence=0.95),
    _pattern("project", r"\b([A-Z]{2,10})-\d{1,6}\b", confidence=0.90, shape=b"AA-0", read=_read_ticket),
    # Not the domain of an e-mail address, a scoped package (@repo/pkg) or a decorator (@app.route).
    _pattern(
        "engineer",
        r"@(?<![\w.+-]@)(?![\w-]{40})(\w++(?:-++\w++)*+)(?![/.]\w)",
        confidence=0.90,
        read=_read_engineer,
    ),
    _pattern("config", r"[A-Z](?<!\w.)[A-Z0-9_]{2,}_[A-Z0-9]+\b", confidence=0.85, needs=("_",), read=_read_config),
    _pattern(
        "definition",
        rf"\b(?:src|lib|packages|apps|api|components)/[^{WHITE_SPACE}\"'<>]{{1,150}}\.[a-z]{{1,10}}\b",
        confidence=0.80,
        needs=("src/", "lib/", "packages/", "apps/", "api/", "components/"),
        flags=re.ASCII | re.IGNORECASE,
    ),
    _pattern("reference", r"\b[a-f0-9]{7,40}\b", confidence=0.70, shape=b"0" * 7, read=_read_hash),
    _pattern(
        "reference",
        rf"\bbranch[:{WHITE_SPACE}]+([a-zA-Z0-9/_-]{{1,100}})\b",
        confidence=0.75,
        needs=("branch",),
        read=_read_branch,
        flags=re.ASCII | re.IGNORECASE,
    ),
)


class _Mention(NamedTuple):
    """An entity before it is known whether it is kept; only then its evidence is worth writing."""

    category: str
    key: str
    value: str | None
    confidence: float
    where: re.Match[str] | Reference


def extract_entities(event: SourceEvent) -> tuple[Entity, ...]:
    """Return the distinct entities of an event, the most certain first, at most 50."""
    found: dict[tuple[str, str], _Mention] = {}
    for mention in (*_in_text(f"{event.title}\n{event.body[:MAX_BODY]}"), *_in_references(event.references)):
        identity = mention.category, folded(mention.key)
        if identity not in found or mention.confidence > found[identity].confidence:
            found[identity] = mention
    by_confidence = sorted(found.values(), key=lambda mention: mention.confidence, reverse=True)
    return tuple(Entity(*mention[:4], _evidence(mention.where)) for mention in by_confidence[:MAX_ENTITIES])


def _in_text(text: str) -> Iterator[_Mention]:
    lowered, shape = text.lower(), _shape(text)
    for pattern in _PATTERNS:
        for match in pattern.expression.finditer(text) if pattern.may_match(lowered, shape) else ():
            if read := pattern.read(match):
                yield _Mention(pattern.category, *read, pattern.confidence, match)


def _in_references(references: Iterable[Reference]) -> Iterator[_Mention]:
    for reference in references:
        category, key = _named_by(reference)
        # Of a commit the whole id is judged: its first seven digits may well be a plain number.
        judged = reference.id if reference.type == "commit" else key
        if reference.id.strip() and is_key(judged):
            yield _Mention(category, key, reference.label, _REFERENCE_CONFIDENCE, reference)


def _named_by(reference: Reference) -> tuple[str, str]:
    match reference.type:
        case "issue" | "pr":
            return "project", reference.id
        case "commit":
            return "reference", reference.id[:_SHORT_HASH]
        case "branch":
            return "reference", f"branch:{reference.id}"
        case "assignee" | "reviewer":
            return "engineer", f"@{reference.id.lower()}"
        case _:
            return "reference", reference.id


def _evidence(where: re.Match[str] | Reference) -> str:
    """Return the match with 50 characters on either side, on one line, `...` where the text goes on."""
    if isinstance(where, Reference):
        return f"Reference: {where.type}"
    return quoted(where.string, where.start(), where.end())
