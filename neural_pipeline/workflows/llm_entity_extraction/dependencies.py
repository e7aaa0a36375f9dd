"""Packages whose version changes, and security advisories. Pure."""

import re
from collections.abc import Iterator

from neural_pipeline.workflows.llm_entity_extraction.mentions import Mention

_PACKAGE = r"@?[a-z0-9][\w./-]{1,80}"
_VERSION = r"v?\d{1,6}(?:\.\d{1,6}){1,3}"
_ANY_VERSION = r"v?\d{1,6}(?:\.\d{1,6}){0,3}(?:-[a-z0-9.]{1,20})?"

_CHANGED = re.compile(
    rf"\b(?:[Bb]ump|[Uu]pgrad|[Uu]pdat|[Tt]ak|[Mm]ov)(?:s|e|es|ed|ing)?\s{{1,2}}`?({_PACKAGE})`?\s{{1,2}}"
    rf"(?:from\s{{1,2}}{_ANY_VERSION}\s{{1,2}}to\s{{1,2}}v?\d|to\s{{1,2}}{_VERSION}\b)"
)
_TO_A_VERSION = re.compile(r"to\s{1,2}v?\d")
"""What stands in every match of the above, and is found much faster."""
_QUOTED_WITH_VERSION = re.compile(rf"`({_PACKAGE})`\s{{1,2}}(?:from |to )?v?\d{{1,6}}\.\d{{1,6}}\.\d{{1,6}}\b")
_NO_PACKAGE = frozenset(
    ["all", "deps", "dependencies", "dependency", "everything", "it", "packages", "them", "this", "us", "version"]
)
_FILE = re.compile(r".+\.(?:cfg|ini|json|lock|md|py|toml|ts|txt|ya?ml)", re.IGNORECASE)

_ADVISORIES = ("CVE-", "GHSA-")
_ADVISORY = re.compile(r"\b(?:CVE-\d{4}-\d{4,7}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3})\b")

SURE, CERTAIN = 0.85, 0.95


def dependencies_in(text: str) -> Iterator[Mention]:
    """Find packages and advisories in a text."""
    for expression in (_CHANGED, _QUOTED_WITH_VERSION) if _TO_A_VERSION.search(text) else (_QUOTED_WITH_VERSION,):
        for match in expression.finditer(text):
            if match[1] not in _NO_PACKAGE and not _FILE.fullmatch(match[1]):
                yield Mention("project", match[1], None, SURE, *match.span())
    for match in _ADVISORY.finditer(text) if any(kind in text for kind in _ADVISORIES) else ():
        yield Mention("reference", match[0], None, CERTAIN, *match.span())
