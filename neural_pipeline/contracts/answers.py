"""What language models are asked to answer with (spec, 3.6, 4.3, 4.4), and the lenient types that it is made of.

Over-long answers are cut, unusable members of lists are dropped, `Bug fix` and `85%` are understood: a good answer is
not lost over its form (D-30). What would become a lie by that (a category that does not exist, a confidence of 7) is
refused.
"""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
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

MAX_ENTITIES = 100
"""Members that an answer is read to; how many of them are kept, the surest, is a setting."""
MAX_WORD = 100

_BETWEEN_WORDS = re.compile(r"[\s_-]+")
_PERCENT = re.compile(r"\s*(\d{1,3}(?:\.\d{1,9})?)\s*%\s*", re.ASCII)


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
    """Null is no member; some models put a list into a string, as JSON."""
    if members is None:
        return ()
    if not isinstance(members, str) or not members.lstrip().startswith("["):
        return members
    try:
        return json.loads(members)
    except (ValueError, RecursionError):
        return members


@dataclass(frozen=True, slots=True)
class FirstOf:
    """Annotates a tuple: its first `limit` members; null is the empty list. Wrap members that may fail: OnErrorOmit.

    A limit that only bounds what is read, and is not asked for, is not told.
    """

    limit: int
    meaning: str = ""
    is_told: bool = True

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Cut after the unusable members are gone."""
        members = core_schema.no_info_before_validator_function(_listed, handler(source))
        return core_schema.no_info_after_validator_function(self._cut, members)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the limit."""
        told = f"At most {self.limit} members." if self.is_told else ""
        return _described(handler(schema), self.meaning, told)

    def _cut(self, members: tuple[Any, ...]) -> tuple[Any, ...]:
        return members[: self.limit]


def _alone(words: object) -> object:
    return (words,) if isinstance(words, str) else words


def _spelt(choice: object) -> object:
    """Spell a choice as ours are: `Bug fix` and `bug-fix` are `bug_fix`."""
    return _BETWEEN_WORDS.sub("_", choice.strip().lower()) if isinstance(choice, str) else choice


def _fraction(confidence: object) -> object:
    percent = _PERCENT.fullmatch(confidence) if isinstance(confidence, str) else None
    return float(percent[1]) / 100 if percent else confidence


def _usable(text: object, handler: ValidatorFunctionWrapHandler) -> object:
    """Leave out what is unusable of what an answer can do without."""
    try:
        return handler(text)
    except ValidationError:
        return None


Word = Annotated[str, Clipped(MAX_WORD), Field(min_length=1)]
"""A topic, a name: never empty."""
Words = Annotated[tuple[OnErrorOmit[Word], ...], BeforeValidator(_alone)]
Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_fraction)]
Reasoning = Annotated[str, Clipped(200, "Why, in a few words.")]


class _Answer(Shape):
    """A model may say more than it was asked; what was not asked for is ignored.

    The docstrings of the shapes reach the model, as descriptions in the JSON schema.
    """

    model_config = ConfigDict(extra="ignore")


class ClassifyAnswer(_Answer):
    """What an event is about."""

    primary_category: Annotated[PrimaryCategory, BeforeValidator(_spelt)]
    secondary_categories: Annotated[Words, FirstOf(3, "Further categories that fit.")] = ()
    topics: Annotated[Words, FirstOf(5, "Keywords.")] = ()
    confidence: Confidence
    reasoning: Annotated[Reasoning | None, WrapValidator(_usable)] = None


class SummaryAnswer(_Answer):
    """What a cluster of events is about."""

    summary: Annotated[str, Clipped(500), Field(min_length=1)]
    key_topics: Annotated[Words, FirstOf(5)] = ()
    key_contributors: Annotated[Words, FirstOf(5)] = ()
    status: Annotated[ClusterStatus, BeforeValidator(_spelt)]


class ExtractedEntity(_Answer):
    """A thing that a text speaks of."""

    category: Annotated[EntityCategory, BeforeValidator(_spelt)]
    key: Annotated[str, Clipped(500), Field(min_length=1)]
    value: Annotated[Annotated[str, Clipped(500)] | None, WrapValidator(_usable)] = None
    confidence: Confidence
    reasoning: Annotated[Reasoning | None, WrapValidator(_usable)] = None


class ExtractionAnswer(_Answer):
    """The things that a text speaks of."""

    entities: Annotated[tuple[OnErrorOmit[ExtractedEntity], ...], FirstOf(MAX_ENTITIES, is_told=False)]
