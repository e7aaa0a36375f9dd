"""What makes two mentions one entity: which keys name anything, when two are the same, and how evidence is quoted.

Shared by the patterns of the capture and by what models find; how keys of a category are spelt, each of them says.
"""

MAX_KEY = 500
"""The width of the key column; nothing worth naming is longer."""

_EVIDENCE_MARGIN = 50
_NO_KEYS = frozenset(["HTTP", "HTTPS", "GET", "POST", "PUT", "DELETE", "API", "URL", "ID", "DB", "SQL"])


def is_key(key: str) -> bool:
    """Tell whether a key names something: neither short nor endless, no bare number, no word that stands for many."""
    is_number = key.isascii() and key.isdigit()
    return len(key.strip()) >= 2 and len(key) <= MAX_KEY and key not in _NO_KEYS and not is_number


def folded(key: str) -> str:
    """Fold case at least as far as lower() of any Postgres collation does, so that its unique index never trips."""
    return key.lower() if key.isascii() else key.casefold().replace("\u0307", "")


def quoted(text: str, start: int, end: int) -> str:
    """Return a part of a text with 50 characters on either side, on one line, `...` where the text goes on."""
    start, end = max(0, start - _EVIDENCE_MARGIN), end + _EVIDENCE_MARGIN
    before, after = "..." if start else "", "..." if end < len(text) else ""
    return " ".join(f"{before}{text[start:end]}{after}".split())
