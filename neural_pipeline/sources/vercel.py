"""Vercel webhooks: every type that begins with `deployment.` becomes a draft. Spec, section 2.7."""

from collections.abc import Iterator

from pydantic import JsonValue

from neural_pipeline.contracts.events import Actor
from neural_pipeline.sources.draft import Draft
from neural_pipeline.sources.payload import Payload
from neural_pipeline.sources.references import Mention
from neural_pipeline.sources.sanitation import url_under

PREFIX = "deployment."
_LABELS = {
    "deployment.created": "Deployment Started",
    "deployment.succeeded": "Deployment Succeeded",
    "deployment.ready": "Deployment Ready",
    "deployment.canceled": "Deployment Canceled",
    "deployment.error": "Deployment Failed",
    "deployment.check-rerequested": "Deployment Check Re-requested",
}
_MARKS = {
    "deployment.succeeded": "+",
    "deployment.ready": "+",
    "deployment.error": "x",
    "deployment.canceled": "!",
}


def _optional(meta: Payload | None, key: str) -> str | None:
    return meta.optional_text(key) if meta else None


def _actor(meta: Payload | None) -> Actor | None:
    login, name = _optional(meta, "githubCommitAuthorLogin"), _optional(meta, "githubCommitAuthorName")
    identity = login or name
    return Actor(id=identity, name=name or identity) if identity else None


def _home(meta: Payload | None) -> str | None:
    owner, name = _optional(meta, "githubOrg"), _optional(meta, "githubRepo")
    return url_under("https://github.com", owner, name) if owner and name else None


def _address(deployment: Payload) -> str | None:
    address = deployment.optional_text("url")
    return address if address is None or address.startswith(("https://", "http://")) else f"https://{address}"


def _mentions(deployment: Payload, project_id: str, meta: Payload | None) -> Iterator[Mention]:
    home = _home(meta)
    sha, branch = _optional(meta, "githubCommitSha"), _optional(meta, "githubCommitRef")
    yield Mention("commit", sha, url_under(home, "commit", sha or ""))
    yield Mention("branch", branch, url_under(home, "tree", branch or ""))
    yield Mention("deployment", deployment.text("id"), _address(deployment))
    yield Mention("project", project_id)


def _git_metadata(meta: Payload | None) -> dict[str, JsonValue]:
    return {
        "branch": _optional(meta, "githubCommitRef") or "unknown",
        "gitCommitSha": _optional(meta, "githubCommitSha"),
        "gitCommitRef": _optional(meta, "githubCommitRef"),
        "gitCommitMessage": (meta.optional_prose("githubCommitMessage") if meta else "") or None,
        "gitCommitAuthor": _optional(meta, "githubCommitAuthorName"),
        "gitRepo": _optional(meta, "githubRepo"),
        "gitOrg": _optional(meta, "githubOrg"),
    }


def _metadata(payload: Payload, project_name: str) -> dict[str, JsonValue]:
    inner = payload.at("payload")
    deployment = inner.at("deployment")
    return {
        "webhookId": payload.optional_text("id"),
        "deploymentId": deployment.text("id"),
        "deploymentUrl": deployment.optional_text("url"),
        "projectId": inner.text("project", "id"),
        "projectName": project_name,
        "teamId": inner.optional_text("team", "id"),
        "environment": inner.optional_text("target") or deployment.optional_text("target") or "preview",
        "region": payload.optional_text("region"),
        **_git_metadata(deployment.optional_at("meta")),
    }


def _body(event_type: str, label: str, meta: Payload | None) -> str:
    message = meta.optional_prose("githubCommitMessage") if meta else ""
    return f"{_MARKS.get(event_type, '>')} {label}\n{message}"


def deployment_draft(event_type: str, payload: Payload) -> Draft:
    """Draft the event of one deployment webhook; the deployment's name stands in for a missing project's."""
    deployment, project = payload.at("payload", "deployment"), payload.at("payload", "project")
    meta = deployment.optional_at("meta")
    label = _LABELS.get(event_type, "Deployment")
    project_id = project.text("id")
    name = project.optional_text("name") or deployment.optional_text("name") or project_id
    return Draft(
        source_type=event_type,
        identity=f"deployment:{deployment.text('id')}:{event_type}",
        title=f"[{label}] {name} from {_optional(meta, 'githubCommitRef') or 'unknown'}",
        body=_body(event_type, label, meta),
        actor=_actor(meta),
        occurred_at=payload.milliseconds("createdAt"),
        mentions=_mentions(deployment, project_id, meta),
        metadata=_metadata(payload, name),
    )
