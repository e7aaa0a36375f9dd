"""One commit of a local git repository, as git_history gives it, becomes a draft of a push of that commit."""

from collections.abc import Iterator

from neural_pipeline.contracts.events import Actor
from neural_pipeline.sources.draft import Draft
from neural_pipeline.sources.payload import Payload
from neural_pipeline.sources.references import Mention
from neural_pipeline.sources.sanitation import email_address, first_line, labelled, url_under

EVENT_TYPE = "push"


def _actor(author: Payload) -> Actor | None:
    name, email = author.optional_text("name"), author.optional_text("email")
    identity = email.lower() if email else name
    if identity is None:
        return None
    return Actor(id=identity, name=name or email or identity, email=email_address(email))


def _mentions(sha: str, branch: str | None, home: str | None) -> Iterator[Mention]:
    yield Mention("commit", sha, url_under(home, "commit", sha))
    yield Mention("branch", branch, url_under(home, "tree", branch or ""))


def commit_draft(payload: Payload) -> Draft:
    """Draft the event of one commit. The record's shape is that of `git_history.parse_record`."""
    repository, sha = payload.text("repository", "name"), payload.text("sha")
    branch, author = payload.optional_text("branch"), payload.at("author")
    message = payload.optional_prose("message")
    return Draft(
        source_type="push",
        identity=f"push:{repository}:{sha}",
        title=labelled("Push", first_line(message) or f"Commit {sha[:12]}"),
        body=message,
        actor=_actor(author),
        occurred_at=author.moment("date"),
        mentions=_mentions(sha, branch, payload.url("repository", "url")),
        metadata={
            "repoFullName": repository,
            "branch": branch,
            "afterSha": sha,
            "commitCount": 1,
            "fileCount": payload.whole("fileCount"),
            "files": list(payload.texts("files")),
        },
    )
