"""Whose memory a command works on, and with which embedder: what `search` and `reembed` have in common."""

from sqlalchemy import Connection, Engine

from neural_pipeline.cli.output import ExitCode, flat
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.contracts.integrations import (
    EmbeddingSettings,
    InvalidWorkspaceSettings,
    parse_workspace_settings,
)
from neural_pipeline.models.configured import configured_embedder
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.settings import Settings
from neural_pipeline.store.capture_inputs import settings_of
from neural_pipeline.store.workspaces import workspace_ids
from neural_pipeline.workflows.batch_work.recorded_embedding import recorded

_SHOWN = 10


def workspace_meant(connection: Connection, name: str | None) -> str:
    """Return the workspace that is named, or the only one; raises Refusal, which lists them."""
    known = workspace_ids(connection)
    if not known:
        raise Refusal("there is no workspace yet: make one with `neural workspaces create`", ExitCode.INVALID)
    listed = ", ".join(map(flat, known[:_SHOWN])) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    if name is None and len(known) > 1:
        raise Refusal(f"say which workspace is meant: --workspace with one of {listed}")
    if name is not None and name not in known:
        raise Refusal(f"there is no workspace {name[:60]}: there are {listed}", ExitCode.INVALID)
    return known[0] if name is None else name


def embedding_settings(connection: Connection, workspace_id: str) -> EmbeddingSettings:
    """Return what a workspace's settings say of its embedder; raises Refusal where they cannot be read."""
    try:
        return parse_workspace_settings(settings_of(connection, [workspace_id])[workspace_id]).embedding
    except InvalidWorkspaceSettings as invalid:
        raise Refusal(f"workspace {workspace_id} cannot be used: {invalid}", ExitCode.INVALID) from None


def embedder_of(
    engine: Engine, settings: Settings, chosen: EmbeddingSettings, *, workspace_id: str, purpose: str
) -> Embedder:
    """Return the embedder that a workspace has chosen; what it costs is recorded. Raises ModelMisconfigured."""
    return recorded(
        configured_embedder(settings, chosen),
        engine,
        workspace_id=workspace_id,
        function_id=purpose,
        budget=settings.model_daily_tokens,
    )
