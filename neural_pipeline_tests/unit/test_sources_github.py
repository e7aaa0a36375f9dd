"""GitHub payloads to events: people, labels, times, identity, optional and required fields."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.sources import InvalidPayload, UnsupportedEvent, to_source_event

RECEIVED = datetime(2024, 2, 1, 12, tzinfo=UTC)
HOME = "https://github.com/acme/platform"
REPOSITORY = {"id": 7, "full_name": "acme/platform", "html_url": HOME, "default_branch": "main"}
SENDER = {"id": 2, "login": "merger", "avatar_url": "https://avatars.example.com/2"}
AUTHOR = {"id": 1, "login": "author"}


def pull_request(action: str = "opened", **changes: Any) -> dict[str, Any]:
    pull = {
        "number": 301,
        "title": "Add",
        "body": "",
        "user": AUTHOR,
        "html_url": f"{HOME}/pull/301",
        "head": {"ref": "feature/search", "sha": "abc123"},
        "base": {"ref": "main"},
        "updated_at": "2024-01-06T10:00:00Z",
    }
    return {"action": action, "pull_request": pull | changes, "repository": REPOSITORY, "sender": SENDER}


def issue(action: str = "opened", **changes: Any) -> dict[str, Any]:
    thing = {"number": 5, "title": "Broken", "user": AUTHOR, "updated_at": "2024-01-06T10:00:00Z"}
    return {"action": action, "issue": thing | changes, "repository": REPOSITORY, "sender": SENDER}


def release(action: str = "published", **changes: Any) -> dict[str, Any]:
    thing = {"tag_name": "v2.5.0", "author": AUTHOR, "target_commitish": "main", "published_at": "2024-01-06T10:00:00Z"}
    return {"action": action, "release": thing | changes, "repository": REPOSITORY, "sender": SENDER}


def discussion(action: str = "answered", **changes: Any) -> dict[str, Any]:
    thing = {"number": 7, "title": "How?", "user": AUTHOR, "updated_at": "2024-01-06T10:00:00Z"}
    return {"action": action, "discussion": thing | changes, "repository": REPOSITORY, "sender": SENDER}


def push(**changes: Any) -> dict[str, Any]:
    author = {"name": "Ada Lovelace", "username": "ada", "email": "ada@example.com"}
    head = {"message": "Say hello\n\nlong", "timestamp": "2024-01-06T11:00:00+01:00", "author": author}
    plain = {"ref": "refs/heads/main", "after": "abc123", "head_commit": head, "commits": [{"added": ["a", "b"]}]}
    return {**plain, "repository": REPOSITORY, "sender": SENDER, **changes}


def event(kind: str, payload: Any) -> SourceEvent:
    return to_source_event("github", kind, payload, delivery_id="d-1", received_at=RECEIVED)


@pytest.mark.parametrize(
    ("kind", "payload", "identity"),
    [
        ("pull_request", pull_request("closed", merged=True), "pr:acme/platform#301:merged"),
        ("pull_request", pull_request("closed", merged=False), "pr:acme/platform#301:closed"),
        ("issues", issue("reopened"), "issue:acme/platform#5:reopened"),
        ("release", release(), "release:acme/platform:v2.5.0:published"),
        ("discussion", discussion(), "discussion:acme/platform#7:answered"),
        ("push", push(), "push:acme/platform:abc123:main"),
    ],
)
def test_the_identity_is_the_thing_what_was_done_and_when(kind: str, payload: Any, identity: str) -> None:
    assert event(kind, payload).source_id == f"{identity}@2024-01-06T10:00:00Z"


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("pull_request", pull_request()), ("issues", issue()), ("release", release()), ("discussion", discussion())],
)
def test_the_actor_is_the_sender_and_the_author_is_kept_in_metadata(kind: str, payload: Any) -> None:
    made = event(kind, payload)
    assert made.actor is not None
    assert (made.actor.id, made.actor.name, made.actor.avatar_url) == ("2", "merger", SENDER["avatar_url"])
    assert (made.metadata["authorLogin"], made.metadata["authorId"]) == ("author", 1)


def test_a_payload_without_sender_has_no_actor() -> None:
    assert event("push", push(sender=None)).actor is None


def test_a_push_keeps_who_wrote_its_head_commit() -> None:
    metadata = event("push", push()).metadata
    assert {key: value for key, value in metadata.items() if key.startswith("headAuthor")} == {
        "headAuthorName": "Ada Lovelace",
        "headAuthorLogin": "ada",
        "headAuthorEmail": "ada@example.com",
    }


def test_the_email_of_the_pusher_belongs_to_the_actor() -> None:
    actor = event("push", push(pusher={"email": "p@example.com"})).actor
    assert actor is not None
    assert actor.email == "p@example.com"


@pytest.mark.parametrize("email", ["x@localhost", "nobody", "", None, "a" * 9_000 + "@example.com"])
def test_an_unusable_email_is_dropped(email: str | None) -> None:
    actor = event("push", push(pusher={"email": email})).actor
    assert actor is not None
    assert actor.email is None


@pytest.mark.parametrize(
    "url", ["not a url", "javascript:alert(1)", "https://x/\n\x1b[31m", "https://x/<script>", "https://"]
)
def test_an_unusable_web_address_is_dropped(url: str) -> None:
    made = event("issues", {**issue(html_url=url), "sender": {**SENDER, "avatar_url": url}})
    assert made.actor is not None
    assert made.actor.avatar_url is None
    assert made.references[0].url is None


def test_a_branch_that_needs_quoting_keeps_its_name_and_gets_a_quoted_url() -> None:
    branch = event("push", push(ref="refs/heads/fix#12/ä")).references[1]
    assert (branch.id, branch.url) == ("fix#12/ä", f"{HOME}/tree/fix%2312/%C3%A4")


def test_a_deleted_branch_gives_an_event_with_an_empty_body_and_the_time_of_receipt() -> None:
    made = event("push", push(head_commit=None, after="0" * 40))
    assert (made.title, made.body, made.occurred_at) == ("[Push] Push to main", "", RECEIVED)


@pytest.mark.parametrize(
    ("kind", "payload", "source_type", "title"),
    [
        ("pull_request", pull_request("ready_for_review"), "pull-request.ready-for-review", "[Ready for Review] Add"),
        ("pull_request", pull_request("review_requested"), "pull-request.review_requested", "[Review Requested] Add"),
        ("pull_request", pull_request("auto_merged"), "pull-request.auto_merged", "[PR auto_merged] Add"),
        ("issues", issue("pinned"), "issue.pinned", "[Issue pinned] Broken"),
        ("release", release("edited", name="Big one"), "release.edited", "[Release edited] Big one"),
        ("release", release("created", name=""), "release.created", "[Release Created] v2.5.0"),
        ("discussion", discussion("locked"), "discussion.locked", "[Discussion locked] How?"),
    ],
)  # fmt: skip
def test_every_action_converts(kind: str, payload: Any, source_type: str, title: str) -> None:
    made = event(kind, payload)
    assert (made.source_type, made.title) == (source_type, title)


def test_absent_options_are_left_out_of_metadata() -> None:
    assert event("release", release(author=None, target_commitish=None)).metadata == {
        "deliveryId": "d-1",
        "repoFullName": "acme/platform",
        "repoId": 7,
        "tagName": "v2.5.0",
        "action": "published",
    }


def test_people_and_labels_become_references_once_each() -> None:
    people = [{"login": "ann"}, {"login": None}, {"login": "ann"}]
    made = event("pull_request", pull_request(requested_reviewers=people, assignees=people, labels=[{"name": "bug"}]))
    found = [(reference.type, reference.id, reference.url) for reference in made.references[3:]]
    assert found == [
        ("reviewer", "ann", "https://github.com/ann"),
        ("assignee", "ann", "https://github.com/ann"),
        ("label", "bug", None),
    ]


def test_a_merge_commit_is_a_reference_of_its_own() -> None:
    made = event("pull_request", pull_request(merge_commit_sha="abc123"))
    assert [(r.id, r.label) for r in made.references if r.type == "commit"] == [("abc123", None), ("abc123", "merge")]


def test_the_second_time_stands_in_for_a_missing_first() -> None:
    made = event("issues", issue(updated_at=None, created_at="2024-01-02T00:00:00.250Z"))
    assert made.source_id.endswith("@2024-01-02T00:00:00.250Z")


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        ("issues", [], "the payload is not an object but a list"),
        ("issues", None, "the payload is not an object but null"),
        ("issues", {"action": "opened"}, "repository is missing"),
        ("issues", {**issue(), "repository": {"id": 1}}, "repository.full_name is missing"),
        ("issues", {**issue(), "action": 3}, "action is not text but a number"),
        ("issues", {**issue(), "action": "x" * 51}, "action is longer than 50 characters"),
        ("issues", {**issue(), "sender": {"login": "x"}}, "sender.id is missing"),
        ("issues", {**issue(), "sender": "x"}, "sender is not an object but text"),
        ("issues", issue(number=True), "issue.number is not a whole number but true or false"),
        ("issues", issue(number=2**70), "issue.number is a number out of range"),
        ("issues", issue(title=None), "issue.title is missing"),
        ("issues", issue(labels={}), "issue.labels is not a list but an object"),
        ("issues", issue(assignees=[{}, 3]), "issue.assignees[1] is not an object but a number"),
        ("issues", issue(updated_at="2024-01-06T10:00:00"), "issue.updated_at has no time zone"),
        ("issues", issue(updated_at="2024-01-06"), "issue.updated_at has no time zone"),
        ("issues", issue(updated_at="soon\x1b"), r"issue.updated_at is not an ISO-8601 time: 'soon\x1b'"),
        ("issues", issue(updated_at="0001-01-01T00:00:00+14:00"), "issue.updated_at is a time out of range"),
        ("pull_request", pull_request(number=None), "pull_request.number is missing"),
        ("pull_request", pull_request(head={"ref": "x"}), "pull_request.head.sha is missing"),
        ("pull_request", pull_request(head=[]), "pull_request.head is not an object but a list"),
        ("pull_request", pull_request(merged="yes"), "pull_request.merged is not true or false but text"),
        ("pull_request", pull_request(additions=1.5), "pull_request.additions is not a whole number but a fraction"),
        ("release", release(tag_name=""), "release.tag_name is empty"),
        ("release", release(tag_name="v" * 501), "release.tag_name is longer than 500 characters"),
        ("push", push(ref=None), "ref is missing"),
        ("push", push(commits=[{}, {"added": "x"}]), "commits[1].added is not a list but text"),
        ("push", push(commits=[{}, None]), "commits[1] is not an object but null"),
    ],
)  # fmt: skip
def test_a_malformed_payload_is_refused_naming_the_path(kind: str, payload: Any, message: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        event(kind, payload)
    assert str(raised.value) == message
    assert message.startswith(raised.value.path)


def test_a_time_may_lie_one_day_ahead_but_no_more() -> None:
    ahead = RECEIVED + timedelta(days=1)
    assert event("issues", issue(updated_at=ahead.isoformat())).occurred_at == ahead
    with pytest.raises(InvalidPayload, match="updated_at lies more than one day after it was received"):
        event("issues", issue(updated_at=(ahead + timedelta(seconds=1)).isoformat()))


@pytest.mark.parametrize(
    ("source", "kind"), [("github", "ping"), ("github", "issue"), ("gitlab", "push"), ("git", "tag")]
)
def test_what_is_no_observation_is_unsupported(source: str, kind: str) -> None:
    with pytest.raises(UnsupportedEvent):
        to_source_event(source, kind, issue(), delivery_id="d", received_at=RECEIVED)
