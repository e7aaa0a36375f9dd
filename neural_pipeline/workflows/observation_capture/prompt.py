"""What a language model is asked about a captured event, and what the rules would say. Pure. Spec, 3.6."""

from collections.abc import Sequence

from neural_pipeline.contracts.answers import PRIMARY_CATEGORIES, ClassifyAnswer
from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.models.fencing import FENCE_RULE, fence
from neural_pipeline.models.language import Prompt, Question
from neural_pipeline.workflows.observation_capture.classification import Classification, classify_by_rules

RULES = "rules"
MAX_BODY = 1_000
"""Characters of the body that a model sees."""

_MEANINGS = {
    "bug_fix": "fixes, patches",
    "feature": "new functionality",
    "refactor": "restructuring",
    "infrastructure": "CI/CD, Docker, configuration",
    "security": "vulnerabilities, authentication, permissions",
    "incident": "outages, hotfixes",
    "decision": "architecture decisions",
    "discussion": "RFCs, proposals",
    "release": "versions, changelogs",
}


def _listed(categories: Sequence[str]) -> str:
    return "\n".join(f"- {name}: {_MEANINGS[name]}" if name in _MEANINGS else f"- {name}" for name in categories)


INSTRUCTIONS = f"""You classify events of an engineering team: pushes, pull requests, issues, releases, deployments.

Categories:
{_listed(PRIMARY_CATEGORIES)}

Give exactly one primary category: the dominant intent where several fit. Give at most three secondary categories, at
most five topic keywords in lower case, your confidence from 0 to 1, and in at most 200 characters why.

{FENCE_RULE}"""


def classification_question(event: SourceEvent) -> Question[ClassifyAnswer]:
    """Return the question how an event is to be classified."""
    lines = (
        f"source: {event.source}",
        f"type: {event.source_type}",
        f"title: {event.title}",
        "",
        event.body[:MAX_BODY],
    )
    prompt = Prompt(INSTRUCTIONS, fence("\n".join(lines)))
    return Question(prompt, ClassifyAnswer, RULES, lambda: _by_rules(event))


def classification_of(answer: ClassifyAnswer) -> Classification:
    """Return what a model answered as a classification."""
    return Classification(
        primary=answer.primary_category,
        secondaries=answer.secondary_categories,
        confidence=answer.confidence,
        topics=answer.topics,
    )


def _by_rules(event: SourceEvent) -> ClassifyAnswer:
    found = classify_by_rules(event)
    return ClassifyAnswer.model_validate(
        {"primary_category": found.primary, "secondary_categories": found.secondaries, "confidence": found.confidence}
    )
