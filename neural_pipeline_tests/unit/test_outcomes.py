"""What is recorded of a verdict: output, metrics and child executions."""

from dataclasses import replace
from typing import Any

import pytest

from neural_pipeline.contracts.events import Actor, Source
from neural_pipeline.contracts.incoming import ExtractionPayload, ProfilePayload, SummaryPayload
from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.contracts.memory import Entity, NewObservation
from neural_pipeline.contracts.metrics import parse_metric
from neural_pipeline.workflows.batch_work.committing import cause_of
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules
from neural_pipeline.workflows.observation_capture.outcomes import ChildRules, children_of, metrics_of, output_of
from neural_pipeline.workflows.observation_capture.verdicts import Decided, Examined, Memory, decide
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Filtered
from neural_pipeline_tests.building import findings, source_event

ADA = Actor(id="7", name="ada")
FAILURE = Failure("embed", "too long", "ValueError", "a stack")


def observed(*, memory: Memory | None = None, source_id: str = "a", **changes: Any) -> NewObservation:
    entities = (Entity("engineer", "@ada", None, 0.9, "by @ada"), Entity("project", "#1", None, 0.9, "#1"))
    event = CaptureEvent(1, "ws", "org", "42", source_event(source_id, **changes))
    [one] = decide([Examined(event, findings(*entities))], memory or Memory(), ClusterRules())
    assert isinstance(one.verdict, NewObservation)
    return one.verdict


def decided(verdict: NewObservation | Filtered | Failure, **changes: Any) -> Decided:
    return Decided(CaptureEvent(1, "ws", "org", "42", source_event("a", **changes)), verdict)


def metrics(verdict: NewObservation | Filtered | Failure, **changes: Any) -> dict[str, dict[str, Any]]:
    found = [metric.to_json() for metric in metrics_of(decided(verdict, **changes), cluster_id=9, work_ms=12)]
    assert all(parse_metric(metric) for metric in found)
    by_type = {str(metric.pop("type")): metric for metric in found}
    assert len(by_type) == len(found), "each kind is written once"
    return by_type


def test_an_observation_s_output_names_it_and_its_cluster():
    one = observed()
    assert output_of(decided(one), cluster_id=9).to_json() == {
        "inngestFunctionId": "neural.observation.capture",
        "status": "success",
        "observationId": one.external_id,
        "observationType": "pull-request.opened",
        "significanceScore": 60,
        "entitiesExtracted": 2,
        "clusterId": "9",
        "clusterIsNew": True,
    }


@pytest.mark.parametrize(
    ("verdict", "rest"),
    [
        (Filtered("duplicate"), {"reason": "duplicate"}),
        (Filtered("event_not_allowed"), {"reason": "event_not_allowed"}),
        (Filtered("below_threshold", 12), {"reason": "below_threshold", "significanceScore": 12}),
        (Filtered("below_threshold", 0), {"reason": "below_threshold", "significanceScore": 0}),
    ],
)
def test_the_output_of_a_filtered_event_tells_the_reason(verdict: Filtered, rest: dict[str, Any]):
    output = output_of(decided(verdict), cluster_id=None).to_json()
    expected = {"inngestFunctionId": "neural.observation.capture", "status": "filtered", "sourceId": "a"}
    assert output == expected | rest


def test_the_output_of_a_failure_tells_step_and_error():
    assert output_of(decided(FAILURE), cluster_id=None).to_json() == {
        "inngestFunctionId": "neural.observation.capture",
        "status": "failure",
        "sourceId": "a",
        "error": "too long",
        "step": "embed",
    }


def test_a_refusal_is_told_from_an_error_of_the_code():
    assert cause_of(FAILURE) is Cause.CODE_ERROR
    assert cause_of(replace(FAILURE, rejected=True)) is Cause.REJECTED


