"""What language models are asked to answer with (spec, 3.6, 4.3, 4.4), and the lenient types that it is made of.

Over-long answers are cut, unusable members of lists are dropped: a good answer is not lost over a long sentence
(D-30). What cutting would turn into a lie (a category that does not exist, a confidence of 7) is refused.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic.types import OnErrorOmit
from pydantic_core import CoreSchema, core_schema

from neural_pipeline.contracts.shape import Shape

PrimaryCategory = Literal[
    "bug_fix",
    "feature",
    "refactor",
    "documentation",
    "testing",
    "infrastructure",
    "security",
    "performance",
    "incident",
    "decision",
    "discussion",
    "release",
    "deployment",
    "other",
]
EntityCategory = Literal["engineer", "project", "endpoint", "config", "definition", "service", "reference"]
ClusterStatus = Literal["active", "completed", "stalled"]

PRIMARY_CATEGORIES: tuple[PrimaryCategory, ...] = get_args(PrimaryCategory)
ENTITY_CATEGORIES: tuple[EntityCategory, ...] = get_args(EntityCategory)
CLUSTER_STATUSES: tuple[ClusterStatus, ...] = get_args(ClusterStatus)

MAX_ENTITIES = 15


def _described(schema: JsonSchemaValue, *sentences: str) -> JsonSchemaValue:
    """Limits are told in words: a provider that enforced them would refuse what is cut here."""
    return schema | {"description": " ".join(sentence for sentence in sentences if sentence)}


def _without_nul(text: object) -> object:
    """Postgres holds no NUL, neither in text nor in JSON."""
    return text.replace("\0", "") if isinstance(text, str) else text


@dataclass(frozen=True, slots=True)
class Clipped:
    """Annotates a `str`: trimmed, without NUL, cut to `limit` characters. `meaning` tells the model what belongs here.

    A `Field(description=...)` beside it would hide the limit from the model.
    """

    limit: int
    meaning: str = ""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Cut after validation."""
        text = core_schema.no_info_before_validator_function(_without_nul, handler(source))
        return core_schema.no_info_after_validator_function(self._cut, text)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the limit."""
        return _described(handler(schema), self.meaning, f"At most {self.limit} characters.")

    def _cut(self, text: str) -> str:
        return text.strip()[: self.limit].rstrip()


def _listed(members: object) -> object:
    return () if members is None else members


@dataclass(frozen=True, slots=True)
class FirstOf:
    """Annotates a tuple: its first `limit` members; null is the empty list. Wrap members that may fail: OnErrorOmit."""

    limit: int
    meaning: str = ""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Cut after the unusable members are gone."""
        members = core_schema.no_info_before_validator_function(_listed, handler(source))
        return core_schema.no_info_after_validator_function(self._cut, members)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the limit."""
        return _described(handler(schema), self.meaning, f"At most {self.limit} members.")

    def _cut(self, members: tuple[Any, ...]) -> tuple[Any, ...]:
        return members[: self.limit]


Word = Annotated[str, Clipped(100), Field(min_length=1)]
"""A topic, a name: never empty."""
Words = tuple[OnErrorOmit[Word], ...]
Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Reasoning = Annotated[str, Clipped(200, "Why, in a few words.")]


class _Answer(Shape):
    """A model may say more than it was asked; what was not asked for is ignored.

    The docstrings of the shapes reach the model, as descriptions in the JSON schema.
    """

    model_config = ConfigDict(extra="ignore")


class ClassifyAnswer(_Answer):
    """What an event is about."""

    primary_category: PrimaryCategory
    secondary_categories: Annotated[Words, FirstOf(3, "Further categories that fit.")] = ()
    topics: Annotated[Words, FirstOf(5, "Keywords.")] = ()
    confidence: Confidence
    reasoning: Reasoning | None = None


class SummaryAnswer(_Answer):
    """What a cluster of events is about."""

    summary: Annotated[str, Clipped(500), Field(min_length=1)]
    key_topics: Annotated[Words, FirstOf(5)] = ()
    key_contributors: Annotated[Words, FirstOf(5)] = ()
    status: ClusterStatus


class ExtractedEntity(_Answer):
    """A thing that a text speaks of."""

    category: EntityCategory
    key: Annotated[str, Clipped(500), Field(min_length=1)]
    value: Annotated[str, Clipped(500)] | None = None
    confidence: Confidence
    reasoning: Reasoning | None = None


class ExtractionAnswer(_Answer):
    """The things that a text speaks of."""

    entities: Annotated[tuple[OnErrorOmit[ExtractedEntity], ...], FirstOf(MAX_ENTITIES)]
