"""Events whose clusters can be judged: this repository's history and the sample dataset, and which belong together.

What belongs together is told by what people wrote down (numbers, branches, commits, tickets) or by a reading of the
commits' subjects; nothing here looks at vectors or clusters.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from itertools import combinations
from pathlib import Path

from pydantic import JsonValue

from neural_pipeline.contracts.events import Source, SourceEvent
from neural_pipeline.sources.git_history import parse_record, read_history
from neural_pipeline.sources.intake import DEFAULT_ALLOWED, is_taken_in
from neural_pipeline.sources.transform import to_source_event

Pairs = frozenset[frozenset[str]]
"""Pairs of source ids that belong together."""

PULL_REQUEST, TOPIC = "one pull request", "one topic"

_RECEIVED = datetime(2100, 1, 1, tzinfo=UTC)
_DEFAULT_BRANCHES = {"main", "master", "trunk"}
_TICKET = re.compile(r"\b(?!CVE)[A-Z]{2,10}-\d{1,6}\b")
_NUMBER = re.compile(r"(?<![\w&/])#\d{1,6}\b")

TOPICS: Mapping[str, str] = {
    "the first capture": "d275073 8a5cf5c 68751a7 6c918c1 1246b5c 73418e6 74ca7a0",
    "set-up, make and lint": "5c769b4 c22268f 2f08e88",
    "the command line and what it leaves behind": "c45acd9 24b642c 6c3f416",
    "README and decisions": "d075a5f 129b408 0319653 285ede7 f973a6a f392255",
    "tests that measure time": "3a5144a d5b9c42",
    "lost runs, retries, cancellation": "c56ab5f 57632fa 00f7b26 8d28f2c 285ede7 e38994a 94d136e a52deb6 6208bee",
    "the state machine": "94d136e b016121 87c6df5",
    "faults and guards": "c3652c2 25ae257 23abc22 9ee1129 b016121 cccedb6 ef1c6e8 8aeafae",
    "the table of faults": "9ee1129 ef1c6e8 8aeafae",
    "doctor": "5ad4791 cc3429f d42ae65 051eb49",
    "replay and retention": "949da62 7a7db88 f973a6a",
    "schema revisions": "c56ab5f 8409aee cef4830",
}
"""The first 46 commits of this repository by what they are about, read from their subjects; a commit may be of two."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Events in the order in which they are captured, and pairs that belong together in one sense or another."""

    name: str
    events: Sequence[SourceEvent]
    truths: Mapping[str, Pairs]
    strangers: frozenset[str] = frozenset()
    """Events of which nothing is known: what they have to do with each other is not judged."""


def sample() -> Corpus:
    """Return the sample dataset: pull requests (number, head branch, commits) and topics (issues, tickets as well)."""
    path = files("neural_pipeline.sample_data") / "two_weeks.json"
    webhooks: list[dict[str, JsonValue]] = json.loads(path.read_text(encoding="utf-8"))["webhooks"]
    events = list(_distinct(filter(None, map(_of_webhook, webhooks))))
    truths = {PULL_REQUEST: _connected(events, _handles), TOPIC: _connected(events, _subjects)}
    return Corpus("sample_data/two_weeks.json", events, truths)


def history(repository: Path, limit: int | None = None) -> Corpus:
    """Return the commits of a repository; topics only of those that have been read."""
    events = [_of_record(record) for record in read_history(repository, limit=limit)]
    by_sha = {str(event.metadata["afterSha"])[:7]: event.source_id for event in events}
    topics = [[by_sha[sha] for sha in shas.split() if sha in by_sha] for shas in TOPICS.values()]
    return Corpus(f"git history of {repository.name}", events, {"one topic, as read": _within(topics)})


def amid(corpus: Corpus, others: Sequence[SourceEvent], *, times: int) -> Corpus:
    """Return a corpus as it looks in a busy workspace: with events of strangers in between, each several times."""
    first, last = (pick(event.occurred_at for event in corpus.events) for pick in (min, max))
    many = [event for _ in range(times) for event in others]
    pause = (last - first) / max(1, len(many))
    spread = [
        event.model_copy(update={"source_id": f"{event.source_id} {number}", "occurred_at": first + number * pause})
        for number, event in enumerate(many)
    ]
    strangers = frozenset(event.source_id for event in spread)
    events = sorted([*corpus.events, *spread], key=lambda event: event.occurred_at)
    return Corpus(f"{corpus.name} amid {len(spread)} commits of others", events, corpus.truths, strangers)


def _of_webhook(webhook: Mapping[str, JsonValue]) -> SourceEvent | None:
    source, kind, payload = str(webhook["source"]), str(webhook["eventType"]), webhook["payload"]
    if not is_taken_in(source, kind, payload, DEFAULT_ALLOWED):
        return None
    return to_source_event(source, kind, payload, delivery_id="benchmark", received_at=_RECEIVED)


def _of_record(record: bytes) -> SourceEvent:
    return to_source_event(Source.GIT, "push", parse_record(record), delivery_id="benchmark", received_at=_RECEIVED)


def _distinct(events: Iterable[SourceEvent]) -> Iterator[SourceEvent]:
    yield from {event.source_id: event for event in events}.values()


def _handles(event: SourceEvent) -> Iterator[str]:
    """Name the pull request or issue, the branch and the commits an event is about."""
    numbers = ("prNumber", "issueNumber", "discussionNumber")
    yield from (f"{_repository(event)}#{event.metadata[name]}" for name in numbers if name in event.metadata)
    for reference in event.references:
        if reference.type == "commit" or (reference.type == "branch" and reference.id not in _DEFAULT_BRANCHES):
            yield reference.id


def _repository(event: SourceEvent) -> str:
    return str(event.metadata.get("repoFullName", ""))


def _subjects(event: SourceEvent) -> Iterator[str]:
    """Name also the tickets, issues and pull requests that an event mentions."""
    text = f"{event.title}\n{event.body}"
    yield from _handles(event)
    yield from _TICKET.findall(text)
    if repository := _repository(event):
        yield from (f"{repository}{number}" for number in _NUMBER.findall(text))


def _connected(events: Sequence[SourceEvent], names: Callable[[SourceEvent], Iterable[str]]) -> Pairs:
    """Events belong together that have a name in common, or are linked through others."""
    groups: list[tuple[set[str], list[str]]] = []
    for event in events:
        named, members = set(names(event)), [event.source_id]
        for group in [group for group in groups if group[0] & named]:
            groups.remove(group)
            named, members = named | group[0], [*group[1], *members]
        groups.append((named, members))
    return _within(members for _, members in groups)


def _within(groups: Iterable[Sequence[str]]) -> Pairs:
    return frozenset(frozenset(pair) for group in groups for pair in combinations(group, 2))
