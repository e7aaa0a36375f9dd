"""What a cluster is called, so that a person recognises it: a title without what tools and habits put around it. Pure.

The words are somebody else's: they are kept as written, on one line, and every surface escapes for itself.
"""

import re
from collections.abc import Iterable, Iterator

from neural_pipeline.contracts.events import Source, SourceEvent

MAX_LABEL = 100

_KINDS = "build|chore|ci|docs|feat|fix|hotfix|perf|refactor|revert|style|test"
_KIND = re.compile(rf"(?:{_KINDS})(?:\(([^()]+)\))?!?: +")
"""The kind of a conventional commit, written small (`CI: fewer faults` is about CI); its scope is worth showing."""

_TICKET = r"[A-Z]{2,10}-\d{1,6}"
_LEADING_TICKETS = re.compile(rf"(?:\[{_TICKET}\]:? *|\({_TICKET}\):? *|{_TICKET}: +)+")
_TRAILING_NUMBERS = re.compile(rf"(?: *\((?:#\d{{1,6}}|{_TICKET})\))+$")
_MERGE = re.compile(r"Merge (?:pull request #\d+ from [^\s/]+/(\S+)|(?:remote-tracking )?branch '([^']+)')")
_BETWEEN_WORDS = re.compile(r"[-_/]+")

_SAID_BY_PEOPLE = ("issue.", "pull-request.", "discussion.")


def label_of(event: SourceEvent) -> str:
    """Return a name for the cluster that an event begins: one line, 1 to 100 characters."""
    names = (_bare(line) for line in (*_headings(event), event.title))
    return _cut(next(filter(None, names), event.source_type))


def prominence(topics: Iterable[str]) -> int:
    """Rank who named what the topics are of: 2 a person who opened something, 1 a commit or release, 0 a deployment."""
    return max(map(_rank, topics), default=0)


def _rank(topic: str) -> int:
    if topic.startswith(_SAID_BY_PEOPLE):
        return 2
    return 1 if topic == "push" or topic.startswith("release.") else 0


def _headings(event: SourceEvent) -> Iterator[str]:
    """Yield the lines that may name an event, the best first; a body repeats the title where that was cut."""
    title = event.title.partition("] ")[2] if event.title.startswith("[") else event.title
    lines = event.body.splitlines()
    if event.source is Source.VERCEL:  # the commit's message stands below the state of the deployment
        yield from _unmerged(lines[1:])
    elif lines and title.strip() and lines[0].startswith(title.strip()):
        yield from _unmerged(lines)
    yield from _unmerged([title])


def _unmerged(lines: list[str]) -> Iterator[str]:
    """Yield the first line; of a merge the one below, where its pull request's title stands, then its branch."""
    filled = [line for line in lines if line.strip()]
    merge = _MERGE.match(filled[0]) if filled else None
    if merge is None:
        yield from filled[:1]
    else:
        yield from filled[1:2]
        yield _BETWEEN_WORDS.sub(" ", merge[1] or merge[2])


def _bare(text: str) -> str:
    line = " ".join(text.split())
    rest = _LEADING_TICKETS.sub("", line, count=1) if _LEADING_TICKETS.match(line) else line
    kind = _KIND.match(rest)
    if kind:
        rest = (f"{kind[1]}: " if kind[1] else "") + rest[kind.end() :]
    return _TRAILING_NUMBERS.sub("", rest).strip() or line


def _cut(text: str) -> str:
    """Cut at a space if there is one in the second half: a name of one long word is still a name."""
    if len(text) <= MAX_LABEL:
        return text
    head = text[: MAX_LABEL - 1]
    space = head.rfind(" ")
    return f"{(head[:space] if space >= MAX_LABEL // 2 else head).rstrip()}\u2026"
