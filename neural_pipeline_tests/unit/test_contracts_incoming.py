"""What the inbox holds, and what the lifecycle row of an execution takes from it."""

from typing import Any

import pytest
from pydantic import ValidationError

from neural_pipeline.contracts.incoming import input_of, parse_incoming, run_name

Json = dict[str, Any]
EVENT: Json = {
    "source": "github",
    "sourceType": "pull-request.merged",
    "sourceId": "pr:acme/platform#1:merged",
    "title": "[PR Merged] fix",
    "body": "text",
    "occurredAt": "2024-01-05T10:00:00Z",
    "references": [],
    "metadata": {"repoId": 1, "milestone": None},
}
CASES: list[tuple[Json, Json, str]] = [
    (
        {"inngestFunctionId": "neural.observation.capture", "sourceEvent": EVENT},
        {
            "inngestFunctionId": "neural.observation.capture",
            "sourceId": "pr:acme/platform#1:merged",
            "source": "github",
            "sourceType": "pull-request.merged",
            "title": "[PR Merged] fix",
        },
        "Capture github/pull-request.merged",
    ),
    (
        {
            "inngestFunctionId": "neural.profile.update",
            "actorId": "github:1",
            "observationId": "o1",
            "sourceActor": {"id": "1", "name": "alice"},
        },
        {"inngestFunctionId": "neural.profile.update", "actorId": "github:1", "observationId": "o1"},
        "Update profile: github:1",
    ),
    (
        {"inngestFunctionId": "neural.cluster.summary", "clusterId": "12", "observationCount": 5},
        {"inngestFunctionId": "neural.cluster.summary", "clusterId": "12", "observationCount": 5},
        "Cluster summary: 12",
    ),
    (
        {"inngestFunctionId": "neural.llm-entity-extraction", "observationId": "o1", "contentLength": 250},
        {"inngestFunctionId": "neural.llm-entity-extraction", "observationId": "o1", "contentLength": 250},
        "LLM entities: o1",
    ),
    (
        {
            "inngestFunctionId": "sync.orchestrator",
            "sourceId": "s1",
            "sourceType": "vercel",
            "syncMode": "incremental",
            "syncParams": {"afterSha": "abc"},
        },
        {
            "inngestFunctionId": "sync.orchestrator",
            "sourceId": "s1",
            "sourceType": "vercel",
            "syncMode": "incremental",
            "syncParams": {"afterSha": "abc"},
        },
        "Sync vercel source",
    ),
]


@pytest.mark.parametrize(("data", "_given", "_name"), CASES)
def test_a_payload_is_read_and_written_unchanged(data: Json, _given: Json, _name: str) -> None:
    assert parse_incoming(data).to_json() == data


@pytest.mark.parametrize(("data", "given", "_name"), CASES)
def test_the_input_of_the_row_is_taken_from_the_payload(data: Json, given: Json, _name: str) -> None:
    assert input_of(parse_incoming(data)).to_json() == given


@pytest.mark.parametrize(("data", "_given", "name"), CASES)
def test_the_run_is_named_after_its_payload(data: Json, _given: Json, name: str) -> None:
    assert run_name(parse_incoming(data)) == name


@pytest.mark.parametrize(("data", "_given", "_name"), CASES)
def test_an_unknown_field_is_refused(data: Json, _given: Json, _name: str) -> None:
    with pytest.raises(ValidationError):
        parse_incoming({**data, "surprise": 1})


@pytest.mark.parametrize(("data", "_given", "_name"), CASES)
def test_every_field_but_the_options_is_required(data: Json, _given: Json, _name: str) -> None:
    for key in set(data) - {"sourceActor", "syncMode", "syncParams"}:
        with pytest.raises(ValidationError):
            parse_incoming({name: value for name, value in data.items() if name != key})


@pytest.mark.parametrize("key", ["observationCount", "contentLength"])
def test_counts_are_not_negative(key: str) -> None:
    data = next(data for data, _, _ in CASES if key in data)
    with pytest.raises(ValidationError):
        parse_incoming({**data, key: -1})


def test_an_actor_is_not_needed_for_a_profile() -> None:
    data = {"inngestFunctionId": "neural.profile.update", "actorId": "github:1", "observationId": "o1"}
    assert parse_incoming(data).to_json() == data


def test_a_source_is_synchronised_fully_if_nothing_else_is_said() -> None:
    data = {"inngestFunctionId": "sync.orchestrator", "sourceId": "s1", "sourceType": "github"}
    assert parse_incoming(data).to_json() == {**data, "syncMode": "full", "syncParams": {}}


def test_a_history_that_is_only_imported_cannot_be_synchronised() -> None:
    with pytest.raises(ValidationError):
        parse_incoming({"inngestFunctionId": "sync.orchestrator", "sourceId": "s1", "sourceType": "git"})


def test_a_long_name_is_cut_to_the_width_of_its_column() -> None:
    payload = parse_incoming(
        {"inngestFunctionId": "neural.profile.update", "actorId": "x" * 300, "observationId": "o1"}
    )
    assert run_name(payload) == ("Update profile: " + "x" * 300)[:191]


def test_a_function_that_the_inbox_does_not_feed_is_refused() -> None:
    with pytest.raises(ValidationError):
        parse_incoming({"inngestFunctionId": "source-connected", "sourceId": "s1"})
