"""Settings of a workspace and configurations of its sources, read as others write them."""

from typing import Any

import pytest
from pydantic import ValidationError

from neural_pipeline.contracts.integrations import (
    InvalidWorkspaceSettings,
    Subscription,
    parse_source_config,
    parse_workspace_settings,
)

Json = dict[str, Any]
EMBEDDING: Json = {
    "indexName": "lightfast-v1",
    "namespaceName": "acme:ws_main",
    "embeddingDim": 1024,
    "embeddingModel": "embed-english-v3.0",
    "embeddingProvider": "cohere",
    "pineconeMetric": "cosine",
    "pineconeCloud": "aws",
    "pineconeRegion": "us-east-1",
    "chunkMaxTokens": 512,
    "chunkOverlap": 50,
}
SETTINGS: Json = {
    "version": 1,
    "embedding": EMBEDDING,
    "repositories": {"r1": {"enabled": True}},
    "defaults": {"patterns": ["**/*.md"], "ignore": ["dist/**"]},
    "features": {"codeIndexing": True, "multiLanguage": False},
}
GITHUB: Json = {
    "version": 1,
    "sourceType": "github",
    "type": "repository",
    "installationId": "7",
    "repoId": "1",
    "repoName": "platform",
    "repoFullName": "acme/platform",
    "defaultBranch": "main",
    "isPrivate": False,
    "isArchived": False,
    "sync": {"branches": ["main"], "paths": ["docs/**"], "events": ["push", "issues"], "autoSync": True},
    "status": {"configStatus": "configured", "configPath": "lightfast.yml", "lastConfigCheck": "2025-12-17T00:00:00Z"},
}
VERCEL: Json = {
    "version": 1,
    "sourceType": "vercel",
    "type": "project",
    "projectId": "prj_1",
    "projectName": "web",
    "teamId": "team_1",
    "teamSlug": "acme",
    "configurationId": "icfg_1",
    "sync": {"events": ["deployment.ready"], "autoSync": False},
}
OPTIONAL = {"status", "teamId", "teamSlug"}


def settings_with(**embedding: Any) -> Json:
    return {**SETTINGS, "embedding": {**EMBEDDING, **embedding}}


def test_settings_are_read_and_written_unchanged() -> None:
    assert parse_workspace_settings(SETTINGS).to_json() == SETTINGS


def test_what_settings_leave_out_has_the_specified_default() -> None:
    settings = parse_workspace_settings({"version": 1, "embedding": {"namespaceName": "acme:ws_main"}})
    assert settings.to_json() == {"version": 1, "embedding": EMBEDDING}


def test_the_namespace_has_no_default() -> None:
    with pytest.raises(
        InvalidWorkspaceSettings, match=r"^workspace settings: embedding\.namespaceName: Field required$"
    ):
        parse_workspace_settings({"version": 1, "embedding": {}})


def test_another_dimension_and_provider_are_read() -> None:
    embedding = parse_workspace_settings(settings_with(embeddingDim=256, embeddingProvider="hashing")).embedding
    assert (embedding.embedding_dim, embedding.embedding_provider) == (256, "hashing")


@pytest.mark.parametrize(
    ("version", "said"),
    [(2, "2"), (0, "0"), ("1", "'1'"), (None, "None"), (True, "True"), ("a\nb", r"'a\nb'"), ("x" * 99, "'" + "x" * 39)],
)
def test_another_version_is_refused_in_one_clear_line(version: object, said: str) -> None:
    with pytest.raises(InvalidWorkspaceSettings) as refused:
        parse_workspace_settings({**SETTINGS, "version": version})
    assert str(refused.value) == f"workspace settings have version {said}, this program reads version 1"


def test_settings_without_a_version_are_refused_as_such() -> None:
    with pytest.raises(InvalidWorkspaceSettings) as refused:
        parse_workspace_settings({"embedding": EMBEDDING})
    assert str(refused.value) == "workspace settings have no version, this program reads version 1"


