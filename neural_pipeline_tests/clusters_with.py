"""Clusters of so many observations, written by hand: a capture decides by itself what belongs together."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from neural_pipeline.store.sql import record_set
from neural_pipeline_tests.building import NOON

_CLUSTER = """
insert into lightfast_workspace_observation_clusters (workspace_id, topic_label, keywords, summary_generated_at)
values (:workspace_id, :label, cast(:keywords as jsonb), :summarised_at) returning id
"""
_OBSERVATION = """
insert into lightfast_workspace_neural_observations (workspace_id, cluster_id, occurred_at, actor, canonical_actor_id,
  observation_type, title, content, topics, source, source_type, source_id)
values (:workspace_id, :cluster_id, :occurred_at,
  case when cast(:actor as text) is not null then jsonb_build_object('id', '7', 'name', cast(:actor as text)) end,
  :account, :kind, :title, :content, cast(:topics as jsonb), 'github', :kind, neural_nanoid())
"""


def a_cluster(
    connection: Connection,
    observations: int,
    *,
    workspace_id: str = "ws_test",
    label: str = "Fix the checkout",
    keywords: list[str] | None = None,
    summarised_at: datetime | None = None,
) -> int:
    """Make a cluster of so many pushes, an hour apart from noon backwards; return its id."""
    parameters = {"workspace_id": workspace_id, "label": label, "summarised_at": summarised_at}
    id_ = connection.execute(text(_CLUSTER), parameters | {"keywords": record_set(keywords or [])}).scalar_one()
    for n in range(observations):
        an_observation(connection, id_, workspace_id=workspace_id, occurred_at=NOON - timedelta(hours=n))
    return int(id_)


def an_observation(connection: Connection, cluster_id: int, **changes: Any) -> None:
    """Put an observation into a cluster: a push by ada that fixes the checkout, unless said otherwise."""
    fields: dict[str, Any] = {
        "workspace_id": "ws_test",
        "occurred_at": NOON,
        "actor": "ada",
        "account": "github:7",
        "kind": "push",
        "title": "[Push] Fix the checkout",
        "content": "A text.",
        "topics": ["github", "push", "fix"],
    }
    fields |= changes
    topics = None if fields["topics"] is None else record_set(fields["topics"])
    connection.execute(text(_OBSERVATION), fields | {"cluster_id": cluster_id, "topics": topics})
