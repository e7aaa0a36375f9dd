"""Every input and output of every function, compared with the JSON that the workflow runs table holds."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from neural_pipeline.contracts.workflows import (
    FunctionId,
    InputOfAnotherFunction,
    OutputOfAnotherFunction,
    failure_output,
    parse_input,
    parse_output,
)

Json = dict[str, Any]

REPOSITORY: Json = {
    "repoId": "1",
    "repoFullName": "acme/platform",
    "defaultBranch": "main",
    "installationId": "7",
    "isPrivate": True,
}
SOURCE: Json = {"sourceId": "s1", "sourceType": "github"}
FILES: Json = {"filesProcessed": 3, "filesFailed": 0}
ITEMS: Json = {"itemsProcessed": 3, "itemsFailed": 1, "embeddingsCreated": 9}
FAILED: Json = {"status": "failure", "error": "boom", "step": "store"}

INPUTS: dict[FunctionId, Json] = {
    FunctionId.SOURCE_CONNECTED: {**SOURCE, "sourceMetadata": REPOSITORY},
    FunctionId.SOURCE_SYNC: {
        **SOURCE,
        "sourceMetadata": REPOSITORY,
        "syncMode": "full",
        "trigger": "manual",
        "syncParams": {"afterSha": None},
    },
    FunctionId.SYNC_ORCHESTRATOR: {
        "sourceId": "s1",
        "sourceType": "vercel",
        "syncMode": "incremental",
        "syncParams": {"changedFiles": [{"path": "a"}]},
    },
    FunctionId.OBSERVATION_CAPTURE: {
        "sourceId": "push:acme/platform:1",
        "source": "github",
        "sourceType": "push",
        "title": "[Push] fix",
    },
    FunctionId.PROFILE_UPDATE: {"actorId": "github:1", "observationId": "o1"},
    FunctionId.CLUSTER_SUMMARY: {"clusterId": "12", "observationCount": 5},
    FunctionId.LLM_ENTITY_EXTRACTION: {"observationId": "o1", "contentLength": 0},
}
CONNECTED: Json = {**SOURCE, "repoFullName": "acme/platform", "syncTriggered": True, **FILES, "storeSlug": "docs"}
SYNCED: Json = {**SOURCE, "repoFullName": "acme/platform", "syncMode": "full", **FILES, "timedOut": False}
ORCHESTRATED: Json = {**SOURCE, "syncMode": "full", **ITEMS}
OUTPUTS: list[tuple[FunctionId, Json]] = [
    (FunctionId.SOURCE_CONNECTED, {**CONNECTED, "status": "success"}),
    (FunctionId.SOURCE_CONNECTED, {**CONNECTED, **FAILED}),
    (FunctionId.SOURCE_SYNC, {**SYNCED, "status": "success"}),
    (FunctionId.SOURCE_SYNC, {**SYNCED, **FAILED}),
    (FunctionId.SYNC_ORCHESTRATOR, {**ORCHESTRATED, "status": "success"}),
    (FunctionId.SYNC_ORCHESTRATOR, {**ORCHESTRATED, **FAILED}),
    (
        FunctionId.OBSERVATION_CAPTURE,
        {
            "status": "success",
            "observationId": "o1",
            "observationType": "push",
            "significanceScore": 64,
            "entitiesExtracted": 2,
            "clusterId": "12",
            "clusterIsNew": False,
        },
    ),
    (
        FunctionId.OBSERVATION_CAPTURE,
        {"status": "filtered", "reason": "below_threshold", "sourceId": "p", "significanceScore": 36},
    ),
    (FunctionId.OBSERVATION_CAPTURE, {**FAILED, "sourceId": "p"}),
    (
        FunctionId.PROFILE_UPDATE,
        {"status": "success", "actorId": "github:1", "observationCount": 3, "isNewProfile": True},
    ),
    (FunctionId.PROFILE_UPDATE, {"status": "skipped", "actorId": "github:1", "reason": "superseded"}),
    (FunctionId.PROFILE_UPDATE, {**FAILED, "actorId": "github:1"}),
    (
        FunctionId.CLUSTER_SUMMARY,
        {"status": "success", "clusterId": "12", "summaryGenerated": True, "keyTopics": ["auth"]},
    ),
    (FunctionId.CLUSTER_SUMMARY, {"status": "skipped", "clusterId": "12", "reason": "no_observations"}),
    (
        FunctionId.CLUSTER_SUMMARY,
        {"status": "skipped", "clusterId": "12", "reason": "budget_exhausted", "detail": "1000 of 1000 tokens"},
    ),
    (FunctionId.CLUSTER_SUMMARY, {**FAILED, "clusterId": "12"}),
    (
        FunctionId.LLM_ENTITY_EXTRACTION,
        {"status": "success", "observationId": "o1", "entitiesExtracted": 4, "entitiesStored": 3},
    ),
    (
        FunctionId.LLM_ENTITY_EXTRACTION,
        {"status": "skipped", "observationId": "o1", "reason": "observation_not_found"},
    ),
    (
        FunctionId.LLM_ENTITY_EXTRACTION,
        {"status": "skipped", "observationId": "o1", "reason": "budget_exhausted", "detail": "1000 of 1000 tokens"},
    ),
    (FunctionId.LLM_ENTITY_EXTRACTION, {**FAILED, "observationId": "o1"}),
]
OPTIONAL = {"step", "keyTopics", "detail"}
OPTIONAL_HERE = {
    ("sync.orchestrator", None, "syncParams"),
    ("neural.observation.capture", "filtered", "significanceScore"),
    ("neural.llm-entity-extraction", "skipped", "observationId"),
}
ALTERNATIVES = [
    (FunctionId.OBSERVATION_CAPTURE, "filtered", ["duplicate", "event_not_allowed", "below_threshold"]),
    (FunctionId.PROFILE_UPDATE, "skipped", ["no_observations", "superseded"]),
    (
        FunctionId.CLUSTER_SUMMARY,
        "skipped",
        ["below_threshold", "summary_recent", "cluster_not_found", "no_observations", "budget_exhausted", "superseded"],
    ),
    (
        FunctionId.LLM_ENTITY_EXTRACTION,
        "skipped",
        ["observation_not_found", "content_too_short", "budget_exhausted", "superseded"],
    ),
]


def named(function_id: FunctionId, fields: Json) -> Json:
    return {"inngestFunctionId": function_id.value, **fields}


ALL_INPUTS = [named(function_id, fields) for function_id, fields in INPUTS.items()]
ALL_OUTPUTS = [named(function_id, fields) for function_id, fields in OUTPUTS]


def output_of(data: Json) -> Any:
    return parse_output(data, function_id=FunctionId(data["inngestFunctionId"]))


def parsed(data: Json) -> Any:
    return output_of(data) if "status" in data else parse_input(data)


def is_optional(data: Json, key: str) -> bool:
    where = (data["inngestFunctionId"], data.get("status"), key)
    return where in OPTIONAL_HERE or (key in OPTIONAL and "status" in data)


def keys_where(chosen: Callable[[Json, str], bool]) -> list[Any]:
    return [
        pytest.param(data, key, id=f"{data['inngestFunctionId']}-{data.get('status', 'input')}-{key}")
        for data in ALL_INPUTS + ALL_OUTPUTS
        for key in data
        if key not in ("inngestFunctionId", "status") and chosen(data, key)
    ]


def is_count(data: Json, key: str) -> bool:
    return type(data[key]) is int and key != "significanceScore"


def has_one_value(data: Json, key: str) -> bool:
    return key == "sourceType" and data["inngestFunctionId"] in ("source-connected", "source-sync")


def test_the_names_of_the_functions_are_those_of_the_tables() -> None:
    assert [function_id.value for function_id in FunctionId] == [
        "source-connected",
        "source-sync",
        "sync.orchestrator",
        "neural.observation.capture",
        "neural.profile.update",
        "neural.cluster.summary",
        "neural.llm-entity-extraction",
    ]


@pytest.mark.parametrize("function_id", FunctionId)
def test_every_function_has_an_input_a_success_and_a_failure(function_id: FunctionId) -> None:
    statuses = {output_of(data).status for data in ALL_OUTPUTS if data["inngestFunctionId"] == function_id}
    assert parse_input(named(function_id, INPUTS[function_id])).inngest_function_id is function_id
    assert statuses >= {"success", "failure"}


@pytest.mark.parametrize("data", ALL_INPUTS + ALL_OUTPUTS)
def test_json_is_read_and_written_unchanged(data: Json) -> None:
    assert json.dumps(parsed(data).to_json(), sort_keys=True) == json.dumps(data, sort_keys=True)


@pytest.mark.parametrize(("data", "key"), keys_where(lambda data, key: not has_one_value(data, key)))
def test_a_key_may_be_missing_exactly_where_it_is_optional(data: Json, key: str) -> None:
    rest = {name: value for name, value in data.items() if name != key}
    if is_optional(data, key):
        assert parsed(rest).to_json() == rest
    else:
        with pytest.raises(ValidationError):
            parsed(rest)


@pytest.mark.parametrize("data", ALL_INPUTS)
def test_an_input_must_name_a_known_function(data: Json) -> None:
    for function_id in (None, "neural.unknown"):
        with pytest.raises(ValidationError):
            parse_input({**data, "inngestFunctionId": function_id})
    with pytest.raises(ValidationError):
        parse_input({key: value for key, value in data.items() if key != "inngestFunctionId"})


@pytest.mark.parametrize("key", ["inngestFunctionId", "status"])
@pytest.mark.parametrize("data", ALL_OUTPUTS)
def test_an_output_must_name_a_known_function_and_status(data: Json, key: str) -> None:
    function_id = FunctionId(data["inngestFunctionId"])
    with pytest.raises(ValidationError):
        parse_output({**data, key: "unknown"}, function_id=function_id)
    with pytest.raises(ValidationError):
        parse_output({name: value for name, value in data.items() if name != key}, function_id=function_id)


@pytest.mark.parametrize("data", ALL_INPUTS + ALL_OUTPUTS)
def test_a_field_that_the_tables_do_not_know_is_refused(data: Json) -> None:
    with pytest.raises(ValidationError):
        parsed({**data, "surprise": 1})


@pytest.mark.parametrize(("data", "key"), keys_where(lambda _data, _key: True))
def test_a_value_of_another_type_is_refused(data: Json, key: str) -> None:
    wrong = "1" if isinstance(data[key], int) else 1
    with pytest.raises(ValidationError):
        parsed({**data, key: wrong})


@pytest.mark.parametrize(("data", "key"), keys_where(is_count))
def test_counts_are_whole_and_not_negative_and_booleans_are_no_counts(data: Json, key: str) -> None:
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValidationError):
            parsed({**data, key: wrong})


@pytest.mark.parametrize("wrong", [True, float("nan"), float("inf"), "64"])
def test_a_significance_score_is_a_finite_number(wrong: object) -> None:
    data = next(data for data in ALL_OUTPUTS if data.get("significanceScore") == 64)
    assert output_of({**data, "significanceScore": 64.5}).significance_score == 64.5
    with pytest.raises(ValidationError):
        output_of({**data, "significanceScore": wrong})


@pytest.mark.parametrize(("function_id", "status", "reasons"), ALTERNATIVES)
def test_reasons_are_the_specified_ones(function_id: FunctionId, status: str, reasons: list[str]) -> None:
    data = next(named(f, fields) for f, fields in OUTPUTS if (f, fields["status"]) == (function_id, status))
    assert [output_of({**data, "reason": reason}).reason for reason in reasons] == reasons
    with pytest.raises(ValidationError):
        output_of({**data, "reason": "no particular reason"})


@pytest.mark.parametrize(("own", "other"), itertools.permutations(FunctionId, 2))
def test_an_output_of_another_function_is_refused(own: FunctionId, other: FunctionId) -> None:
    for data in ALL_OUTPUTS:
        if data["inngestFunctionId"] == other:
            with pytest.raises(OutputOfAnotherFunction, match=rf"^an output of {other} was given to a run of {own}$"):
                parse_output(data, function_id=own)


@pytest.mark.parametrize("function_id", FunctionId)
def test_the_failure_of_every_function_is_built_from_its_input(function_id: FunctionId) -> None:
    given = INPUTS[function_id]
    failure = failure_output(function_id, parse_input(named(function_id, given)), error="boom", step="load").to_json()
    assert output_of(failure).to_json() == failure
    assert (failure["status"], failure["error"], failure["step"]) == ("failure", "boom", "load")
    shared = set(given) & set(failure)
    assert shared
    assert {key: failure[key] for key in shared} == {key: given[key] for key in shared}
    told = {"inngestFunctionId", "status", "error", "step", *shared}
    untold = {key: value for key, value in failure.items() if key not in told}
    assert untold.pop("repoFullName", "acme/platform") == "acme/platform"
    assert not any(untold.values())


def test_a_failure_without_a_step_has_no_step_key() -> None:
    given = parse_input(named(FunctionId.PROFILE_UPDATE, INPUTS[FunctionId.PROFILE_UPDATE]))
    assert failure_output(FunctionId.PROFILE_UPDATE, given, error="boom", step=None).to_json() == {
        "inngestFunctionId": "neural.profile.update",
        "status": "failure",
        "actorId": "github:1",
        "error": "boom",
    }


@pytest.mark.parametrize(("own", "other"), itertools.permutations(FunctionId, 2))
def test_a_failure_is_not_built_from_the_input_of_another_function(own: FunctionId, other: FunctionId) -> None:
    with pytest.raises(InputOfAnotherFunction, match=rf"^an input of {other} was given to a run of {own}$"):
        failure_output(own, parse_input(named(other, INPUTS[other])), error="boom", step=None)


@pytest.mark.parametrize("function_id", FunctionId)
def test_the_error_of_a_failure_is_bounded(function_id: FunctionId) -> None:
    given = parse_input(named(function_id, INPUTS[function_id]))
    failure = failure_output(function_id, given, error="x" * 5000, step=None)
    assert failure.to_json()["error"] == "x" * 1000


def test_inputs_and_outputs_are_immutable() -> None:
    with pytest.raises(ValidationError):
        parse_input(ALL_INPUTS[0]).source_id = "other"
