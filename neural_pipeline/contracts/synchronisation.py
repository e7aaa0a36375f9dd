"""Inputs and outputs of the three functions that connect and synchronise sources. Spec, 5.3 and 5.4.

The neural functions, and everything that reads an input or an output, are in `workflows`.
"""

from typing import Literal

from pydantic import JsonValue, StrictBool

from neural_pipeline.contracts.events import Source
from neural_pipeline.contracts.functions import ConnectedSource, Count, Failed, FunctionId, Succeeded, SyncMode
from neural_pipeline.contracts.shape import Shape


class RepositoryMetadata(Shape):
    """The repository that a source was connected with."""

    repo_id: str
    repo_full_name: str
    default_branch: str
    installation_id: str
    is_private: StrictBool


class _OfSourceConnected(Shape):
    inngest_function_id: Literal[FunctionId.SOURCE_CONNECTED] = FunctionId.SOURCE_CONNECTED
    source_id: str
    source_type: Literal[Source.GITHUB] = Source.GITHUB


class SourceConnectedInput(_OfSourceConnected):
    """What connecting a source starts from."""

    source_metadata: RepositoryMetadata


class _SourceConnectedResult(_OfSourceConnected):
    repo_full_name: str
    sync_triggered: StrictBool
    files_processed: Count
    files_failed: Count
    store_slug: str


class SourceConnectedSuccess(_SourceConnectedResult, Succeeded):
    """A source was connected."""


class SourceConnectedFailure(_SourceConnectedResult, Failed):
    """A source could not be connected."""


class _OfSourceSync(Shape):
    inngest_function_id: Literal[FunctionId.SOURCE_SYNC] = FunctionId.SOURCE_SYNC
    source_id: str
    source_type: Literal[Source.GITHUB] = Source.GITHUB
    sync_mode: SyncMode


class SourceSyncInput(_OfSourceSync):
    """What the synchronisation of a repository starts from."""

    source_metadata: RepositoryMetadata
    trigger: str
    sync_params: dict[str, JsonValue]


class _SourceSyncResult(_OfSourceSync):
    repo_full_name: str
    files_processed: Count
    files_failed: Count
    timed_out: StrictBool


class SourceSyncSuccess(_SourceSyncResult, Succeeded):
    """A repository was synchronised."""


class SourceSyncFailure(_SourceSyncResult, Failed):
    """A repository could not be synchronised."""


class _OfSync(Shape):
    inngest_function_id: Literal[FunctionId.SYNC_ORCHESTRATOR] = FunctionId.SYNC_ORCHESTRATOR
    source_id: str
    source_type: ConnectedSource
    sync_mode: SyncMode


class SyncInput(_OfSync):
    """What the synchronisation of any source starts from."""

    sync_params: dict[str, JsonValue] | None = None


class _SyncResult(_OfSync):
    items_processed: Count
    items_failed: Count
    embeddings_created: Count


class SyncSuccess(_SyncResult, Succeeded):
    """A source was synchronised."""


class SyncFailure(_SyncResult, Failed):
    """A source could not be synchronised."""
