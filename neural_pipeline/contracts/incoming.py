"""What the inbox holds: one payload per execution to be done, and what its lifecycle row takes from it.

The inbox table and its reader are in the store; inputs and outputs of the functions are in `workflows`.
"""

from typing import Annotated, Literal, assert_never

from pydantic import Field, JsonValue, TypeAdapter

from neural_pipeline.contracts.events import Actor, SourceEvent
from neural_pipeline.contracts.functions import ConnectedSource, Count, FunctionId, SyncMode
from neural_pipeline.contracts.shape import Shape
from neural_pipeline.contracts.synchronisation import SyncInput
from neural_pipeline.contracts.workflows import (
    CaptureInput,
    ExtractionInput,
    ProfileInput,
    SummaryInput,
    WorkflowInput,
)

MAX_NAME = 191
"""The width of the column name."""


class CapturePayload(Shape):
    """A source event to be captured."""

    inngest_function_id: Literal[FunctionId.OBSERVATION_CAPTURE] = FunctionId.OBSERVATION_CAPTURE
    source_event: SourceEvent


class ProfilePayload(Shape):
    """An actor whose profile is to be updated; `merged_into` is the account that was found to stand behind a name."""

    inngest_function_id: Literal[FunctionId.PROFILE_UPDATE] = FunctionId.PROFILE_UPDATE
    actor_id: str
    observation_id: str
    source_actor: Actor | None = None
    merged_into: str | None = None


class SummaryPayload(Shape):
    """A cluster to be summarised."""

    inngest_function_id: Literal[FunctionId.CLUSTER_SUMMARY] = FunctionId.CLUSTER_SUMMARY
    cluster_id: str
    observation_count: Count


class ExtractionPayload(Shape):
    """An observation whose text a model is to read."""

    inngest_function_id: Literal[FunctionId.LLM_ENTITY_EXTRACTION] = FunctionId.LLM_ENTITY_EXTRACTION
    observation_id: str
    content_length: Count


class SyncPayload(Shape):
    """A source to be synchronised; fully, if nothing else is said."""

    inngest_function_id: Literal[FunctionId.SYNC_ORCHESTRATOR] = FunctionId.SYNC_ORCHESTRATOR
    source_id: str
    source_type: ConnectedSource
    sync_mode: SyncMode = "full"
    sync_params: dict[str, JsonValue] = Field(default_factory=dict)


IncomingEvent = Annotated[
    CapturePayload | ProfilePayload | SummaryPayload | ExtractionPayload | SyncPayload,
    Field(discriminator="inngest_function_id"),
]

_INCOMING: TypeAdapter[IncomingEvent] = TypeAdapter(IncomingEvent)


def parse_incoming(data: object) -> IncomingEvent:
    """Read the payload of an inbox row; raises pydantic's ValidationError."""
    return _INCOMING.validate_python(data)


def input_of(payload: IncomingEvent) -> WorkflowInput:
    """Return the input that the lifecycle row of a payload stores."""
    match payload:
        case CapturePayload(source_event=event):
            return CaptureInput(
                source_id=event.source_id, source=event.source, source_type=event.source_type, title=event.title
            )
        case ProfilePayload():
            return ProfileInput(actor_id=payload.actor_id, observation_id=payload.observation_id)
        case SummaryPayload():
            return SummaryInput(cluster_id=payload.cluster_id, observation_count=payload.observation_count)
        case ExtractionPayload():
            return ExtractionInput(observation_id=payload.observation_id, content_length=payload.content_length)
        case SyncPayload():
            return SyncInput(
                source_id=payload.source_id,
                source_type=payload.source_type,
                sync_mode=payload.sync_mode,
                sync_params=payload.sync_params,
            )
        case _:
            assert_never(payload)


def run_name(payload: IncomingEvent) -> str:
    """Return the name that people see for the run of a payload, at most 191 characters."""
    return _full_name(payload)[:MAX_NAME]


def _full_name(payload: IncomingEvent) -> str:
    match payload:
        case CapturePayload(source_event=event):
            return f"Capture {event.source}/{event.source_type}"
        case ProfilePayload():
            return f"Update profile: {payload.actor_id}"
        case SummaryPayload():
            return f"Cluster summary: {payload.cluster_id}"
        case ExtractionPayload():
            return f"LLM entities: {payload.observation_id}"
        case SyncPayload():
            return f"Sync {payload.source_type} source"
        case _:
            assert_never(payload)
