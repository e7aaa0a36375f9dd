"""Topics, types, the event filter and the texts to embed."""

import pytest
from pydantic import JsonValue

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.workflows.observation_capture.logic import (
    Classification,
    Subscription,
    base_type,
    is_event_allowed,
    observation_type,
    resource_id,
    topics_of,
    views_of,
)

PLAIN = Classification("other", (), confidence=0.5)


def event(source_type: str = "push", source: str = "github", **changes: JsonValue) -> SourceEvent:
    plain: dict[str, JsonValue] = {
        "source": source,
        "sourceType": source_type,
        "sourceId": "id",
        "title": "Plain",
        "body": "",
        "occurredAt": "2024-01-05T09:15:00Z",
    }
    return SourceEvent.model_validate({**plain, **changes})


def test_topics_come_in_the_order_source_type_labels_title_categories_model():
    found = event(
        "pull-request.opened",
        title="feat(api): fix the docs",
        references=[{"type": "label", "id": "Backend"}, {"type": "branch", "id": "main"}],
    )
    topics = topics_of(found, Classification("feature", ("bug_fix",), confidence=0.9, topics=("oauth",)))
    assert topics == (
        *("github", "pull-request.opened", "backend"),
        *("fix", "feat", "docs", "feature", "bug_fix", "oauth"),
    )


def test_a_topic_named_twice_keeps_its_first_place():
    labels: list[JsonValue] = [{"type": "label", "id": "Fix"}, {"type": "label", "id": "push"}]
    topics = topics_of(event(title="fix it", references=labels), Classification("fix", ("push",), confidence=1))
    assert topics == ("github", "push", "fix")


@pytest.mark.parametrize("topic", ["fix", "feat", "refactor", "test", "docs", "chore", "ci", "perf"])
def test_a_title_keyword_is_a_topic_only_as_a_whole_word(topic: str):
    assert topic in topics_of(event(title=f"x: {topic.upper()}/y"), PLAIN)
    assert topic not in topics_of(event(title=f"a{topic}"), PLAIN)
    assert topic not in topics_of(event(title=f"{topic}a"), PLAIN)


def test_a_decision_on_the_latest_version_is_about_neither_ci_nor_tests():
    assert topics_of(event(title="Decision on the latest"), PLAIN) == ("github", "push", "other")


def test_keywords_of_the_body_are_no_topics():
    assert "fix" not in topics_of(event(body="fix"), PLAIN)


def test_only_vercel_types_change_their_first_dot_in_the_observation_type():
    assert observation_type(event("pull-request.merged")) == "pull-request.merged"
    assert observation_type(event("push", "git")) == "push"
    assert observation_type(event("deployment.succeeded", "vercel")) == "deployment_succeeded"
    assert observation_type(event("deployment.a.b", "vercel")) == "deployment_a.b"


@pytest.mark.parametrize(
    ("source", "source_type", "expected"),
    [
        ("github", "push", "push"),
        ("git", "push", "push"),
        ("github", "pull-request.ready-for-review", "pull_request"),
        ("github", "issue.opened", "issues"),
        ("github", "release.published", "release"),
        ("github", "discussion.answered", "discussion"),
        ("github", "issue", "issue"),
        ("github", ".issue", ".issue"),
        ("vercel", "deployment.error", "deployment.error"),
    ],
)
def test_the_base_type_is_the_subscription_key(source: str, source_type: str, expected: str):
    assert base_type(event(source_type, source)) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"repoId": 345697, "projectId": "prj"}, "345697"),
        ({"repoId": "r1"}, "r1"),
        ({"repoId": 0, "projectId": "prj"}, "prj"),
        ({"repoId": None, "projectId": "prj"}, "prj"),
        ({"repoId": "", "projectId": ""}, None),
        ({"repoId": True}, None),
        ({}, None),
    ],
)
def test_the_resource_is_the_repository_or_else_the_project(metadata: JsonValue, expected: str | None):
    assert resource_id(event(metadata=metadata)) == expected


def test_an_event_without_integration_is_allowed():
    assert is_event_allowed(event("issue.opened"), [])


@pytest.mark.parametrize(
    ("subscription", "allowed"),
    [
        (Subscription("github", is_active=True, events=("push", "issues")), True),
        (Subscription("github", is_active=True, events=("push", "issue")), False),
        (Subscription("github", is_active=True, events=()), False),
        (Subscription("github", is_active=False, events=("issues",)), False),
        (Subscription("vercel", is_active=True, events=("issues",)), False),
    ],
)
def test_an_integration_lets_in_what_it_lists_while_active_and_of_the_same_provider(
    subscription: Subscription, allowed: bool
):
    assert is_event_allowed(event("issue.opened"), [subscription]) is allowed


def test_one_integration_that_lets_the_event_in_is_enough():
    closed = Subscription("github", is_active=False, events=("push",))
    silent = Subscription("github", is_active=True, events=())
    opened = Subscription("github", is_active=True, events=("push",))
    assert is_event_allowed(event(), [closed, silent, opened])
    assert not is_event_allowed(event(), [closed, silent])


def test_the_views_are_title_body_and_title_with_the_first_thousand_characters():
    body = "b" * 1_500
    assert views_of(event(title="T", body=body)) == ("T", body, "T\n\n" + "b" * 1_000)


@pytest.mark.parametrize("body", ["", " \n"])
def test_a_blank_body_is_embedded_as_the_title(body: str):
    assert views_of(event(title="T", body=body)) == ("T", "T", "T")
