"""The things an event speaks of: what counts as the same, how many are kept, and issues named in prose."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from neural_pipeline.contracts.events import MAX_BODY, MAX_REFERENCES, Reference, ReferenceType
from neural_pipeline.sources.sanitation import url_under, web_url

_LABELS = {"f": "fixes", "c": "closes", "r": "resolves"}
_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}/[A-Za-z0-9._-]{1,100}"
# Every repetition is bounded and no two neighbours match the same character, so the search is linear.
# It begins with three letters in both cases, without IGNORECASE, since only then re skips to them quickly.
_ISSUE_LINK = re.compile(
    r"(?P<verb>[FfCcRr])(?i:(?<![A-Za-z0-9_-].)"
    r"(?:(?<=f)ix(?:es|ed)?|(?<=c)lose[sd]?|(?<=r)esolve[sd]?)(?:\s{0,20}:\s{0,20}|\s{1,20})"
    rf"(?:#|(?P<near>{_REPOSITORY})#|(?P<site>https?://[A-Za-z0-9.-]{{1,100}}(?::[0-9]{{1,5}})?)/(?P<far>{_REPOSITORY})/issues/)"
    r"(?P<number>[1-9][0-9]{0,9})(?![A-Za-z0-9_]))"
)


class Mention(NamedTuple):
    """A reference that has not been checked yet."""

    type: ReferenceType
    id: str | None
    url: str | None = None
    label: str | None = None

    @property
    def key(self) -> tuple[str | None, ...]:
        """What two mentions of the same thing have in common; an issue is the same whatever is done to it."""
        return (self.type, self.id) if self.type == "issue" else (self.type, self.id, self.label)


def _distinct(mentions: Iterable[Mention]) -> Iterator[Mention]:
    seen: set[tuple[str | None, ...]] = set()
    for mention in mentions:
        if mention.id and (key := mention.key) not in seen:
            seen.add(key)
            yield mention


@lru_cache(maxsize=4096)
def _reference(mention: Mention) -> Reference:
    return Reference(type=mention.type, id=mention.id or "", url=web_url(mention.url), label=mention.label)


def gather(mentions: Iterable[Mention]) -> tuple[tuple[Reference, ...], int]:
    """Return the first 100 distinct references and how many more there were; mentions without an id are left out."""
    distinct = _distinct(mentions)
    kept = tuple(_reference(mention) for mention in islice(distinct, MAX_REFERENCES))
    return kept, sum(1 for _ in distinct)


def _root(repository: str, home: str | None) -> str:
    ending = f"/{repository}"
    if home is not None and home.lower().endswith(ending.lower()):
        return home[: -len(ending)]
    return "https://github.com"


def _mention(match: re.Match[str], repository: str, home: str | None) -> Mention | None:
    root, number = _root(repository, home), match["number"]
    if match["site"] and match["site"].lower().partition("://")[2] != root.lower().partition("://")[2]:
        return None
    named: str = match["near"] or match["far"] or repository
    same = named.lower() == repository.lower()
    return Mention(
        "issue",
        f"#{number}" if same else f"{named}#{number}",
        url_under(root, repository if same else named, "issues", number),
        _LABELS[match["verb"].lower()],
    )


def issue_links(text: str, repository: str, home: str | None) -> Iterator[Mention]:
    """Yield the issues that a text closes by GitHub's keywords: `#1`, `owner/name#1` or the issue's URL.

    `repository` is the `owner/name` the text belongs to, `home` its web address.
    Only the first 10,000 characters count.
    """
    for match in _ISSUE_LINK.finditer(text[:MAX_BODY]):
        mention = _mention(match, repository, home)
        if mention is not None:
            yield mention
