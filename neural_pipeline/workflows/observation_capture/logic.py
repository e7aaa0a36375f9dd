"""Pure decisions of observation capture: filter, score, categories, topics, entities, texts to embed.

No Dagster, no SQL and no model in here; the rule tables live beside it and are re-exported under their public names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neural_pipeline.contracts.events import Source, SourceEvent
from neural_pipeline.contracts.memory import views_of_text
from neural_pipeline.workflows.observation_capture.classification import Classification, classify_by_rules
from neural_pipeline.workflows.observation_capture.entities import Entity, extract_entities
from neural_pipeline.workflows.observation_capture.keywords import KeywordText
from neural_pipeline.workflows.observation_capture.scoring import (
    SIGNIFICANCE_THRESHOLD,
    Significance,
    score_significance,
)

__all__ = [
    "SIGNIFICANCE_THRESHOLD",
    "Classification",
    "Entity",
    "Significance",
    "Subscription",
    "base_type",
    "classify_by_rules",
    "extract_entities",
    "is_event_allowed",
    "observation_type",
    "resource_id",
    "score_significance",
    "topics_of",
    "views_of",
]

_TITLE_TOPICS = ("fix", "feat", "refactor", "test", "docs", "chore", "ci", "perf")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One integration that covers the event's resource, and the event types it lets in."""

    provider: str
    is_active: bool
    events: tuple[str, ...]


def is_event_allowed(event: SourceEvent, integrations: Sequence[Subscription]) -> bool:
    """Say whether the integrations that cover the event's resource let it in.

    Without any integration it is allowed. Otherwise an active one of the event's provider must list its base type;
    an empty list admits nothing.
    """
    if not integrations:
        return True
    wanted = base_type(event)
    return any(
        integration.is_active and integration.provider == event.source and wanted in integration.events
        for integration in integrations
    )


def resource_id(event: SourceEvent) -> str | None:
    """Return the provider's id of the repository or project the event belongs to, if it names one."""
    for name in ("repoId", "projectId"):
        value = event.metadata.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value:
            return str(value)
    return None


def base_type(event: SourceEvent) -> str:
    """Return the subscription key of the event's type: `pull-request.merged` is `pull_request`."""
    family, dot, _ = event.source_type.partition(".")
    if event.source == Source.VERCEL or not dot or not family:
        return event.source_type
    return "issues" if family == "issue" else family.replace("-", "_")


def observation_type(event: SourceEvent) -> str:
    """Return the type an observation is stored under: Vercel's first dot becomes an underscore."""
    if event.source == Source.VERCEL:
        return event.source_type.replace(".", "_", 1)
    return event.source_type


def topics_of(event: SourceEvent, classification: Classification) -> tuple[str, ...]:
    """Return source, type, labels, whole title keywords, categories and model topics, each once, in this order."""
    topics = (
        *_keyword_topics(event),
        classification.primary,
        *classification.secondaries,
        *classification.topics,
    )
    return tuple(dict.fromkeys(topics))


def _keyword_topics(event: SourceEvent) -> Iterator[str]:
    yield event.source.value
    yield observation_type(event)
    yield from (reference.id.lower() for reference in event.references if reference.type == "label")
    words = KeywordText.of(event.title, "").words
    yield from (topic for topic in _TITLE_TOPICS if topic in words)


def views_of(event: SourceEvent) -> tuple[str, str, str]:
    """Return the texts embedded as title, content and summary; a blank body is replaced by the title."""
    return views_of_text(event.title, event.body)
