"""The input and the output of every workflow function, as the workflow runs table stores them. Spec, 5.3 and 5.4.

The models of the neural functions are here, those of the sync functions in `synchronisation`; this module reads both.
What the inbox holds is in `incoming`, the states of a run are in `lifecycle`.
"""

from typing import Annotated, Literal, assert_never

from pydantic import Field, StrictBool, TypeAdapter

from neural_pipeline.contracts.functions import Count, Failed, FunctionId, Number, Succeeded
from neural_pipeline.contracts.shape import Shape
from neural_pipeline.contracts.synchronisation import (
    SourceConnectedFailure,
    SourceConnectedInput,
    SourceConnectedSuccess,
    SourceSyncFailure,
    SourceSyncInput,
    SourceSyncSuccess,
    SyncFailure,
    SyncInput,
    SyncSuccess,
)

MAX_ERROR = 1000
"""The width of the column error_message."""


class OutputOfAnotherFunction(ValueError):
    """An output was given to a run of a different function."""


class InputOfAnotherFunction(ValueError):
    """An input was given to a run of a different function."""


class _OfCapture(Shape):
    inngest_function_id: Literal[FunctionId.OBSERVATION_CAPTURE] = FunctionId.OBSERVATION_CAPTURE


class CaptureInput(_OfCapture):
    """The source event that a capture starts from."""

    source_id: str
    source: str
    source_type: str
    title: str


class CaptureSuccess(_OfCapture, Succeeded):
    """The event became an observation."""

    observation_id: str
    observation_type: str
    significance_score: Number
    entities_extracted: Count
    cluster_id: str
    cluster_is_new: StrictBool


class CaptureFiltered(_OfCapture):
    """The event was kept out on purpose."""

    status: Literal["filtered"] = "filtered"
    reason: Literal["duplicate", "event_not_allowed", "below_threshold"]
    source_id: str
    significance_score: Number | None = None


class CaptureFailure(_OfCapture, Failed):
    """The event could not be captured."""

    source_id: str


class _OfProfile(Shape):
    inngest_function_id: Literal[FunctionId.PROFILE_UPDATE] = FunctionId.PROFILE_UPDATE
    actor_id: str


class ProfileInput(_OfProfile):
    """The actor whose profile is updated, and the observation that asked for it."""

    observation_id: str


class ProfileSuccess(_OfProfile, Succeeded):
    """A profile was written."""

    observation_count: Count
    is_new_profile: StrictBool


class ProfileSkipped(_OfProfile):
    """The actor has neither observations nor a profile, or a newer request of the same actor stands for this one."""

    status: Literal["skipped"] = "skipped"
    reason: Literal["no_observations", "superseded"]


class ProfileFailure(_OfProfile, Failed):
    """A profile could not be written."""


class _OfSummary(Shape):
    inngest_function_id: Literal[FunctionId.CLUSTER_SUMMARY] = FunctionId.CLUSTER_SUMMARY
    cluster_id: str


class SummaryInput(_OfSummary):
    """The cluster to be summarised and its size when that was asked for."""

    observation_count: Count


class SummarySuccess(_OfSummary, Succeeded):
    """A cluster was summarised."""

    summary_generated: StrictBool
    key_topics: tuple[str, ...] | None = None


class SummarySkipped(_OfSummary):
    """A cluster needed no summary, had nothing to be summarised, or a newer request stands for this one."""

    status: Literal["skipped"] = "skipped"
    reason: Literal[
        "below_threshold", "summary_recent", "cluster_not_found", "no_observations", "budget_exhausted", "superseded"
    ]
    detail: str | None = None


class SummaryFailure(_OfSummary, Failed):
    """A cluster could not be summarised."""


class _OfExtraction(Shape):
    inngest_function_id: Literal[FunctionId.LLM_ENTITY_EXTRACTION] = FunctionId.LLM_ENTITY_EXTRACTION


class ExtractionInput(_OfExtraction):
    """The observation whose text a model is to read."""

    observation_id: str
    content_length: Count


class ExtractionSuccess(_OfExtraction, Succeeded):
    """A model read the text; the counts may be zero."""

    observation_id: str
    entities_extracted: Count
    entities_stored: Count


class ExtractionSkipped(_OfExtraction):
    """There was no text worth reading, no model to be asked, or a newer request stands for this one."""

    status: Literal["skipped"] = "skipped"
    observation_id: str | None = None
    reason: Literal["observation_not_found", "content_too_short", "budget_exhausted", "superseded"]
    detail: str | None = None


class ExtractionFailure(_OfExtraction, Failed):
    """The text could not be read."""

    observation_id: str


