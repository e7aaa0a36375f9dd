"""The embed step: each workspace's events by the embedder that its settings choose (D-73)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from neural_pipeline.contracts.integrations import EmbeddingSettings, parse_workspace_settings
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.workflows.batch_work.steps import failure_of
from neural_pipeline.workflows.observation_capture.analysis import EMBED, Embeddings, embed
from neural_pipeline.workflows.observation_capture.work import CaptureEvent


def embed_by_workspace(
    events: Sequence[CaptureEvent],
    settings: Mapping[str, object],
    embedder_of: Callable[[str, EmbeddingSettings], Embedder],
) -> Embeddings:
    """Embed the views of each event; `settings` are those of the workspaces by id, as stored.

    Where a workspace chooses an embedder that cannot be had, its events fail, and no retry heals that.
    """
    result = Embeddings.empty()
    for workspace_id, group in groupby(sorted(events, key=_workspace), _workspace):
        part = list(group)
        try:
            chosen = embedder_of(workspace_id, parse_workspace_settings(settings.get(workspace_id)).embedding)
        except Exception as error:
            failure = failure_of(error, step=EMBED, rejected=True)
            result.failures.update({event.id: failure for event in part})
        else:
            embed(part, chosen, into=result)
    return result


def _workspace(event: CaptureEvent) -> str:
    return event.workspace_id
