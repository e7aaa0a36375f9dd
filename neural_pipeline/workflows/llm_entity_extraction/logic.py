"""What becomes of a request to read an observation, and which of the entities found are kept. Pure. Spec, 4.4."""

from dataclasses import dataclass
from typing import Literal

from neural_pipeline.contracts.answers import EntityCategory, ExtractedEntity, ExtractionAnswer
from neural_pipeline.contracts.entity_keys import folded
from neural_pipeline.contracts.memory import Entity, ObservedText
from neural_pipeline.workflows.llm_entity_extraction.keys import normal_key, plain

SkipReason = Literal["observation_not_found", "content_too_short", "budget_exhausted"]


@dataclass(frozen=True, slots=True)
class ExtractionRules:
    """From how many characters a text is read, from which confidence an entity is kept, and how many at most."""

    min_content: int = 200
    min_confidence: float = 0.65
    max_entities: int = 15


@dataclass(frozen=True, slots=True)
class Skip:
    """Why an observation is not read."""

    reason: SkipReason
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was found in the observation stored under `observation_id`, and by whom."""

    observation_id: int
    entities: tuple[Entity, ...]
    answered_by: str


Effect = Skip | Extracted


def objection(text: ObservedText | None, rules: ExtractionRules) -> Skip | None:
    """Return why a text is not read, None if it is."""
    if text is None:
        return Skip("observation_not_found")
    return Skip("content_too_short") if len(text.content) < rules.min_content else None


def entities_of(answer: ExtractionAnswer, rules: ExtractionRules) -> tuple[Entity, ...]:
    """Return the entities that are kept of an answer: known by their normal keys, distinct, the most certain first.

    Of two that are the same the more certain stays, then the earlier.
    """
    kept: dict[tuple[EntityCategory, str], Entity] = {}
    for found in answer.entities:
        key = normal_key(found.category, found.key)
        if key is None or not rules.min_confidence <= found.confidence <= 1:
            continue
        identity = found.category, folded(key)
        if identity not in kept or found.confidence > kept[identity].confidence:
            kept[identity] = _entity(found, key)
    by_confidence = sorted(kept.values(), key=lambda entity: entity.confidence, reverse=True)
    return tuple(by_confidence[: rules.max_entities])


def _entity(found: ExtractedEntity, key: str) -> Entity:
    evidence = plain(found.reasoning or "") or f"LLM extracted: {found.category}"
    return Entity(found.category, key, plain(found.value or "") or None, found.confidence, evidence)