WorkflowInput = Annotated[
    SourceConnectedInput | SourceSyncInput | SyncInput | CaptureInput | ProfileInput | SummaryInput | ExtractionInput,
    Field(discriminator="inngest_function_id"),
]
_BY_STATUS = Field(discriminator="status")
SourceConnectedOutput = Annotated[SourceConnectedSuccess | SourceConnectedFailure, _BY_STATUS]
SourceSyncOutput = Annotated[SourceSyncSuccess | SourceSyncFailure, _BY_STATUS]
SyncOutput = Annotated[SyncSuccess | SyncFailure, _BY_STATUS]
CaptureOutput = Annotated[CaptureSuccess | CaptureFiltered | CaptureFailure, _BY_STATUS]
ProfileOutput = Annotated[ProfileSuccess | ProfileSkipped | ProfileFailure, _BY_STATUS]
SummaryOutput = Annotated[SummarySuccess | SummarySkipped | SummaryFailure, _BY_STATUS]
ExtractionOutput = Annotated[ExtractionSuccess | ExtractionSkipped | ExtractionFailure, _BY_STATUS]
WorkflowOutput = Annotated[
    SourceConnectedOutput
    | SourceSyncOutput
    | SyncOutput
    | CaptureOutput
    | ProfileOutput
    | SummaryOutput
    | ExtractionOutput,
    Field(discriminator="inngest_function_id"),
]

_INPUT: TypeAdapter[WorkflowInput] = TypeAdapter(WorkflowInput)
_OUTPUT: TypeAdapter[WorkflowOutput] = TypeAdapter(WorkflowOutput)


def parse_input(data: object) -> WorkflowInput:
    """Read the input of any function; raises pydantic's ValidationError."""
    return _INPUT.validate_python(data)


def parse_output(data: object, *, function_id: FunctionId) -> WorkflowOutput:
    """Read an output that must belong to the function; raises OutputOfAnotherFunction or pydantic's ValidationError."""
    output = _OUTPUT.validate_python(data)
    if output.inngest_function_id != function_id:
        raise OutputOfAnotherFunction(f"an output of {output.inngest_function_id} was given to a run of {function_id}")
    return output


def error_text(text: str) -> str:
    """Return the text as Postgres can store it: no NUL, no lone surrogate, never empty, at most 1000 characters."""
    storable = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return storable[:MAX_ERROR] if storable.strip() else "no error message"


def failure_output(
    function_id: FunctionId, workflow_input: WorkflowInput, *, error: str, step: str | None = None
) -> WorkflowOutput:
    """Build the failure output of a function from its input; raises InputOfAnotherFunction.

    What the input does not tell is zero, false or empty.
    """
    given = workflow_input.inngest_function_id
    if given != function_id:
        raise InputOfAnotherFunction(f"an input of {given} was given to a run of {function_id}")
    return _failure_of(workflow_input, error_text(error), step)


def _failure_of(given: WorkflowInput, error: str, step: str | None) -> WorkflowOutput:
    match given:
        case CaptureInput():
            return CaptureFailure(source_id=given.source_id, error=error, step=step)
        case ProfileInput():
            return ProfileFailure(actor_id=given.actor_id, error=error, step=step)
        case SummaryInput():
            return SummaryFailure(cluster_id=given.cluster_id, error=error, step=step)
        case ExtractionInput():
            return ExtractionFailure(observation_id=given.observation_id, error=error, step=step)
        case SyncInput():
            return _sync_failure(given, error, step)
        case SourceSyncInput():
            return _source_sync_failure(given, error, step)
        case SourceConnectedInput():
            return _source_connected_failure(given, error, step)
        case _:
            assert_never(given)


def _sync_failure(given: SyncInput, error: str, step: str | None) -> SyncFailure:
    return SyncFailure(
        source_id=given.source_id,
        source_type=given.source_type,
        sync_mode=given.sync_mode,
        items_processed=0,
        items_failed=0,
        embeddings_created=0,
        error=error,
        step=step,
    )


def _source_sync_failure(given: SourceSyncInput, error: str, step: str | None) -> SourceSyncFailure:
    return SourceSyncFailure(
        source_id=given.source_id,
        sync_mode=given.sync_mode,
        repo_full_name=given.source_metadata.repo_full_name,
        files_processed=0,
        files_failed=0,
        timed_out=False,
        error=error,
        step=step,
    )


def _source_connected_failure(given: SourceConnectedInput, error: str, step: str | None) -> SourceConnectedFailure:
    return SourceConnectedFailure(
        source_id=given.source_id,
        repo_full_name=given.source_metadata.repo_full_name,
        sync_triggered=False,
        files_processed=0,
        files_failed=0,
        store_slug="",
        error=error,
        step=step,
    )
