"""Significance of a source event, 0 to 100: a weight per event type, keywords, references and length. Spec, 3.5."""

from dataclasses import dataclass

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.workflows.observation_capture.keywords import KeywordText, keyword_rule

SIGNIFICANCE_THRESHOLD = 40
"""An event below this score is not captured."""

_WEIGHTS = {
    "push": 30,
    "pull-request.opened": 50,
    "pull-request.closed": 45,
    "pull-request.merged": 60,
    "pull-request.reopened": 40,
    "pull-request.ready-for-review": 45,
    "issue.opened": 45,
    "issue.closed": 40,
    "issue.reopened": 40,
    "release.published": 75,
    "release.created": 70,
    "discussion.created": 35,
    "discussion.answered": 40,
    "deployment.created": 30,
    "deployment.succeeded": 40,
    "deployment.ready": 40,
    "deployment.error": 70,
    "deployment.canceled": 65,
}
_UNKNOWN_WEIGHT = 35

_KEYWORDS = (
    (
        "critical_keyword",
        keyword_rule("breaking critical urgent security vulnerability", pattern=r"cve-(?<!\wcve-)\d+\b"),
        20,
    ),
    ("incident_keyword", keyword_rule("hotfix emergency incident outage downtime"), 15),
    ("important_keyword", keyword_rule("major important significant release deploy"), 10),
    ("feature_keyword", keyword_rule("feature feat new"), 8),
    ("fix_keyword", keyword_rule("fix bug patch resolve"), 5),
    ("routine_keyword", keyword_rule("chore deps dependencies bump update upgrade"), -10),
    ("trivial_keyword", keyword_rule("typo whitespace formatting lint"), -15),
    ("wip_keyword", keyword_rule("wip draft temp test"), -10),
)


@dataclass(frozen=True, slots=True)
class Significance:
    """A score and what it was made of, in the order of the rules."""

    score: int
    factors: tuple[str, ...]


def score_significance(event: SourceEvent) -> Significance:
    """Score an event from 0 to 100 and name the factors, the event type first."""
    text = KeywordText.of(event.title, event.body)
    parts = [(f"base:{event.source_type}", _WEIGHTS.get(event.source_type, _UNKNOWN_WEIGHT))]
    parts += [(factor, delta) for factor, rule, delta in _KEYWORDS if rule.matches(text)]
    parts += _reference_part(len(event.references)) + _length_part(len(event.body))
    total = sum(delta for _, delta in parts)
    return Significance(score=max(0, min(100, total)), factors=tuple(factor for factor, _ in parts))


def _reference_part(count: int) -> list[tuple[str, int]]:
    return [(f"references:{count}", min(3 * count, 15))] if count else []


def _length_part(length: int) -> list[tuple[str, int]]:
    if length > 500:
        return [("substantial_content", 5)]
    return [("moderate_content", 2)] if length > 200 else []
