"""Clusters in the database: what is written is read again, and a capture does not undo a move to another embedder."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, text

from neural_pipeline.contracts.memory import Cluster, NewObservation
from neural_pipeline.store.capture_inputs import clusters_near
from neural_pipeline.store.clusters import keep_clusters
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules, ClusterSet
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Memory, decide
from neural_pipeline.workflows.observation_capture.work import CaptureEvent
from neural_pipeline_tests.building import NOON, findings, source_event

WEEK = timedelta(days=7)


def observed(source_id: str, *clusters: Cluster, **changes: Any) -> NewObservation:
    event = CaptureEvent(1, "ws_test", "org_test", "42", source_event(source_id, **changes))
    memory = Memory(clusters={"ws_test": ClusterSet(clusters)})
    [one] = decide([Examined(event, findings())], memory, ClusterRules())
    assert isinstance(one.verdict, NewObservation)
    return one.verdict


def stored(connection: Connection) -> Cluster:
    [found] = clusters_near(connection, [("ws_test", NOON)], lookback=WEEK)["ws_test"]
    return found


def written(connection: Connection, *observations: NewObservation) -> Cluster:
    keep_clusters(connection, observations)
    return stored(connection)


def picture(cluster: Cluster) -> dict[str, Any]:
    fields = {name: getattr(cluster, name) for name in cluster.__dataclass_fields__}
    return fields | {"centroid": cluster.centroid.tolist()}


def reembedded(connection: Connection) -> list[float]:
    """Move the centroids to another model, as `neural reembed` does."""
    connection.execute(
        text("update lightfast_workspace_observation_clusters set centroid = '[0,1,0]', centroid_model = 'better'")
    )
    return [0.0, 1.0, 0.0]


def test_a_cluster_is_read_as_it_was_written(scratch: Connection):
    begun = observed("a")
    assert picture(written(scratch, begun)) == picture(begun.cluster)
    assert begun.cluster.centroid_model == "made-up"


def test_a_cluster_that_was_read_joined_and_written_has_moved(scratch: Connection):
    joined = observed("b", written(scratch, observed("a")), occurred_at=NOON + timedelta(hours=1))
    assert picture(written(scratch, joined)) == picture(joined.cluster)
    assert joined.cluster.count == 2


def test_a_capture_that_had_read_a_cluster_before_it_was_reembedded_leaves_the_new_centroid(scratch: Connection):
    joined = observed("b", written(scratch, observed("a")))
    centroid = reembedded(scratch)
    after = written(scratch, joined)
    assert (after.count, after.centroid_model, after.centroid.tolist()) == (2, "better", centroid)


def test_an_observation_of_the_old_model_that_joins_a_reembedded_cluster_leaves_its_centroid(scratch: Connection):
    written(scratch, observed("a"))
    centroid = reembedded(scratch)
    joined = observed("b", stored(scratch))
    assert not joined.cluster_is_new
    after = written(scratch, joined)
    assert (after.count, after.centroid_model, after.centroid.tolist()) == (2, "better", centroid)


def test_the_centroid_moves_on_with_the_model_it_was_moved_to(scratch: Connection):
    written(scratch, observed("a"))
    reembedded(scratch)
    now = stored(scratch)
    nearer = replace(now, count=2, centroid=np.array([0, 0.5, 0.5], dtype=np.float32))
    assert written(scratch, replace(observed("b"), cluster=nearer)).centroid.tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("missing", ["centroid = null, centroid_model = null", "centroid_model = null"])
def test_a_cluster_whose_model_nobody_knows_is_joined_and_stays_as_it_is(scratch: Connection, missing: str):
    written(scratch, observed("a"))
    scratch.execute(text(f"update lightfast_workspace_observation_clusters set {missing}"))
    before = stored(scratch)
    after = written(scratch, observed("b", before))
    assert (after.count, after.centroid_model, after.centroid.tolist()) == (2, None, before.centroid.tolist())


def test_a_better_name_is_stored(scratch: Connection):
    pushed = replace(observed("a").cluster, label="typo", keywords=("github", "push"))
    assert written(scratch, replace(observed("a"), cluster=pushed)).label == "typo"
    opened = replace(observed("b").cluster, external_id=pushed.external_id, label="Fix the checkout")
    assert written(scratch, replace(observed("b"), cluster=opened)).label == "Fix the checkout"
