"""The events of a batch as its run sees them, and what is to become of each."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Payload = TypeVar("Payload", covariant=True)


class Worked(Protocol):
    """An event of the batch: its id in the inbox, whose it is, and how many attempts it has had."""

    @property
    def id(self) -> int: ...  # noqa: D102 - the class docstring says it

    @property
    def workspace_id(self) -> str: ...  # noqa: D102

    @property
    def clerk_org_id(self) -> str: ...  # noqa: D102

    @property
    def repository_id(self) -> str | None: ...  # noqa: D102

    @property
    def attempt(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class BatchEvent(Generic[Payload]):
    """One event of the batch with its payload, as the inbox holds it."""

    id: int
    workspace_id: str
    clerk_org_id: str
    repository_id: str | None
    payload: Payload
    attempt: int = 0
    """How many attempts it has had."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """There was no time for an event: it waits for a later run, and no attempt is counted."""
