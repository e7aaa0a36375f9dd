"""What travels between the ops of a capture: its events, and the reason why one is not to be captured."""

from dataclasses import dataclass

from neural_pipeline.contracts.events import SourceEvent


@dataclass(frozen=True, slots=True)
class CaptureEvent:
    """One event of the batch, as the inbox holds it."""

    id: int
    workspace_id: str
    clerk_org_id: str
    repository_id: str | None
    source_event: SourceEvent
    attempt: int = 0
    """How many attempts it has had."""

    reprocess: bool = False
    """Whether it replaces the observation that was made of the same event before."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """Why an event is not to be captured."""

    reason: str
    significance: int | None = None
