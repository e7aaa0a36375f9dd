"""Summarising a cluster by rules: nothing is made up, every word comes from its observations. Pure, no clock.

Titles that share most words with the others stand for the cluster; topics and people are counted; see `status_of`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from math import sqrt

from neural_pipeline.contracts.answers import ClusterStatus, SummaryAnswer
from neural_pipeline.contracts.events import Source
from neural_pipeline.workflows.cluster_summary.logic import Observed, Picture

RULES = "extractive"
MAX_SUMMARY = 500
MAX_MEMBERS = 5
STALLED_AFTER = timedelta(days=14)
"""A cluster rests for so long before the workspace's newest activity until it counts as stalled."""

_MAX_TITLES = 3
_MAX_TITLE = 80
_MAX_KINDS = 4
_ALIKE = 0.75
"""Share of the shorter one's words from which two titles say the same."""

_CLOSING = frozenset({"merged", "closed", "published", "released", "succeeded", "ready", "answered"})
_OPENING = frozenset({"opened", "reopened", "created", "review", "error", "canceled"})
_TELLS_NOTHING = frozenset({source.value for source in Source} | {"other"})
_COMMON = """
about after all and any are before but can did does for from had has have her his how into its make may more
new not now off one only our out over should some than that the their them then there this three too two under
until upon use used using via was were what when where which while who will with without would you your
"""
_STOP_WORDS = frozenset(_COMMON.split())
_WORD = re.compile(r"\w+(?:[-'.]\w+)*")
_PREFIX = re.compile(r"^\[[^\]]{1,40}\]\s*")
_SENTENCE_END = re.compile(r"[.!?](?=\s)")


def summarise(picture: Picture) -> SummaryAnswer:
    """Summarise a cluster from the titles, topics and people that it holds."""
    return SummaryAnswer(
        summary=cut(" ".join(_sentences(picture)), MAX_SUMMARY),
        key_topics=key_topics(picture),
        key_contributors=tuple(dict.fromkeys(picture.people))[:MAX_MEMBERS],
        status=status_of(picture),
    )


def status_of(picture: Picture) -> ClusterStatus:
    """Return how things stand in a cluster.

    Completed: of the latest observations that open or close something (a push does neither), the newest closes it: a
    merge, a close, a release, an answer, a deployment that succeeded. Otherwise stalled: nothing happened for
    `STALLED_AFTER` before the newest activity of the workspace, so that imported history is not stale as a whole.
    Otherwise active.
    """
    ends = (_last_word(one.kind) for one in picture.latest)
    if next((end for end in ends if end in _CLOSING or end in _OPENING), None) in _CLOSING:
        return "completed"
    return "stalled" if picture.newest_at - picture.last_at > STALLED_AFTER else "active"


def key_topics(picture: Picture) -> tuple[str, ...]:
    """Return the topics, and the words of at least two titles, that most of the latest observations share.

    Neither the source nor a bare type is a topic (D-17). Of equally frequent ones a topic stands before a word.
    """
    kinds = {*picture.kinds, *(one.kind for one in picture.latest)}
    silent = _TELLS_NOTHING | kinds
    topics = Counter(topic for one in picture.latest for topic in {*one.topics} - silent)
    words = Counter(word for one in picture.latest for word in {*_words(one.title)} - silent - topics.keys())
    shared = [(word, number) for word, number in words.items() if number > 1]
    ranked = sorted([*((-n, 0, topic) for topic, n in topics.items()), *((-n, 1, word) for word, n in shared)])
    found = [name for _, _, name in ranked] or [word for word in picture.keywords if word not in silent]
    return tuple(found or sorted(words))[:MAX_MEMBERS]


def cut(text: str, limit: int) -> str:
    """Return text of at most `limit` characters that ends with a sentence, or else with a word and an ellipsis.

    Text that fills the limit without an end was cut by somebody else in the middle of a word.
    """
    if len(text) < limit or (len(text) == limit and text[-1] in ".!?"):
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text[:limit])]
    if ends and ends[-1] >= limit // 2:
        return text[: ends[-1]]
    return _with_ellipsis(text, limit)


def _with_ellipsis(text: str, limit: int) -> str:
    whole_words = text[: limit - 2].rpartition(" ")[0] or text[: limit - 3]
    return whole_words.rstrip(" ,;:-\"'") + "..."


def _sentences(picture: Picture) -> Iterator[str]:
    central = central_titles(picture.latest)
    if central:
        yield f"Mostly about {_listed(central)}."
    titles = dict.fromkeys(title for one in picture.latest[: 1 if central else _MAX_TITLES] if (title := _bare(one)))
    news = [title for title in titles if title not in central]
    if news:
        yield f"Latest: {_listed(news)}."
    yield f"{_number(picture.count)} {_period(picture)}: {_kinds(picture)}."


def central_titles(observations: Sequence[Observed]) -> list[str]:
    """Return up to three titles that share most words with others and say different things, the most central first."""
    shared = Counter(word for one in observations for word in _words(one.title))
    words = {title: _words(one.title) for one in observations if (title := _bare(one))}
    weight = {title: sum(shared[word] - 1 for word in own) / sqrt(len(own) or 1) for title, own in words.items()}
    chosen: list[str] = []
    for title in sorted(words, key=lambda title: -weight[title]):  # stable: of equals the newest first
        is_new = not any(_are_alike(words[title], words[other]) for other in chosen)
        if weight[title] > 0 and is_new and len(chosen) < _MAX_TITLES:
            chosen.append(title)
    return chosen


def _are_alike(left: frozenset[str], right: frozenset[str]) -> bool:
    return len(left & right) >= _ALIKE * min(len(left), len(right))


def _words(title: str) -> frozenset[str]:
    """The words of a title that could tell titles apart, each once."""
    found = _WORD.findall(_PREFIX.sub("", title).lower())
    return frozenset(word for word in found if len(word) > 2 and not word.isdigit()) - _STOP_WORDS


def _bare(one: Observed) -> str:
    """The title on one line, without `[PR Opened]` before it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in one.title).split())
    title = _PREFIX.sub("", line) or line
    return title if len(title) <= _MAX_TITLE else _with_ellipsis(title, _MAX_TITLE)


def _listed(titles: Iterable[str]) -> str:
    return "; ".join(f'"{title}"' for title in titles)


def _number(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _period(picture: Picture) -> str:
    first, last = picture.first_at.date(), picture.last_at.date()
    return f"on {first}" if first == last else f"from {first} to {last}"


def _kinds(picture: Picture) -> str:
    ranked = sorted(picture.kinds.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{_readable(kind)} ({number})" for kind, number in ranked[:_MAX_KINDS]]
    rest = sum(number for _, number in ranked[_MAX_KINDS:])
    return ", ".join([*named, *([f"others ({rest})"] if rest else [])])


def _readable(kind: str) -> str:
    return " ".join(re.split(r"[-_.\s]+", kind))


def _last_word(kind: str) -> str:
    return _readable(kind).rpartition(" ")[2]
