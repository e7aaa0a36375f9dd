"""The sample dataset tells one consistent story: the same people, repositories and commits, in order of time."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import pytest

DATASET = resources.files("neural_pipeline.sample_data") / "two_weeks.json"

KINDS = {
    "push",
    "pull_request.opened",
    "pull_request.closed",
    "pull_request.merged",
    "pull_request.reopened",
    "pull_request.ready_for_review",
    "issues.opened",
    "issues.closed",
    "issues.reopened",
    "release.published",
    "release.created",
    "discussion.created",
    "discussion.answered",
    "deployment.created",
    "deployment.succeeded",
    "deployment.ready",
    "deployment.error",
    "deployment.canceled",
}
NOT_OBSERVED = {"issues.labeled", "pull_request.synchronize", "pull_request.review_requested", "star.created"}
SUBJECTS = {"pull_request": "pull_request", "issues": "issue", "release": "release", "discussion": "discussion"}

Json = dict[str, Any]


@pytest.fixture(scope="module")
def dataset() -> Json:
    return json.loads(DATASET.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def webhooks(dataset: Json) -> list[Json]:
    return dataset["webhooks"]


def objects_in(value: object) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from objects_in(item)


def subject_of(webhook: Json) -> Json:
    return webhook["payload"].get(SUBJECTS.get(webhook["eventType"], ""), {})


def kind_of(webhook: Json) -> str:
    if webhook["source"] == "vercel" or webhook["eventType"] == "push":
        return webhook["eventType"]
    action = "merged" if subject_of(webhook).get("merged") else webhook["payload"]["action"]
    return f"{webhook['eventType']}.{action}"


def moment_of(webhook: Json) -> datetime:
    payload, subject = webhook["payload"], subject_of(webhook)
    if webhook["source"] == "vercel":
        return datetime.fromtimestamp(payload["createdAt"] / 1000, UTC)
    if webhook["eventType"] == "push":
        head = payload["head_commit"]
        return datetime.fromisoformat(head["timestamp"]) if head else received_push(payload)
    if webhook["eventType"] == "release":
        return datetime.fromisoformat(subject["published_at"] or subject["created_at"])
    return datetime.fromisoformat(subject.get("updated_at") or payload["starred_at"])


def received_push(payload: Json) -> datetime:
    return datetime.fromtimestamp(payload["repository"]["pushed_at"], UTC)


def of_kind(webhooks: list[Json], kind: str) -> list[Json]:
    return [webhook["payload"] for webhook in webhooks if kind_of(webhook) == kind]


def test_the_dataset_has_a_name_a_description_and_between_54_and_60_webhooks(dataset: Json) -> None:
    assert dataset.keys() == {"name", "description", "webhooks"}
    assert dataset["name"] == "two_weeks"
    assert 54 <= len(dataset["webhooks"]) <= 60


def test_every_webhook_has_a_source_an_event_type_and_a_payload(webhooks: list[Json]) -> None:
    for webhook in webhooks:
        assert webhook.keys() == {"source", "eventType", "payload"}
        assert webhook["source"] in {"github", "vercel"}
        assert isinstance(webhook["payload"], dict)


def test_the_type_of_a_vercel_webhook_is_the_one_its_payload_names(webhooks: list[Json]) -> None:
    for webhook in webhooks:
        assert webhook["source"] == "github" or webhook["payload"]["type"] == webhook["eventType"]


def test_every_kind_of_event_occurs_and_so_do_some_that_nobody_observes(webhooks: list[Json]) -> None:
    assert {kind_of(webhook) for webhook in webhooks} == KINDS | NOT_OBSERVED


def test_a_login_has_one_id_and_an_id_one_login(webhooks: list[Json]) -> None:
    people = {(found["login"], found["id"]) for found in objects_in(webhooks) if {"login", "id"} <= found.keys()}
    assert len({login for login, _ in people}) == len({number for _, number in people}) == len(people)


def test_a_repository_has_one_id_wherever_it_is_named(webhooks: list[Json]) -> None:
    named = {(found["full_name"], str(found["id"])) for found in objects_in(webhooks) if "full_name" in found}
    meta = [found for found in objects_in(webhooks) if "githubRepoId" in found]
    named |= {(f"{found['githubOrg']}/{found['githubRepo']}", found["githubRepoId"]) for found in meta}
    assert len(named) == len({name for name, _ in named}) == len({number for _, number in named}) == 3


def test_a_vercel_project_belongs_to_one_repository_and_one_team(webhooks: list[Json]) -> None:
    deployments = [webhook["payload"]["payload"] for webhook in webhooks if webhook["source"] == "vercel"]
    links = {
        (one["project"]["id"], one["project"]["name"], one["deployment"]["meta"]["githubRepo"]) for one in deployments
    }
    assert (
        len(links) == len({project for project, _, _ in links}) == len({repository for _, _, repository in links}) == 2
    )
    assert len({one["team"]["id"] for one in deployments}) == 1


def test_a_person_signs_every_commit_with_the_same_name_and_address(webhooks: list[Json]) -> None:
    signed = {
        (found["username"], found["name"], found["email"]) for found in objects_in(webhooks) if "username" in found
    }
    assert len(signed) == len({username for username, _, _ in signed})


def test_a_person_pushes_with_the_address_of_their_commits(webhooks: list[Json]) -> None:
    used = {(found["username"], found["email"]) for found in objects_in(webhooks) if "username" in found}
    for push in of_kind(webhooks, "push"):
        assert push["pusher"]["name"] == push["sender"]["login"]
        used.add((push["pusher"]["name"], push["pusher"]["email"]))
    assert len(used) == len({login for login, _ in used})
    assert all(email.endswith("@example.com") for _, email in used)


def test_all_who_act_are_six_people_and_one_bot(webhooks: list[Json]) -> None:
    users = [found for found in objects_in(webhooks) if {"login", "site_admin"} <= found.keys()]
    types = {(user["login"], user["type"]) for user in users}
    assert sorted(kind for _, kind in types) == ["Bot"] + ["User"] * 6
    assert ("quill-deps[bot]", "Bot") in types


def test_webhooks_are_in_order_of_time_and_cover_two_weeks(webhooks: list[Json]) -> None:
    moments = [moment_of(webhook) for webhook in webhooks]
    assert moments == sorted(moments)
    assert moments[0].date().isoformat() == "2026-03-02"
    assert moments[-1].date().isoformat() == "2026-03-15"


def test_the_commit_of_a_deployment_was_pushed_before(webhooks: list[Json]) -> None:
    pushed: set[tuple[str, str]] = set()
    for webhook in webhooks:
        if webhook["eventType"] == "push":
            name = webhook["payload"]["repository"]["name"]
            pushed |= {(name, commit["id"]) for commit in webhook["payload"]["commits"]}
        elif webhook["source"] == "vercel":
            meta = webhook["payload"]["payload"]["deployment"]["meta"]
            assert (meta["githubRepo"], meta["githubCommitSha"]) in pushed


def test_a_deployment_names_the_author_of_its_commit(webhooks: list[Json]) -> None:
    authors = {commit["id"]: commit["author"] for push in of_kind(webhooks, "push") for commit in push["commits"]}
    metas = [found for found in objects_in(webhooks) if "githubCommitSha" in found]
    for meta in metas:
        author = authors[meta["githubCommitSha"]]
        assert meta["githubCommitAuthorName"] == author["name"]
        assert meta.get("githubCommitAuthorLogin") in {author["username"], None}
    assert sum("githubCommitAuthorLogin" not in meta for meta in metas) == 1


def test_deployments_go_to_production_and_to_previews(webhooks: list[Json]) -> None:
    deployments = [webhook["payload"]["payload"] for webhook in webhooks if webhook["source"] == "vercel"]
    for one in deployments:
        on_main = one["deployment"]["meta"]["githubCommitRef"] == "main"
        assert one["target"] == ("production" if on_main else None)
    assert {one["target"] for one in deployments} == {"production", None}


def test_one_deployment_is_reported_twice_with_different_types(webhooks: list[Json]) -> None:
    reported = Counter(
        found["deployment"]["id"] for found in objects_in(webhooks) if "deployment" in found and "team" in found
    )
    assert sorted(reported.values())[-2:] == [1, 2]


def test_exactly_one_delivery_appears_twice_and_nothing_else_is_identical(webhooks: list[Json]) -> None:
    copies = Counter(json.dumps(webhook, sort_keys=True) for webhook in webhooks)
    assert sorted(copies.values())[-2:] == [1, 2]


def test_each_push_starts_where_the_previous_one_on_its_branch_ended(webhooks: list[Json]) -> None:
    ends: dict[tuple[str, str], str] = {}
    for push in of_kind(webhooks, "push"):
        branch = push["repository"]["full_name"], push["ref"]
        assert push["before"] == ends.get(branch, push["before"])
        assert push["deleted"] or push["after"] == push["head_commit"]["id"] == push["commits"][-1]["id"]
        ends[branch] = push["after"]


def test_pushes_include_a_side_branch_a_forced_push_and_a_deletion_without_head_commit(webhooks: list[Json]) -> None:
    pushes = of_kind(webhooks, "push")
    on_default = [push for push in pushes if push["ref"] == f"refs/heads/{push['repository']['default_branch']}"]
    assert len(pushes) / 2 < len(on_default) < len(pushes)
    assert sum(push["forced"] for push in pushes) == 1
    assert [push["head_commit"] for push in pushes if push["deleted"]] == [None]


def test_a_merge_is_pushed_with_the_commit_that_the_pull_request_names(webhooks: list[Json]) -> None:
    pushed = {push["after"] for push in of_kind(webhooks, "push")}
    merged = of_kind(webhooks, "pull_request.merged")
    assert {payload["pull_request"]["merge_commit_sha"] for payload in merged} <= pushed


def test_every_pull_request_was_merged_by_somebody_other_than_its_author(webhooks: list[Json]) -> None:
    for payload in of_kind(webhooks, "pull_request.merged"):
        assert payload["pull_request"]["merged_by"]["id"] == payload["sender"]["id"]
        assert payload["pull_request"]["user"]["id"] != payload["sender"]["id"]


def test_one_issue_is_closed_reopened_and_closed_again(webhooks: list[Json]) -> None:
    history = [webhook["payload"]["action"] for webhook in webhooks if subject_of(webhook).get("number") == 614]
    assert history == ["opened", "closed", "reopened", "closed"]


def test_bodies_link_issues_by_number_across_repositories_and_by_url(webhooks: list[Json]) -> None:
    bodies = "\n".join(subject_of(webhook).get("body", "") for webhook in webhooks)
    assert "Fixes #309" in bodies
    assert "Closes Quillmarsh/checkout-api#290" in bodies
    assert "Resolves https://github.com/Quillmarsh/checkout-api/issues/298" in bodies


def test_one_title_carries_rich_markup_html_and_a_terminal_escape(webhooks: list[Json]) -> None:
    titles = [subject_of(webhook).get("title") or "" for webhook in webhooks]
    hostile = [title for title in titles if "\x1b[31m" in title]
    assert len(hostile) == 1
    assert "[bold red]" in hostile[0]
    assert "<script>" in hostile[0]


def test_the_file_stays_small_enough_to_read(dataset: Json) -> None:
    text = DATASET.read_text(encoding="utf-8")
    assert len(text.encode()) < 400_000
    assert text == json.dumps(dataset, indent=1, ensure_ascii=False) + "\n"
