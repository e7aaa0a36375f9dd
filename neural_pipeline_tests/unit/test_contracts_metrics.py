"""Every kind of metric, compared with the rows that the metrics table holds."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from neural_pipeline.contracts.metrics import MetricType, parse_metric

Json = dict[str, Any]
EVENT: Json = {
    "source": "github",
    "sourceType": "push",
    "observationType": "push",
    "significanceScore": 64,
    "durationMs": 12,
    "classificationFallback": True,
}
CLUSTER: Json = {"clusterId": "12", "isNew": False, "observationCount": 5}


def metric(kind: str, value: int, tags: Json, unit: str = "count") -> Json:
    return {"type": kind, "value": value, "unit": unit, "tags": tags}


SYNC = {"jobType": "sync.orchestrator", "syncMode": "full", "sourceType": "github"}
FULL = [
    metric("job_duration", 1200, {**SYNC, "trigger": "webhook", "outcome": "cancelled"}, "ms"),
    metric("documents_indexed", 7, {**SYNC, "filesProcessed": 9}),
    metric(
        "errors",
        1,
        {
            "jobType": "neural.observation.capture",
            "errorType": "job_failure",
            "trigger": "automatic",
            "sourceType": "git",
            "cause": "worker_lost",
        },
    ),
    metric("observation_captured", 1, EVENT),
    metric("observation_filtered", 1, EVENT),
    metric("observation_duplicate", 1, EVENT),
    metric("observation_below_threshold", 1, EVENT),
    metric("entities_extracted", 2, {"observationId": "o1", "entityCount": 2, "source": "github"}),
    metric("cluster_assigned", 1, CLUSTER),
    metric("cluster_summary_generated", 1, CLUSTER),
    metric("profile_updated", 1, {"actorId": "github:1", "observationId": "o1"}),
    metric("actor_resolution", 1, {"resolved": True, "source": "github", "method": "github_id"}),
    metric("cluster_affinity", 1, {"affinityScore": 63.5, "bestRejectedScore": 40, "joined": True, "clusterId": "12"}),
]
REQUIRED = {
    "job_duration": {"jobType", "trigger"},
    "documents_indexed": {"jobType", "sourceType"},
    "errors": {"jobType", "errorType"},
    "observation_captured": {"source", "sourceType"},
    "observation_filtered": {"source", "sourceType"},
    "observation_duplicate": {"source", "sourceType"},
    "observation_below_threshold": {"source", "sourceType"},
    "entities_extracted": {"observationId", "entityCount"},
    "cluster_assigned": {"clusterId"},
    "cluster_summary_generated": {"clusterId"},
    "profile_updated": {"actorId"},
    "actor_resolution": {"resolved", "source"},
    "cluster_affinity": {"joined"},
}
TAGS = [(data, tag) for data in FULL for tag in data["tags"]]
MEASURED = {"job_duration", "documents_indexed", "entities_extracted"}


def with_tags(data: Json, **tags: Any) -> Json:
    return {**data, "tags": {**data["tags"], **tags}}


def sample(kind: str) -> Json:
    return next(data for data in FULL if data["type"] == kind)


def test_there_are_thirteen_kinds_and_a_model_for_each() -> None:
    assert [parse_metric(data).type for data in FULL] == list(MetricType)
    assert [data["type"] for data in FULL] == [kind.value for kind in MetricType]
    assert len(FULL) == 13


@pytest.mark.parametrize("data", FULL)
def test_json_is_read_and_written_unchanged(data: Json) -> None:
    assert json.dumps(parse_metric(data).to_json(), sort_keys=True) == json.dumps(data, sort_keys=True)


@pytest.mark.parametrize(("data", "tag"), TAGS)
def test_a_tag_may_be_missing_exactly_where_it_is_optional(data: Json, tag: str) -> None:
    rest = {**data, "tags": {name: value for name, value in data["tags"].items() if name != tag}}
    if tag in REQUIRED[data["type"]]:
        with pytest.raises(ValidationError):
            parse_metric(rest)
    else:
        assert parse_metric(rest).to_json() == rest


@pytest.mark.parametrize(("data", "tag"), TAGS)
def test_a_tag_of_another_type_is_refused(data: Json, tag: str) -> None:
    wrong = "1" if isinstance(data["tags"][tag], int | float) else 1
    with pytest.raises(ValidationError):
        parse_metric(with_tags(data, **{tag: wrong}))


@pytest.mark.parametrize("data", FULL)
def test_an_unknown_tag_or_field_is_refused(data: Json) -> None:
    with pytest.raises(ValidationError):
        parse_metric(with_tags(data, surprise=1))
    with pytest.raises(ValidationError):
        parse_metric({**data, "surprise": 1})


@pytest.mark.parametrize("data", FULL)
def test_the_unit_belongs_to_the_kind(data: Json) -> None:
    with pytest.raises(ValidationError):
        parse_metric({**data, "unit": "count" if data["unit"] == "ms" else "ms"})


@pytest.mark.parametrize("data", FULL)
def test_a_happening_counts_one_and_a_measure_any_number_from_zero(data: Json) -> None:
    if data["type"] in MEASURED:
        assert parse_metric({**data, "value": 0}).value == 0
        assert parse_metric({**data, "value": 2**31 - 1}).value == 2**31 - 1
        refused: list[object] = [-1, 1.5, "1", True, 2**31]
    else:
        refused = [0, 2]
    for value in refused:
        with pytest.raises(ValidationError):
            parse_metric({**data, "value": value})


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
def test_a_duration_names_how_the_run_ended(outcome: str) -> None:
    assert parse_metric(with_tags(sample("job_duration"), outcome=outcome)).to_json()["tags"]["outcome"] == outcome


@pytest.mark.parametrize(
    ("kind", "tag", "wrong"),
    [
        ("job_duration", "outcome", "running"),
        ("job_duration", "jobType", "neural.unknown"),
        ("job_duration", "trigger", "config-change"),
        ("job_duration", "syncMode", "half"),
        ("errors", "cause", "bad luck"),
        ("observation_captured", "source", "gitlab"),
        ("observation_captured", "durationMs", -1),
        ("entities_extracted", "entityCount", -1),
        ("actor_resolution", "method", "telepathy"),
        ("cluster_affinity", "affinityScore", -0.1),
        ("cluster_affinity", "affinityScore", 100.1),
        ("cluster_affinity", "affinityScore", float("nan")),
        ("cluster_affinity", "bestRejectedScore", 101),
        ("cluster_affinity", "bestRejectedScore", -1),
    ],
)
def test_a_tag_outside_its_range_is_refused(kind: str, tag: str, wrong: object) -> None:
    with pytest.raises(ValidationError):
        parse_metric(with_tags(sample(kind), **{tag: wrong}))


@pytest.mark.parametrize("score", [0, 59.6, 100])
def test_the_affinity_of_a_new_cluster_is_absent_and_the_best_rejected_one_is_kept(score: float) -> None:
    tags = {"affinityScore": None, "bestRejectedScore": score, "joined": False, "clusterId": "13"}
    stored = parse_metric(metric("cluster_affinity", 1, tags)).to_json()["tags"]
    assert stored == {"bestRejectedScore": score, "joined": False, "clusterId": "13"}


@pytest.mark.parametrize("method", ["email", "username", "github_id", "commit_sha", "none"])
def test_an_actor_may_be_found_by_every_specified_method(method: str) -> None:
    assert parse_metric(with_tags(sample("actor_resolution"), method=method)).to_json()["tags"]["method"] == method


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        parse_metric(metric("surprises", 1, {}))
