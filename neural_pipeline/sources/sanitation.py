"""Rules that make text and addresses from outside fit to keep: lengths, repairs, valid URLs and e-mails.

No markup is escaped here: text stays as written, and every surface escapes for itself.
"""

import re
from functools import lru_cache
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError
from pydantic_core import Url

from neural_pipeline.contracts.events import MAX_BODY, MAX_TITLE, Email

MAX_HEADLINE = 100
MAX_URL = 2_000
MAX_REASON = 300
REPLACEMENT = "\ufffd"

_BLANKS = " \t\n\v\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
BLANKS = _BLANKS + "\u2028\u2029\u202f\u205f\u3000\ufeff"
"""What JavaScript's trim removes, so that lengths agree with the reference."""

_EMAIL: TypeAdapter[str] = TypeAdapter(Email)
_UNSAFE_IN_URL = frozenset(' <>"\\^`{|}')
_SAFE_IN_PATH = "/!$&'()*+,:;=@[]~"
_NOTHING_TO_QUOTE = re.compile(r"[A-Za-z0-9_.\-/!$&'()*+,:;=@\[\]~]*")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def title_of(text: str) -> str:
    """Trim a title and cut it to 200 characters."""
    return _cut(text.strip(BLANKS), MAX_TITLE)


def body_of(text: str) -> str:
    """Trim a body and cut it to 10,000 characters."""
    return _cut(text.strip(BLANKS), MAX_BODY)


def labelled(label: str, text: str) -> str:
    """Return `[label] text`, the text cut to 100 characters."""
    return title_of(f"[{label}] {text[:MAX_HEADLINE]}")


def first_line(text: str) -> str:
    """Return what stands before the first line feed, empty when that is blank."""
    line = text.partition("\n")[0]
    return line if line.strip(BLANKS) else ""


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def repair(text: str) -> tuple[str, int]:
    """Replace NUL and lone surrogates, which Postgres cannot keep; return the text and how many were replaced."""
    if text.isascii() and "\0" not in text:
        return text, 0
    replaced = text.count("\0")
    text = text.replace("\0", REPLACEMENT) if replaced else text
    try:
        text.encode()
    except UnicodeEncodeError:
        replaced += sum(map(_is_surrogate, text))
        text = "".join(REPLACEMENT if _is_surrogate(character) else character for character in text)
    return text, replaced


def one_line(text: str, most: int = MAX_REASON) -> str:
    """Return at most `most` characters of the text without line breaks or control characters."""
    return "".join(character if character.isprintable() else "?" for character in text[:most])


def web_url(text: str | None) -> str | None:
    """Return the text when it is an http(s) URL that can be shown as it stands, else None."""
    if not text or len(text) > MAX_URL or not text.startswith(("https://", "http://")):
        return None
    return text if _is_shown(text) else None


@lru_cache(maxsize=4096)
def _is_shown(text: str) -> bool:
    """The same accounts and repositories come again and again: remember the last addresses."""
    if not text.isprintable() or not _UNSAFE_IN_URL.isdisjoint(text):
        return False
    try:
        Url(text)
    except ValidationError:
        return False
    return True


def url_under(root: str | None, *parts: str) -> str | None:
    """Return the URL of a page below `root`, quoted where the parts need it; None without a root."""
    if root is None:
        return None
    return "/".join([root, *map(_quoted, parts)])


def _quoted(part: str) -> str:
    return part if _NOTHING_TO_QUOTE.fullmatch(part) else quote(part, safe=_SAFE_IN_PATH)


def email_address(text: str | None) -> str | None:
    """Return the address when it is a valid one, else None."""
    try:
        return _EMAIL.validate_python(text) if text else None
    except ValidationError:
        return None
