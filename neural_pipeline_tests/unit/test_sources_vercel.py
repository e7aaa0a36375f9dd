"""Vercel deployments to events: who, where to, and what is kept apart."""

from datetime import UTC, datetime
from typing import Any

import pytest

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.sources import InvalidPayload, UnsupportedEvent, to_source_event

RECEIVED = datetime(2024, 2, 1, 12, tzinfo=UTC)
META = {"githubCommitRef": "main", "githubCommitSha": "abc", "githubOrg": "acme", "githubRepo": "platform"}


def hook(meta: Any = META, target: str | None = None, **changes: Any) -> dict[str, Any]:
    inner = {
        "deployment": {"id": "dpl_1", "url": "x.vercel.app", "meta": meta},
        "project": {"id": "prj_1", "name": "shop"},
        "target": target,
    }
    return {"id": "hook_1", "createdAt": 1704535200000, "payload": inner, **changes}


def event(payload: Any, kind: str = "deployment.succeeded") -> SourceEvent:
    return to_source_event("vercel", kind, payload, delivery_id="d", received_at=RECEIVED)


def test_types_of_one_deployment_are_distinct_events() -> None:
    assert event(hook()).source_id == "deployment:dpl_1:deployment.succeeded@2024-01-06T10:00:00Z"
    assert event(hook(), "deployment.error").source_id == "deployment:dpl_1:deployment.error@2024-01-06T10:00:00Z"


@pytest.mark.parametrize(
    ("names", "actor"),
    [
        ({"githubCommitAuthorLogin": "ada", "githubCommitAuthorName": "Ada L"}, ("ada", "Ada L")),
        ({"githubCommitAuthorLogin": "ada"}, ("ada", "ada")),
        ({"githubCommitAuthorName": "Ada L"}, ("Ada L", "Ada L")),
        ({}, None),
    ],
)
def test_the_actor_is_the_login_where_there_is_one(names: dict[str, str], actor: tuple[str, str] | None) -> None:
    made = event(hook(META | names)).actor
    assert (made and (made.id, made.name)) == actor


@pytest.mark.parametrize(
    ("target", "environment"), [("production", "production"), ("staging", "staging"), (None, "preview")]
)
def test_the_environment_is_the_target_of_the_payload(target: str | None, environment: str) -> None:
    assert event(hook(target=target)).metadata["environment"] == environment


def test_a_deployment_without_git_data_still_converts() -> None:
    made = event(hook(meta=None))
    assert (made.title, made.body) == ("[Deployment Succeeded] shop from unknown", "+ Deployment Succeeded")
    assert [reference.type for reference in made.references] == ["deployment", "project"]


def test_a_type_without_a_label_of_its_own_converts() -> None:
    made = event(hook(), "deployment.integration.action.start")
    assert (made.title, made.body) == ("[Deployment] shop from main", "> Deployment")


def test_milliseconds_are_kept_when_there_are_any() -> None:
    assert event(hook(createdAt=1704535200042)).source_id.endswith("@2024-01-06T10:00:00.042Z")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (hook(createdAt=1e30), "createdAt is a time out of range"),
        (hook(createdAt=-(10**400)), "createdAt is a time out of range"),
        (hook(createdAt=float("nan")), "createdAt is a time out of range"),
        (hook(createdAt="2024"), "createdAt is not a number but text"),
        (hook(createdAt=4102444800000), "createdAt lies more than one day after it was received"),
        (hook(meta={"githubCommitRef": 3}), "payload.deployment.meta.githubCommitRef is not text but a number"),
        ({"createdAt": 1}, "payload.deployment is missing"),
        ({"payload": {"deployment": {"id": "x"}}}, "payload.project is missing"),
    ],
)
def test_a_malformed_hook_is_refused_naming_the_path(payload: Any, message: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        event(payload)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "kind", ["project.created", "deployment", "marketplace.invoice.paid", "deployment." + "x" * 100, "deployment.\x1b"]
)
def test_other_types_are_unsupported_in_one_line(kind: str) -> None:
    with pytest.raises(UnsupportedEvent) as raised:
        event(hook(), kind)
    assert str(raised.value).isprintable()
