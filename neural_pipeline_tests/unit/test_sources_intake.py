"""The allow-list and the judgement on received bodies: accepted, unsupported or invalid, with a reason in one line."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pytest

from neural_pipeline.sources.intake import DEFAULT_ALLOWED, Judgement, is_taken_in, judge

RECEIVED = datetime(2024, 2, 1, 12, tzinfo=UTC)
REPOSITORY = {"full_name": "acme/platform", "default_branch": "main"}
ISSUE = {
    "action": "opened",
    "issue": {"number": 5, "title": "Broken", "updated_at": "2024-01-06T10:00:00Z"},
    "repository": REPOSITORY,
}
HOOK = {"createdAt": 1704535200000, "payload": {"deployment": {"id": "dpl_1"}, "project": {"id": "prj_1"}}}


def push(branch: str) -> dict[str, Any]:
    return {"ref": f"refs/heads/{branch}", "after": "abc", "repository": REPOSITORY}


def judged(
    body: bytes, kind: str = "issues", source: str = "github", allowed: Collection[str] = DEFAULT_ALLOWED
) -> Judgement:
    return judge(source, kind, body, delivery_id="d", received_at=RECEIVED, allowed=allowed, max_bytes=1_000_000)


def taken(source: str, kind: str, payload: Any, *more: str) -> bool:
    return is_taken_in(source, kind, payload, DEFAULT_ALLOWED | set(more))


@pytest.mark.parametrize(
    ("kind", "actions"),
    [
        ("pull_request", {"opened", "closed", "reopened", "ready_for_review"}),
        ("issues", {"opened", "closed", "reopened"}),
        ("release", {"published"}),
        ("discussion", {"created", "answered"}),
    ],
)
def test_the_default_list_takes_exactly_the_actions_of_the_specification(kind: str, actions: set[str]) -> None:
    tried = actions | {"labeled", "edited", "created", "published", "merged", "synchronize"}
    assert {action for action in tried if taken("github", kind, {"action": action})} == actions


def test_the_default_list_takes_exactly_five_deployment_types() -> None:
    kinds = ["created", "succeeded", "ready", "error", "canceled", "check-rerequested", "integration.action.start"]
    assert [kind for kind in kinds if taken("vercel", f"deployment.{kind}", HOOK)] == kinds[:5]


def test_a_push_is_taken_in_on_the_default_branch_only_unless_any_branch_is_allowed() -> None:
    assert taken("github", "push", push("main"))
    assert not taken("github", "push", push("feature"))
    assert taken("github", "push", push("feature"), "push.any-branch")
    assert not is_taken_in("github", "push", push("main"), {"push.any-branch"})


@pytest.mark.parametrize("payload", [None, [], {"ref": 3}, {"ref": "refs/heads/main"}, {"action": ["opened"]}])
def test_a_malformed_payload_is_not_taken_in(payload: Any) -> None:
    assert not taken("github", "push", payload)
    assert not taken("github", "issues", payload)


def test_a_name_allowed_for_one_source_lets_no_other_in() -> None:
    assert not taken("vercel", "push", push("main"))
    assert not taken("github", "deployment.created", HOOK)
    assert not taken("gitlab", "push", push("main"))
    assert taken("git", "push", {})


def test_a_good_body_is_accepted_without_a_reason() -> None:
    judgement = judged(json.dumps(ISSUE).encode())
    assert (judgement.disposition, judgement.reason) == ("accepted", None)
    assert judgement.event is not None
    assert judgement.event.source_id == "issue:acme/platform#5:opened@2024-01-06T10:00:00Z"


def test_a_byte_order_mark_does_no_harm() -> None:
    assert judged(b"\xef\xbb\xbf" + json.dumps(ISSUE).encode()).disposition == "accepted"


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("a\0", "1 character replaced (NUL or lone surrogate)"),
        ("\0\ud800", "2 characters replaced (NUL or lone surrogate)"),
    ],
)
def test_a_repaired_body_is_accepted_and_says_so(title: str, reason: str) -> None:
    judgement = judged(json.dumps({**ISSUE, "issue": {**ISSUE["issue"], "title": title}}).encode())
    assert (judgement.disposition, judgement.reason) == ("accepted", reason)
    assert judgement.event is not None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the payload is empty"),
        (b" \n ", "the payload is empty"),
        (b"hello", "the payload is not JSON: Expecting value (line 1, column 1)"),
        (json.dumps(ISSUE).encode()[:-5], "the payload is not JSON"),
        (b'{"a": "\xff"}', "the payload is not UTF-8 (byte 7)"),
        (b'{"a": NaN}', "the payload is not JSON: it holds the number NaN"),
        (b'{"a": -Infinity}', "the payload is not JSON: it holds the number -Infinity"),
        (b'{"a": 1e999}', "the payload holds a number out of range"),
        (b'{"a": ' + b"9" * 200_000 + b"}", "the payload holds a number with too many digits"),
        (b"[" * 500_000, "the payload is nested too deeply"),
        (b'{"a":' * 100_000, "the payload is nested too deeply"),
        (b" " * 1_000_001, "the payload is too large: 1000001 bytes, at most 1000000 are read"),
        (b"[]", "the payload is not an object but a list"),
        (b"{}", "repository is missing"),
        (b"payload=%7B%7D", "the payload is not JSON"),
    ],
)  # fmt: skip
def test_an_unreadable_body_is_invalid_with_a_reason(body: bytes, reason: str) -> None:
    judgement = judged(body)
    assert (judgement.disposition, judgement.event) == ("invalid", None)
    assert judgement.reason is not None
    assert judgement.reason.startswith(reason)


@pytest.mark.parametrize(
    ("source", "kind", "payload", "reason"),
    [
        ("github", "ping", {"zen": "x"}, "github event type 'ping' is not an observation"),
        ("github", "issues", {**ISSUE, "action": "labeled"}, "issues.labeled is not taken in"),
        ("github", "push", push("feature"), "push is taken in only on the repository's default branch"),
        ("vercel", "project.created", HOOK, "vercel event type 'project.created' is not an observation"),
        ("vercel", "deployment.check-rerequested", HOOK, "deployment.check-rerequested is not taken in"),
        ("gitlab", "push", {}, "unknown source 'gitlab'"),
    ],
)
def test_what_is_not_taken_in_is_unsupported_with_a_reason(source: str, kind: str, payload: Any, reason: str) -> None:
    assert judged(json.dumps(payload).encode(), kind, source) == Judgement("unsupported", None, reason)


@pytest.mark.parametrize(
    ("source", "kind", "payload"),
    [
        ("github", "\x1b[31m" + "x" * 5_000, {}),
        ("\n" * 5_000, "push", {}),
        ("vercel", "deployment.\x1b\n" + "x" * 900, HOOK),
        ("github", "issues", {**ISSUE, "action": "\x1b\n\u202e"}),
        ("github", "issues", {**ISSUE, "issue": {"number": 1, "title": "", "updated_at": "\x1b\n" * 200}}),
        ("github", "issues", {**ISSUE, "action": "\x1b" * 5_000}),
    ],
)
def test_a_reason_is_one_short_line_without_control_characters(source: str, kind: str, payload: Any) -> None:
    reason = judged(json.dumps(payload).encode(), kind, source).reason
    assert reason is not None
    assert len(reason) <= 300
    assert reason.isprintable()


def test_a_body_of_git_that_is_no_record_is_invalid() -> None:
    judgement = judged(b'{"json": true}', "push", "git")
    assert judgement == Judgement("invalid", None, "the payload is not a record of git history")
