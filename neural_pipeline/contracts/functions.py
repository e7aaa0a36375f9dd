"""The names of the workflow functions and the vocabulary that their inputs, outputs and metrics share.

The models themselves are in `workflows`, `synchronisation` and `metrics`.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from neural_pipeline.contracts.events import Source
from neural_pipeline.contracts.shape import Shape


class FunctionId(StrEnum):
    """The name of a workflow function in every table."""

    SOURCE_CONNECTED = "source-connected"
    SOURCE_SYNC = "source-sync"
    SYNC_ORCHESTRATOR = "sync.orchestrator"
    OBSERVATION_CAPTURE = "neural.observation.capture"
    PROFILE_UPDATE = "neural.profile.update"
    CLUSTER_SUMMARY = "neural.cluster.summary"
    LLM_ENTITY_EXTRACTION = "neural.llm-entity-extraction"


Count = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; an integer stays an integer in JSON."""

SyncMode = Literal["full", "incremental"]
ConnectedSource = Literal[Source.GITHUB, Source.VERCEL]
"""The providers that an integration connects; a git history is imported, not connected."""


class Succeeded(Shape):
    """What every output of a finished run has."""

    status: Literal["success"] = "success"


class Failed(Shape):
    """What every output of a failed run has; `step` names the step that failed."""

    status: Literal["failure"] = "failure"
    error: str
    step: str | None = None