def test_an_observation_has_its_five_metrics_once_each():
    one = observed()
    assert metrics(one) == {
        "actor_resolution": {
            "value": 1,
            "unit": "count",
            "tags": {"resolved": True, "source": "github", "method": "github_id"},
        },
        "cluster_affinity": {"value": 1, "unit": "count", "tags": {"joined": False, "clusterId": "9"}},
        "observation_captured": {
            "value": 1,
            "unit": "count",
            "tags": {
                "source": "github",
                "sourceType": "pull-request.opened",
                "observationType": "pull-request.opened",
                "significanceScore": 60,
                "durationMs": 12,
            },
        },
        "entities_extracted": {
            "value": 2,
            "unit": "count",
            "tags": {"observationId": one.external_id, "entityCount": 2, "source": "github"},
        },
        "cluster_assigned": {
            "value": 1,
            "unit": "count",
            "tags": {"clusterId": "9", "isNew": True, "observationCount": 1},
        },
    }


def test_the_affinity_of_a_join_and_the_best_refusal_of_a_beginning_are_told():
    memory = Memory()
    observed(memory=memory)
    joined = metrics(observed(memory=memory, source_id="b"))["cluster_affinity"]["tags"]
    assert joined == {"affinityScore": 100.0, "joined": True, "clusterId": "9"}
    refused = replace(observed(), best_rejected=31.5)
    assert metrics(refused)["cluster_affinity"]["tags"]["bestRejectedScore"] == 31.5


@pytest.mark.parametrize(
    ("source", "actor", "resolved", "method"),
    [
        (Source.GITHUB, ADA, True, "github_id"),
        (Source.GITHUB, Actor(id="ada", name="ada"), False, "username"),
        (Source.VERCEL, Actor(id="ada", name="ada"), False, "username"),
        (Source.GIT, Actor(id="a@acme.io", name="ada", email="a@acme.io"), True, "email"),
    ],
)
def test_an_actor_counts_as_resolved_only_by_an_id_that_tells_a_person(
    source: Source, actor: Actor, resolved: bool, method: str
):
    tags = metrics(observed(source=source, actor=actor))["actor_resolution"]["tags"]
    assert tags == {"resolved": resolved, "source": source.value, "method": method}


def test_where_nobody_acted_nobody_was_to_be_found():
    assert metrics(observed(actor=None)).keys() == metrics(observed()).keys() - {"actor_resolution"}


@pytest.mark.parametrize(
    ("verdict", "kind", "score"),
    [
        (Filtered("duplicate"), "observation_duplicate", None),
        (Filtered("event_not_allowed"), "observation_filtered", None),
        (Filtered("below_threshold", 0), "observation_below_threshold", 0),
    ],
)
def test_a_filtered_event_has_the_one_metric_of_its_reason(verdict: Filtered, kind: str, score: int | None):
    [(found, metric)] = metrics(verdict).items()
    assert found == kind
    assert metric["tags"].get("significanceScore") == score
    assert (metric["tags"]["source"], metric["tags"]["durationMs"]) == ("github", 12)


def test_a_failure_has_no_metric_of_its_own():
    assert metrics(FAILURE) == {}


def test_an_observation_asks_for_profile_summary_and_extraction():
    one = observed(actor=ADA, body="x" * 201)
    assert list(children_of(one, cluster_id=9, rules=ChildRules())) == [
        ProfilePayload(actor_id="github:7", observation_id=one.external_id, source_actor=ADA),
        SummaryPayload(cluster_id="9", observation_count=1),
        ExtractionPayload(observation_id=one.external_id, content_length=201),
    ]


def test_no_profile_is_asked_for_without_an_actor_and_no_model_for_a_short_text():
    [child] = children_of(observed(actor=None, body="x" * 200), cluster_id=9, rules=ChildRules())
    assert isinstance(child, SummaryPayload)


def test_a_summary_is_asked_for_with_the_real_size_of_the_cluster():
    memory = Memory()
    sizes = [
        child.observation_count
        for source_id in "abc"
        for child in children_of(observed(memory=memory, source_id=source_id), cluster_id=9, rules=ChildRules())
        if isinstance(child, SummaryPayload)
    ]
    assert sizes == [1, 2, 3]
