"""Who acted: canonical ids per source, and deployments whose commit a GitHub account is known for."""

from typing import Any

import pytest

from neural_pipeline.contracts.events import Actor, Reference, Source, SourceEvent
from neural_pipeline.contracts.memory import CommitAuthor
from neural_pipeline.workflows.observation_capture.actors import author_told_by, canonical_id, commits_of, resolve
from neural_pipeline_tests.building import source_event

ADA = Actor(id="ada-l", name="Ada Lovelace")
KNOWN = CommitAuthor("7", "ada-l", ("Ada Lovelace",))


def by(actor: Actor | None, source: Source = Source.GITHUB, **changes: Any) -> SourceEvent:
    return source_event(source=source, actor=actor, **changes)


def deployment(actor: Actor | None = ADA) -> SourceEvent:
    return by(actor, Source.VERCEL, source_type="deployment.ready")


@pytest.mark.parametrize(
    ("source", "actor", "canonical_id", "method"),
    [
        (Source.GITHUB, Actor(id="583231", name="octocat"), "github:583231", "github_id"),
        (Source.GITHUB, Actor(id="octocat", name="octocat"), "github:octocat", "username"),
        (Source.GITHUB, Actor(id="²", name="octocat"), "github:²", "username"),
        (Source.VERCEL, ADA, "github:ada-l", "username"),
        (Source.GIT, Actor(id="ada@acme.io", name="Ada", email="ada@acme.io"), "git:ada@acme.io", "email"),
        (Source.GIT, Actor(id="Ada", name="Ada"), "git:Ada", "username"),
        (Source.GITHUB, None, None, "none"),
        (Source.VERCEL, None, None, "none"),
    ],
)
def test_every_source_has_its_canonical_ids(source: Source, actor: Actor | None, canonical_id: str, method: str):
    resolved = resolve(by(actor, source), [])
    assert (resolved.actor, resolved.canonical_id, resolved.method) == (actor, canonical_id, method)


@pytest.mark.parametrize(
    "actor",
    [
        Actor(id="ada-l", name="Somebody"),
        Actor(id="ADA-L", name="Somebody"),
        Actor(id="somebody", name="Ada-L"),
        Actor(id="ada lovelace", name="ada lovelace"),
    ],
    ids=["by login", "whatever its case", "login as name", "by name in the commit"],
)
def test_a_deployment_is_resolved_where_the_commit_s_author_is_the_same_person(actor: Actor):
    resolved = resolve(deployment(actor), [KNOWN])
    assert (resolved.canonical_id, resolved.method) == ("github:7", "commit_sha")


def test_the_resolved_actor_has_the_account_s_id_and_keeps_the_rest():
    actor = Actor(id="ada-l", name="Ada Lovelace", email="ada@acme.io", avatar_url="https://acme.io/a.png")
    assert resolve(deployment(actor), [KNOWN]).actor == actor.model_copy(update={"id": "7"})


def test_a_deployment_is_not_given_to_somebody_else_who_touched_the_commit():
    resolved = resolve(deployment(), [CommitAuthor("8", "bob", ("Bob",))])
    assert (resolved.actor, resolved.canonical_id, resolved.method) == (ADA, "github:ada-l", "username")


def test_among_those_who_touched_the_commit_the_person_is_found():
    assert resolve(deployment(), [CommitAuthor("8", "bob"), KNOWN]).canonical_id == "github:7"


def test_an_event_of_github_is_not_changed_by_what_is_known_of_its_commit():
    actor = Actor(id="9", name="ada-l")
    assert resolve(by(actor), [KNOWN]).canonical_id == "github:9"


def test_a_canonical_id_fits_its_column_and_two_long_ones_stay_two():
    one = resolve(deployment(Actor(id="x" * 500, name="x")), []).canonical_id
    other = resolve(deployment(Actor(id="x" * 499 + "y", name="x")), []).canonical_id
    assert one is not None
    assert other is not None
    assert (len(one), len(other)) == (191, 191)
    assert one.startswith("github:xxx")
    assert one != other
    assert canonical_id("git", "x" * 187) == "git:" + "x" * 187


def test_the_commits_of_an_event_are_its_references_to_commits():
    references = [("pr", "#1"), ("commit", "abc"), ("branch", "main"), ("commit", "def")]
    event = source_event(references=tuple(Reference(type=kind, id=id_) for kind, id_ in references))
    assert commits_of(event) == ["abc", "def"]


def test_a_github_event_tells_the_account_that_acted():
    assert author_told_by(by(Actor(id="7", name="ada-l"))) == CommitAuthor("7", "ada-l")


@pytest.mark.parametrize(
    ("login", "names"),
    [("Ada-L", ("Ada Lovelace",)), ("bob", ()), (None, ())],
    ids=["pushed by the author", "pushed by somebody else", "author unknown"],
)
def test_the_name_in_a_commit_is_that_of_the_account_only_if_it_pushed_its_own_commit(
    login: str | None, names: tuple[str, ...]
):
    metadata = {"headAuthorName": "Ada Lovelace", "headAuthorLogin": login}
    assert author_told_by(by(Actor(id="7", name="ada-l"), metadata=metadata)) == CommitAuthor("7", "ada-l", names)


@pytest.mark.parametrize(
    "event",
    [
        by(None),
        by(Actor(id="ada-l", name="ada-l")),
        by(Actor(id="²", name="ada-l")),
        by(Actor(id="7", name="ada-l"), Source.VERCEL),
        by(Actor(id="7", name="Ada", email="ada@acme.io"), Source.GIT),
    ],
    ids=["nobody", "a user name", "a digit that is no number", "a deployment", "a commit of a local repository"],
)
def test_what_is_no_numbered_account_of_github_tells_nothing(event: SourceEvent):
    assert author_told_by(event) is None
