"""Who acted: the canonical id of an event's actor, and which GitHub account stands behind a deployment. Pure.

A deployment names its commit's author by login or name only. A GitHub event that speaks of the same commit tells the
numeric id, but only of its own actor: so the two must name the same person (spec 3.10, D-22, D-28, D-29).
"""

from collections.abc import Sequence
from hashlib import sha256

from neural_pipeline.contracts.events import Actor, Source, SourceEvent
from neural_pipeline.contracts.memory import CommitAuthor, ResolvedActor

CommitAuthors = dict[tuple[str, str], list[CommitAuthor]]
"""The known accounts per (workspace id, commit sha)."""

MAX_CANONICAL_ID = 191
"""The width of the column."""

NOBODY = ResolvedActor(actor=None, canonical_id=None, method="none")


def commits_of(event: SourceEvent) -> list[str]:
    """Return the commits an event speaks of."""
    return [reference.id for reference in event.references if reference.type == "commit"]


def author_told_by(event: SourceEvent) -> CommitAuthor | None:
    """Return the account that a GitHub event proves to have acted, with the names it may carry in a commit."""
    if event.source is not Source.GITHUB or event.actor is None or not _is_number(event.actor.id):
        return None
    named = event.metadata.get("headAuthorName")
    is_author = str(event.metadata.get("headAuthorLogin", "")).lower() == event.actor.name.lower()
    return CommitAuthor(event.actor.id, event.actor.name, (str(named),) if named and is_author else ())


def canonical_id(source: str, identity: str) -> str:
    """Return `source:identity`; one too long for its column ends in a hash, so that nobody is merged with another."""
    whole = f"{source}:{identity}"
    if len(whole) <= MAX_CANONICAL_ID:
        return whole
    return f"{whole[: MAX_CANONICAL_ID - 17]}-{sha256(whole.encode()).hexdigest()[:16]}"


def resolve(event: SourceEvent, authors: Sequence[CommitAuthor]) -> ResolvedActor:
    """Return the canonical actor of an event, given the accounts known for its commits."""
    actor = event.actor
    if actor is None:
        return NOBODY
    if event.source is Source.VERCEL:
        return _of_deployment(actor, authors)
    if event.source is Source.GIT:
        method = "email" if actor.email else "username"
        return ResolvedActor(actor, canonical_id("git", actor.id), method)
    method = "github_id" if _is_number(actor.id) else "username"
    return ResolvedActor(actor, canonical_id("github", actor.id), method)


def is_same_person(actor: Actor, author: CommitAuthor) -> bool:
    """Tell whether a deployment's actor and a GitHub account are one: the same login, or the name in its commits."""
    named = {actor.id.lower(), actor.name.lower()}
    return author.login.lower() in named or any(name.lower() in named for name in author.names)


def _is_number(text: str) -> bool:
    """Tell whether a text is a number to Postgres too, which looks for the same accounts."""
    return text.isascii() and text.isdigit()


def _of_deployment(actor: Actor, authors: Sequence[CommitAuthor]) -> ResolvedActor:
    known = next((author for author in authors if is_same_person(actor, author)), None)
    if known is None:
        return ResolvedActor(actor, canonical_id("github", actor.id), "username")
    return ResolvedActor(actor.model_copy(update={"id": known.id}), canonical_id("github", known.id), "commit_sha")
