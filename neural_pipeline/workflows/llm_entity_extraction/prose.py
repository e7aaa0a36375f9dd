"""What rules find in the text of an observation where no model is asked: people, services, settings. Pure.

Few and sure rather than many, and nothing that the capture's patterns find.
"""

from collections.abc import Iterator

from neural_pipeline.contracts.answers import ExtractedEntity, ExtractionAnswer
from neural_pipeline.contracts.entity_keys import folded, quoted
from neural_pipeline.contracts.events import MAX_BODY
from neural_pipeline.workflows.llm_entity_extraction.dependencies import dependencies_in
from neural_pipeline.workflows.llm_entity_extraction.mentions import Mention
from neural_pipeline.workflows.llm_entity_extraction.named_settings import settings_in
from neural_pipeline.workflows.llm_entity_extraction.people import people_in
from neural_pipeline.workflows.llm_entity_extraction.services import services_in

RULES = "prose"
"""The name of these rules, as rows show it behind `offline:`."""

_FENCE = "```"


def answer_by_rules(title: str, content: str) -> ExtractionAnswer:
    """Answer the question for entities by rules, the most certain first; the evidence is where each was found."""
    text = f"{title}\n{content[:MAX_BODY]}"
    found: dict[tuple[str, str], Mention] = {}
    for mention in mentions_in(text):
        identity = mention.category, folded(mention.key)
        if identity not in found or mention.confidence > found[identity].confidence:
            found[identity] = mention
    by_confidence = sorted(found.values(), key=lambda mention: mention.confidence, reverse=True)
    return ExtractionAnswer.model_validate({"entities": [_entity(text, mention) for mention in by_confidence]})


def mentions_in(text: str) -> Iterator[Mention]:
    """Find entities in a text; what stands in fenced code blocks is no prose. Takes time in proportion to the text."""
    prose = _without_code(text)
    yield from people_in(prose)
    yield from services_in(prose)
    yield from settings_in(prose)
    yield from dependencies_in(prose)


def _without_code(text: str) -> str:
    """Blank out fenced code blocks; every place stays where it is. A fence that nothing closes opens none."""
    parts = text.split(_FENCE)
    last = len(parts) - 1
    blanked = (" " * len(part) if n % 2 and n < last else part for n, part in enumerate(parts))
    return (" " * len(_FENCE)).join(blanked)


def _entity(text: str, mention: Mention) -> ExtractedEntity:
    return ExtractedEntity.model_validate(
        {
            "category": mention.category,
            "key": mention.key,
            "value": mention.value,
            "confidence": mention.confidence,
            "reasoning": quoted(text, mention.start, mention.end),
        }
    )
