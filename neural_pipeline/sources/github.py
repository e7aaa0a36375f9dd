"""GitHub webhooks: five kinds of payload, each with any action, become drafts. Spec, sections 1.2 and 2.6.

Which actions are taken in is not decided here. The actor is whoever acted (the sender); the author is metadata.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from pydantic import JsonValue

from neural_pipeline.contracts.events import Actor
from neural_pipeline.sources.draft import Draft
from neural_pipeline.sources.payload import Payload
from neural_pipeline.sources.references import Mention, issue_links
from neural_pipeline.sources.sanitation import first_line, labelled, url_under

_PEOPLE = "https://github.com"
_PULL_REQUEST_LABELS = {
    "opened": "PR Opened",
    "closed": "PR Closed",
    "merged": "PR Merged",
    "reopened": "PR Reopened",
    "review_requested": "Review Requested",
    "ready_for_review": "Ready for Review",
}
_ISSUE_LABELS = {
    "opened": "Issue Opened",
    "closed": "Issue Closed",
    "reopened": "Issue Reopened",
    "assigned": "Issue Assigned",
    "labeled": "Issue Labeled",
}
_RELEASE_LABELS = {"published": "Release Published", "created": "Release Created", "released": "Release Released"}
_DISCUSSION_LABELS = {
    "created": "Discussion Created",
    "answered": "Discussion Answered",
    "closed": "Discussion Closed",
}


class _Repository(NamedTuple):
    name: str
    home: str | None
    id: int | None

    @property
    def metadata(self) -> dict[str, JsonValue]:
        return {"repoFullName": self.name, "repoId": self.id}


def _repository(payload: Payload) -> _Repository:
    repository = payload.at("repository")
    return _Repository(repository.text("full_name"), repository.url("html_url"), repository.optional_whole("id"))


def _sender(payload: Payload, email: str | None = None) -> Actor | None:
    sender = payload.optional_at("sender")
    if sender is None:
        return None
    return _actor(str(sender.whole("id")), sender.text("login"), email=email, avatar_url=sender.url("avatar_url"))


@lru_cache(maxsize=4096)
def _actor(identity: str, name: str, *, email: str | None, avatar_url: str | None) -> Actor:
    """A webhook stream names few people, many times: make each of them once."""
    return Actor(id=identity, name=name, email=email, avatar_url=avatar_url)


def _author(user: Payload | None) -> dict[str, JsonValue]:
    if user is None:
        return {}
    return {"authorLogin": user.optional_text("login"), "authorId": user.optional_whole("id")}


def _action(payload: Payload) -> str:
    action = payload.text("action")
    if len(action) > 50:
        raise payload.invalid(("action",), "is longer than 50 characters")
    return action


def branch_of(ref: str) -> str:
    """Return the branch of a push, or the whole ref when it is none (a tag)."""
    return ref.removeprefix("refs/heads/")


def _commit(repository: _Repository, sha: str | None, label: str | None = None) -> Mention:
    return Mention("commit", sha, url_under(repository.home, "commit", sha or ""), label)


def _branch(repository: _Repository, branch: str | None) -> Mention:
    return Mention("branch", branch, url_under(repository.home, "tree", branch or ""))


def _assignees_and_labels(thing: Payload) -> Iterator[Mention]:
    yield from _people(thing, "assignee", "assignees")
    yield from (Mention("label", label.optional_text("name")) for label in thing.items("labels"))


def _people(thing: Payload, role: str, key: str) -> Iterator[Mention]:
    for person in thing.items(key):
        login = person.optional_text("login")
        url = url_under(_PEOPLE, login or "")
        yield Mention("reviewer", login, url) if role == "reviewer" else Mention("assignee", login, url)


def _head_author(head: Payload | None) -> dict[str, JsonValue]:
    author = head.optional_at("author") if head else None
    if author is None:
        return {}
    return {
        "headAuthorName": author.optional_text("name"),
        "headAuthorLogin": author.optional_text("username"),
        "headAuthorEmail": author.email("email"),
    }


def _changes(payload: Payload) -> dict[str, JsonValue]:
    touched = (commit.count(key) for commit in payload.items("commits") for key in ("added", "modified", "removed"))
    return {"commitCount": payload.count("commits"), "fileCount": sum(touched)}


def _push(payload: Payload) -> Draft:
    repository = _repository(payload)
    branch, after = branch_of(payload.text("ref")), payload.text("after")
    head = payload.optional_at("head_commit")
    message = head.optional_prose("message") if head else ""
    return Draft(
        source_type="push",
        identity=f"push:{repository.name}:{after}:{branch}",
        title=labelled("Push", first_line(message) or f"Push to {branch}"),
        body=message,
        actor=_sender(payload, payload.email("pusher", "email")),
        occurred_at=head.moment("timestamp") if head else None,
        mentions=(_commit(repository, after), _branch(repository, branch)),
        metadata={
            **repository.metadata,
            "branch": branch,
            "beforeSha": payload.optional_text("before"),
            "afterSha": after,
            **_changes(payload),
            "forced": payload.optional_flag("forced"),
            **_head_author(head),
        },
    )


def _pull_request_mentions(pull: Payload, repository: _Repository) -> Iterator[Mention]:
    yield Mention("pr", f"#{pull.whole('number')}", pull.url("html_url"))
    yield _branch(repository, pull.text("head", "ref"))
    yield _commit(repository, pull.text("head", "sha"))
    yield _commit(repository, pull.optional_text("merge_commit_sha"), "merge")
    yield from issue_links(pull.optional_prose("body"), repository.name, repository.home)
    yield from _people(pull, "reviewer", "requested_reviewers")
    yield from _assignees_and_labels(pull)


def _pull_request_metadata(pull: Payload) -> dict[str, JsonValue]:
    return {
        "prNumber": pull.whole("number"),
        "merged": pull.optional_flag("merged"),
        "draft": pull.optional_flag("draft"),
        "additions": pull.optional_whole("additions"),
        "deletions": pull.optional_whole("deletions"),
        "changedFiles": pull.optional_whole("changed_files"),
        "headRef": pull.text("head", "ref"),
        "baseRef": pull.optional_text("base", "ref"),
        "headSha": pull.text("head", "sha"),
        **_author(pull.optional_at("user")),
    }


def _pull_request(payload: Payload) -> Draft:
    repository, pull, action = _repository(payload), payload.at("pull_request"), _action(payload)
    done = "merged" if action == "closed" and pull.optional_flag("merged") else action
    title = pull.prose("title")
    return Draft(
        source_type="pull-request." + ("ready-for-review" if done == "ready_for_review" else done),
        identity=f"pr:{repository.name}#{pull.whole('number')}:{done}",
        title=labelled(_PULL_REQUEST_LABELS.get(done, f"PR {action}"), title),
        body=f"{title}\n{pull.optional_prose('body')}",
        actor=_sender(payload),
        occurred_at=pull.moment("updated_at") or pull.moment("created_at"),
        mentions=_pull_request_mentions(pull, repository),
        metadata={**repository.metadata, "action": action, **_pull_request_metadata(pull)},
    )


def _issue(payload: Payload) -> Draft:
    repository, issue, action = _repository(payload), payload.at("issue"), _action(payload)
    number, title, body = issue.whole("number"), issue.prose("title"), issue.optional_prose("body")
    own = Mention("issue", f"#{number}", issue.url("html_url"))
    return Draft(
        source_type=f"issue.{action}",
        identity=f"issue:{repository.name}#{number}:{action}",
        title=labelled(_ISSUE_LABELS.get(action, f"Issue {action}"), title),
        body=f"{title}\n{body}",
        actor=_sender(payload),
        occurred_at=issue.moment("updated_at") or issue.moment("created_at"),
        mentions=chain([own], issue_links(body, repository.name, repository.home), _assignees_and_labels(issue)),
        metadata={
            **repository.metadata,
            "issueNumber": number,
            "action": action,
            "state": issue.optional_text("state"),
            **_author(issue.optional_at("user")),
        },
    )


def _release(payload: Payload) -> Draft:
    repository, release, action = _repository(payload), payload.at("release"), _action(payload)
    tag, target = release.text("tag_name"), release.optional_text("target_commitish")
    label = _RELEASE_LABELS.get(action, f"Release {action}")
    return Draft(
        source_type=f"release.{action}",
        identity=f"release:{repository.name}:{tag}:{action}",
        title=f"[{label}] {release.optional_prose('name') or tag}",
        body=release.optional_prose("body"),
        actor=_sender(payload),
        occurred_at=release.moment("published_at") or release.moment("created_at"),
        mentions=(_branch(repository, target),),
        metadata={
            **repository.metadata,
            "tagName": tag,
            "targetCommitish": target,
            "action": action,
            "prerelease": release.optional_flag("prerelease"),
            "draft": release.optional_flag("draft"),
            **_author(release.optional_at("author")),
        },
    )


def _discussion(payload: Payload) -> Draft:
    repository, talk, action = _repository(payload), payload.at("discussion"), _action(payload)
    number, title, category = talk.whole("number"), talk.prose("title"), talk.optional_text("category", "name")
    return Draft(
        source_type=f"discussion.{action}",
        identity=f"discussion:{repository.name}#{number}:{action}",
        title=labelled(_DISCUSSION_LABELS.get(action, f"Discussion {action}"), title),
        body=f"{title}\n{talk.optional_prose('body')}",
        actor=_sender(payload),
        occurred_at=talk.moment("updated_at") or talk.moment("created_at"),
        mentions=(Mention("label", category),),
        metadata={
            **repository.metadata,
            "discussionNumber": number,
            "action": action,
            "category": category,
            "answered": talk.is_set("answer_html_url"),
            **_author(talk.optional_at("user")),
        },
    )


KINDS: Mapping[str, Callable[[Payload], Draft]] = {
    "push": _push,
    "pull_request": _pull_request,
    "issues": _issue,
    "release": _release,
    "discussion": _discussion,
}
