"""A source event: one thing that happened at a provider, in the shape every workflow reads. Spec, section 1."""

from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AnyUrl,
    AwareDatetime,
    EmailStr,
    Field,
    JsonValue,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from neural_pipeline.contracts.shape import Shape

MAX_TITLE = 200
MAX_BODY = 10_000
MAX_REFERENCES = 100


class Source(StrEnum):
    """Where an event comes from."""

    GITHUB = "github"
    VERCEL = "vercel"
    GIT = "git"


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


_URL: TypeAdapter[AnyUrl] = TypeAdapter(AnyUrl)


def _is_url(text: str) -> str:
    _URL.validate_python(text)
    return text


_EMAIL: TypeAdapter[str] = TypeAdapter(EmailStr)


@lru_cache(maxsize=4096)
def _checked_email(text: str) -> str:
    return _EMAIL.validate_python(text)


def _as_email(value: object, check: ValidatorFunctionWrapHandler) -> str:
    """Checking an address costs 0.1 ms, and a team has few: remember them."""
    return _checked_email(value) if isinstance(value, str) else check(value)


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A point in time with an offset; kept in UTC."""

Url = Annotated[str, AfterValidator(_is_url)]
"""A valid URL, kept letter for letter as it came."""

Email = Annotated[EmailStr, WrapValidator(_as_email)]
"""A valid e-mail address; its domain is lower-cased."""

ReferenceType = Literal[
    "commit", "branch", "pr", "issue", "deployment", "project", "cycle", "assignee", "reviewer", "team", "label"
]


class Actor(Shape):
    """Who acted, as the provider names them."""

    id: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    email: Email | None = None
    avatar_url: Url | None = None


class Reference(Shape):
    """A thing the event speaks of; `label` says how (`fixes`, `merge`)."""

    type: ReferenceType
    id: Annotated[str, Field(min_length=1)]
    url: Url | None = None
    label: str | None = None


class SourceEvent(Shape):
    """One event of one provider; `source_id` is its identity within a workspace."""

    source: Source
    source_type: Annotated[str, Field(min_length=1, max_length=100)]
    source_id: Annotated[str, Field(min_length=1, max_length=255)]
    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE)]
    body: Annotated[str, Field(max_length=50_000)]
    actor: Actor | None = None
    occurred_at: Moment
    references: tuple[Reference, ...] = ()
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