@pytest.mark.parametrize("data", [None, "text", 1, []])
def test_settings_that_are_no_object_are_refused(data: object) -> None:
    with pytest.raises(InvalidWorkspaceSettings, match=r"^workspace settings are not a JSON object$"):
        parse_workspace_settings(data)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("embeddingDim", 0),
        ("embeddingDim", 16_001),
        ("embeddingDim", "1024"),
        ("chunkMaxTokens", 0),
        ("chunkOverlap", -1),
        ("chunkOverlap", 1.5),
        ("indexName", ""),
        ("namespaceName", ""),
        ("embeddingModel", ""),
        ("embeddingProvider", ""),
        ("pineconeMetric", "manhattan"),
    ],
)
def test_an_embedding_setting_out_of_range_is_refused_by_its_name(field: str, wrong: object) -> None:
    with pytest.raises(InvalidWorkspaceSettings, match=rf"^workspace settings: embedding\.{field}: "):
        parse_workspace_settings(settings_with(**{field: wrong}))


def test_chunks_may_not_overlap_entirely() -> None:
    parse_workspace_settings(settings_with(chunkMaxTokens=51, chunkOverlap=50))
    with pytest.raises(InvalidWorkspaceSettings, match="chunkOverlap must be smaller than chunkMaxTokens"):
        parse_workspace_settings(settings_with(chunkMaxTokens=50, chunkOverlap=50))


def test_the_reason_of_a_refusal_is_one_short_line() -> None:
    with pytest.raises(InvalidWorkspaceSettings) as refused:
        parse_workspace_settings({**SETTINGS, "repositories": {"a\nb" * 999: {"enabled": "maybe"}}})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) == 300


@pytest.mark.parametrize("data", [GITHUB, VERCEL])
def test_a_source_configuration_is_read_and_written_unchanged(data: Json) -> None:
    assert parse_source_config(data).to_json() == data


@pytest.mark.parametrize("data", [GITHUB, VERCEL])
def test_unknown_keys_of_a_source_configuration_are_ignored(data: Json) -> None:
    extended = {**data, "later": 1, "sync": {**data["sync"], "later": 2}}
    assert parse_source_config(extended) == parse_source_config(data)


def test_unknown_keys_of_settings_are_ignored() -> None:
    extended = {**settings_with(later=1), "later": 2, "repositories": {"r1": {"enabled": True, "later": 3}}}
    assert parse_workspace_settings(extended) == parse_workspace_settings(SETTINGS)


@pytest.mark.parametrize(("data", "key"), [(data, key) for data in (GITHUB, VERCEL) for key in data])
def test_a_value_of_another_type_in_a_source_configuration_is_refused(data: Json, key: str) -> None:
    wrong = "1" if isinstance(data[key], bool) else 99
    with pytest.raises(ValidationError):
        parse_source_config({**data, key: wrong})


@pytest.mark.parametrize("data", [GITHUB, VERCEL])
def test_the_identity_of_a_source_is_required(data: Json) -> None:
    for key in set(data) - OPTIONAL - {"version", "type"}:
        with pytest.raises(ValidationError):
            parse_source_config({name: value for name, value in data.items() if name != key})


@pytest.mark.parametrize("sync", [{"autoSync": True}, {"autoSync": True, "events": []}])
@pytest.mark.parametrize("data", [GITHUB, VERCEL])
def test_an_empty_or_missing_list_of_events_admits_nothing(data: Json, sync: Json) -> None:
    subscription = parse_source_config({**data, "sync": sync}).sync
    assert not subscription.admits("push")
    assert not subscription.admits("")


def test_a_listed_event_is_admitted_and_another_is_not() -> None:
    subscription = Subscription(events=("pull_request",), auto_sync=True)
    assert subscription.admits("pull_request")
    assert not subscription.admits("pull")
    assert not subscription.admits("push")
