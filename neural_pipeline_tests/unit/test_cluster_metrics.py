"""The numbers of D-84: how near an observation was to its cluster, or to the best one that did not suffice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from neural_pipeline.contracts.events import Actor
from neural_pipeline.contracts.memory import Entity, NewObservation
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules
from neural_pipeline.workflows.observation_capture.outcomes import metrics_of
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Memory, decide
from neural_pipeline.workflows.observation_capture.work import CaptureEvent
from neural_pipeline_tests.building import NOON, findings, source_event

ISSUE, OTHER_ISSUE = (Entity("project", number, None, 0.9, number) for number in ("#1", "#2"))
SOMEBODY_ELSE = Actor(id="8", name="bob")


def affinity_of(memory: Memory, source_id: str, entity: Entity, **changes: Any) -> dict[str, Any]:
    event = CaptureEvent(1, "ws", "org", "42", source_event(source_id, **changes))
    [one] = decide([Examined(event, findings(entity))], memory, ClusterRules())
    assert isinstance(one.verdict, NewObservation)
    [tags] = [
        metric.to_json()["tags"]
        for metric in metrics_of(one, cluster_id=9, work_ms=0)
        if metric.type == "cluster_affinity"
    ]
    return tags


def test_with_no_cluster_near_there_is_neither_an_affinity_nor_a_refusal():
    assert affinity_of(Memory(), "a", ISSUE) == {"joined": False, "clusterId": "9"}


def test_a_cluster_that_did_not_suffice_leaves_its_points_and_no_affinity():
    memory = Memory()
    affinity_of(memory, "a", ISSUE)
    tags = affinity_of(memory, "b", OTHER_ISSUE, actor=SOMEBODY_ELSE)
    assert tags == {"joined": False, "bestRejectedScore": 50.0, "clusterId": "9"}


def test_a_cluster_that_is_joined_leaves_its_affinity_and_no_refusal():
    memory = Memory()
    affinity_of(memory, "a", ISSUE)
    affinity_of(memory, "b", OTHER_ISSUE, actor=SOMEBODY_ELSE)
    assert affinity_of(memory, "c", ISSUE) == {"joined": True, "affinityScore": 100.0, "clusterId": "9"}


def test_a_cluster_with_nothing_in_common_is_refused_with_no_points_rather_than_none():
    memory = Memory()
    affinity_of(memory, "a", ISSUE)
    [only] = memory.clusters["ws"].near(NOON, ClusterRules())
    memory.clusters["ws"].put(replace(only, centroid_model="another"))
    tags = affinity_of(memory, "b", OTHER_ISSUE, actor=None, occurred_at=NOON + timedelta(hours=11))
    assert tags == {"joined": False, "bestRejectedScore": 0.0, "clusterId": "9"}
