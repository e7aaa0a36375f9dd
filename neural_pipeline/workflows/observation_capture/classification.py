"""Categories of a source event by rules: the default, and the fallback where a language model is asked. Spec, 3.6."""

from dataclasses import dataclass

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.workflows.observation_capture.keywords import WHITE_SPACE, KeywordText, keyword_rule

_MAX_SECONDARIES = 3
_RULE_CONFIDENCE = 0.5

_CATEGORIES = (
    (
        "release",
        keyword_rule("release", opening="release_", pattern=rf"v(?<!\wv)(?:ersion[{WHITE_SPACE}]+\d|\d+\.\d)"),
    ),
    ("deployment", keyword_rule("shipp shippe shippd shipped", "deploy")),
    ("security", keyword_rule("security vulnerability auth", "permission", pattern=r"cve-(?<!\wcve-)\d")),
    ("incident", keyword_rule("incident outage downtime emergency hotfix")),
    ("bug_fix", keyword_rule("fix fixes fixed fixing bug patch resolve resolves resolved", "correct")),
    (
        "feature",
        keyword_rule(
            "add adds added adding new", "implement introduce", pattern=rf"feat(?<!\wfeat)(?:ure)?[:{WHITE_SPACE}]"
        ),
    ),
    ("performance", keyword_rule("perf performance faster", "optimiz speed slow")),
    ("testing", keyword_rule("test tests testing spec coverage e2e unit")),
    ("documentation", keyword_rule("doc docs readme jsdoc documentation", "comment")),
    ("infrastructure", keyword_rule("ci cd pipeline workflow", "docker config infra")),
    ("refactor", keyword_rule("cleanup chore", "refactor restructure reorganize")),
    ("discussion", keyword_rule("rfc proposal", "discuss")),
    ("decision", keyword_rule("decision decide decides decided adr architecture")),
)


@dataclass(frozen=True, slots=True)
class Classification:
    """One primary category, further ones, topic words, and how sure the classifier is (0 to 1)."""

    primary: str
    secondaries: tuple[str, ...]
    confidence: float
    topics: tuple[str, ...] = ()


def classify_by_rules(event: SourceEvent) -> Classification:
    """Classify an event by the first category whose keywords it holds; the next three that match are secondary."""
    text = KeywordText.of(f"{event.source_type} {event.title}", event.body)
    matching = [category for category, rule in _CATEGORIES if rule.matches(text)]
    primary, *others = matching or ["other"]
    return Classification(primary=primary, secondaries=tuple(others[:_MAX_SECONDARIES]), confidence=_RULE_CONFIDENCE)
