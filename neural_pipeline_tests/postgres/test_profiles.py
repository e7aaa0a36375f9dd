"""Profiles as the store keeps them: counted from rows, never poorer than before, each person once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, text

from neural_pipeline.contracts.memory import ActorNews, KeptProfile
from neural_pipeline.store.identities import Identity, keep_identities
from neural_pipeline.store.profiles import keep_profiles, profile_of, profiles_of
from neural_pipeline.store.workspaces import create_workspace
from neural_pipeline_tests.building import NOON, SETTINGS, column, one, workspaces

ADA = "github:583231"
LOGIN = "github:ada-l"

_OBSERVED = """
insert into lightfast_workspace_neural_observations
  (workspace_id, occurred_at, observation_type, title, content, source, source_type, source_id, canonical_actor_id)
select :workspace_id, cast(:last as timestamptz) - make_interval(hours => :count - n), 'push', 't', 'c', 'github',
  'push', gen_random_uuid()::text, :actor_id
from generate_series(1, :count) n
"""


def observed(connection: Connection, actor_id: str = ADA, count: int = 1, *, workspace_id: str = "ws_test") -> None:
    """Store observations of an actor, an hour apart, the last of them at noon."""
    given = {"workspace_id": workspace_id, "actor_id": actor_id, "count": count, "last": NOON}
    connection.execute(text(_OBSERVED), given)


def handed_over(connection: Connection, old: str = LOGIN, new: str = ADA, *, workspace_id: str = "ws_test") -> None:
    """Give all observations of one actor in a workspace to another."""
    sql = """
    update lightfast_workspace_neural_observations set canonical_actor_id = :new
    where canonical_actor_id = :old and workspace_id = :workspace_id
    """
    connection.execute(text(sql), {"old": old, "new": new, "workspace_id": workspace_id})


def news(actor_id: str = ADA, *, workspace_id: str = "ws_test", **told: str | None) -> ActorNews:
    return ActorNews(workspace_id, "org_test", actor_id, **told)


def identified(connection: Connection, actor_id: str = LOGIN, method: str = "username", **told: str) -> int:
    """Keep an identity as a capture does; return its id."""
    source, _, source_id = actor_id.partition(":")
    unknown = {"username": None, "email": None, "avatar_url": None}
    identity = Identity("org_test", actor_id, source, source_id, method=method, **(unknown | told))
    return keep_identities(connection, [identity])["org_test", actor_id]


def profile(connection: Connection, actor_id: str = ADA, *, workspace_id: str = "ws_test") -> Any:
    sql = "select * from lightfast_workspace_actor_profiles where actor_id = :id and workspace_id = :workspace_id"
    return one(connection, sql, id=actor_id, workspace_id=workspace_id)


def identity(connection: Connection, source_id: str) -> Any:
    return one(connection, "select * from lightfast_org_actor_identities where source_id = :id", id=source_id)


def points_to(connection: Connection, source_id: str = "ada-l") -> tuple[str, str]:
    row = identity(connection, source_id)
    return row["canonical_actor_id"], row["mapping_method"]


def test_every_stored_observation_counts_and_the_latest_is_the_last_activity(scratch: Connection):
    observed(scratch, count=130)
    assert keep_profiles(scratch, [news(name="Ada")]) == {("ws_test", ADA): KeptProfile(130, is_new=True)}
    row = profile(scratch)
    assert (row["observation_count"], row["last_active_at"]) == (130, NOON)
    assert (row["display_name"], row["email"], row["profile_confidence"]) == ("Ada", None, 0.5)
    observed(scratch, count=2)
    assert keep_profiles(scratch, [news()]) == {("ws_test", ADA): KeptProfile(132, is_new=False)}
    assert profile(scratch)["observation_count"] == 132


def test_an_actor_of_two_workspaces_has_a_profile_in_each(scratch: Connection):
    workspaces(scratch, "ws_other")
    observed(scratch, count=3)
    observed(scratch, count=5, workspace_id="ws_other")
    kept = keep_profiles(scratch, [news(), news(workspace_id="ws_other")])
    assert {key: found.observation_count for key, found in kept.items()} == {
        ("ws_test", ADA): 3,
        ("ws_other", ADA): 5,
    }
    assert [profile(scratch, workspace_id=id_)["observation_count"] for id_ in ("ws_test", "ws_other")] == [3, 5]


def test_what_is_known_of_an_actor_is_not_erased_by_news_that_lack_it(scratch: Connection):
    observed(scratch)
    identified(scratch, ADA, method="github_id")
    keep_profiles(scratch, [news(name="ada-l", email="ada@acme.io", avatar_url="https://acme.io/a.png")])
    keep_profiles(scratch, [news()])
    row, known = profile(scratch), identity(scratch, "583231")
    assert (row["display_name"], row["email"]) == ("ada-l", "ada@acme.io")
    assert [known[f"source_{name}"] for name in ("username", "email")] == ["ada-l", "ada@acme.io"]
    assert known["avatar_url"] == "https://acme.io/a.png"
    assert (known["canonical_actor_id"], known["mapping_method"]) == (ADA, "github_id")


def test_an_identity_that_is_missing_is_made(scratch: Connection):
    observed(scratch)
    keep_profiles(scratch, [news(name="ada-l")])
    known = identity(scratch, "583231")
    assert (known["clerk_org_id"], known["source"], known["source_username"]) == ("org_test", "github", "ada-l")
    assert (known["canonical_actor_id"], known["mapping_method"]) == (ADA, "webhook")


def test_name_and_e_mail_once_known_stay_and_the_first_of_a_batch_to_tell_them_wins(scratch: Connection):
    observed(scratch)
    told = [news(), news(name="ada-l", email="ada@acme.io"), news(name="Ada L.", email="ada@home.io")]
    assert keep_profiles(scratch, told) == {("ws_test", ADA): KeptProfile(1, is_new=True)}
    keep_profiles(scratch, [news(name="Countess", email="ada@court.io")])
    assert (profile(scratch)["display_name"], profile(scratch)["email"]) == ("ada-l", "ada@acme.io")
    assert identity(scratch, "583231")["source_username"] == "Countess"


@pytest.mark.parametrize(
    ("actor_id", "name"),
    [(ADA, "583231"), ("git:ada@acme.io", "ada@acme.io"), ("ada", "ada"), ("github:", "github:"), ("git:a:b", "a:b")],
)
def test_a_name_taken_from_the_id_gives_way_to_a_real_one(scratch: Connection, actor_id: str, name: str):
    observed(scratch, actor_id)
    for told in (None, "  "):
        keep_profiles(scratch, [news(actor_id, name=told)])
        assert profile(scratch, actor_id)["display_name"] == name
    keep_profiles(scratch, [news(actor_id, name="Ada")])
    assert profile(scratch, actor_id)["display_name"] == "Ada"
    keep_profiles(scratch, [news(actor_id)])
    assert profile(scratch, actor_id)["display_name"] == "Ada"


def test_what_a_superseded_request_knew_is_taken_from_the_identity(scratch: Connection):
    observed(scratch)
    identified(scratch, ADA, username="ada-l", email="ada@acme.io")
    keep_profiles(scratch, [news()])
    assert (profile(scratch)["display_name"], profile(scratch)["email"]) == ("ada-l", "ada@acme.io")


WORKSPACES = ("ws_test", "ws_other")
NAMES = st.sampled_from([None, "", "  ", "583231", "Ada", " Ada L. "])
TOLD = st.tuples(st.sampled_from(WORKSPACES), NAMES, NAMES)


def known_of_ada(connection: Connection) -> list[Any]:
    profiles = "select workspace_id, display_name, email from lightfast_workspace_actor_profiles order by 1"
    identities = "select source_username, source_email from lightfast_org_actor_identities"
    return [tuple(row) for sql in (profiles, identities) for row in connection.execute(text(sql))]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.none() | st.tuples(NAMES, NAMES),
    kept=st.none() | TOLD,
    told=st.lists(TOLD, min_size=1, max_size=4),
)
@example(before=("ada-l", "ada@acme.io"), kept=None, told=[("ws_test", None, None), ("ws_test", "Ada", "a@acme.io")])
@example(before=None, kept=None, told=[("ws_test", "  ", "  "), ("ws_test", "Ada", "a@acme.io")])
@example(before=None, kept=None, told=[("ws_test", "583231", None), ("ws_test", "Ada", None)])
@example(before=None, kept=None, told=[("ws_test", "Ada", "a@acme.io"), ("ws_other", None, None)])
def test_a_batch_names_an_actor_as_its_news_do_one_by_one(scratch: Connection, before: Any, kept: Any, told: list[Any]):
    results: list[Any] = []
    batch = [news(workspace_id=where, name=name, email=email) for where, name, email in told]
    for parts in ([batch], [[single] for single in batch]):
        with scratch.begin_nested() as attempt:
            workspaces(scratch, "ws_other")
            for workspace_id in WORKSPACES:
                observed(scratch, workspace_id=workspace_id)
            if before is not None:
                identified(scratch, ADA, username=before[0], email=before[1])
            if kept is not None:
                keep_profiles(scratch, [news(workspace_id=kept[0], name=kept[1], email=kept[2])])
            for part in parts:
                keep_profiles(scratch, part)
            results.append(known_of_ada(scratch))
            attempt.rollback()
    assert results[0] == results[1]


def test_blanks_are_no_news_of_a_name(scratch: Connection):
    observed(scratch)
    keep_profiles(scratch, [news(name="Ada", email="ada@acme.io")])
    keep_profiles(scratch, [news(name=" ", email="")])
    known = identity(scratch, "583231")
    assert (known["source_username"], known["source_email"]) == ("Ada", "ada@acme.io")


def test_texts_too_long_for_their_columns_are_cut(scratch: Connection):
    observed(scratch)
    keep_profiles(scratch, [news(name="n" * 300, email="e" * 300)])
    assert (profile(scratch)["display_name"], profile(scratch)["email"]) == ("n" * 255, "e" * 255)


def test_an_actor_without_observations_gets_neither_profile_nor_identity(scratch: Connection):
    observed(scratch)
    assert keep_profiles(scratch, [news("github:9", name="Nobody"), news()]).keys() == {("ws_test", ADA)}
    assert column(scratch, "select actor_id from lightfast_workspace_actor_profiles") == [ADA]
    assert column(scratch, "select source_id from lightfast_org_actor_identities") == ["583231"]


def test_a_profile_that_has_lost_its_observations_keeps_all_but_their_number(scratch: Connection):
    observed(scratch)
    keep_profiles(scratch, [news(name="ada-l")])
    handed_over(scratch, ADA, "github:9")
    assert keep_profiles(scratch, [news()]) == {("ws_test", ADA): KeptProfile(0, is_new=False)}
    row = profile(scratch)
    assert (row["display_name"], row["last_active_at"], row["merged_into"]) == ("ada-l", NOON, None)


def test_a_merged_profile_counts_nothing_and_readers_see_the_person_once(scratch: Connection):
    observed(scratch, LOGIN, 2)
    observed(scratch, ADA, 3)
    keep_profiles(scratch, [news(LOGIN, name="Ada"), news(ADA)])
    assert {row["actor_id"] for row in profiles_of(scratch, workspace_id="ws_test")} == {LOGIN, ADA}
    handed_over(scratch)
    kept = keep_profiles(scratch, [news(LOGIN, merged_into=ADA), news(ADA)])
    assert kept == {
        ("ws_test", LOGIN): KeptProfile(0, is_new=False, merged_into=ADA),
        ("ws_test", ADA): KeptProfile(5, is_new=False),
    }
    assert [row["actor_id"] for row in profiles_of(scratch, workspace_id="ws_test")] == [ADA]
    for actor_id in (LOGIN, ADA):
        found = profile_of(scratch, workspace_id="ws_test", actor_id=actor_id)
        assert found is not None
        assert (found["actor_id"], found["observation_count"]) == (ADA, 5)
    assert profile_of(scratch, workspace_id="ws_test", actor_id="github:9") is None
    keep_profiles(scratch, [news(LOGIN)])
    assert profile(scratch, LOGIN)["merged_into"] == ADA, "news that say nothing of it undo no merge"


def test_a_merge_waits_until_nothing_is_left_under_the_old_id(scratch: Connection):
    observed(scratch, LOGIN)
    assert keep_profiles(scratch, [news(LOGIN, merged_into=ADA)]) == {("ws_test", LOGIN): KeptProfile(1, is_new=True)}
    keep_profiles(scratch, [news(LOGIN, merged_into=ADA)])
    assert profile(scratch, LOGIN)["merged_into"] is None


def test_a_merged_actor_who_acts_again_under_the_old_id_lives_again(scratch: Connection):
    observed(scratch, LOGIN)
    keep_profiles(scratch, [news(LOGIN)])
    handed_over(scratch)
    keep_profiles(scratch, [news(LOGIN, merged_into=ADA)])
    observed(scratch, LOGIN)
    assert keep_profiles(scratch, [news(LOGIN)]) == {("ws_test", LOGIN): KeptProfile(1, is_new=False)}
    assert profile(scratch, LOGIN)["merged_into"] is None


def test_the_identity_of_a_merged_name_points_to_the_account_and_captures_still_find_it(scratch: Connection):
    id_ = identified(scratch, username="ada-l")
    keep_profiles(scratch, [news(LOGIN, merged_into=ADA)])
    assert points_to(scratch) == (ADA, "commit_sha")
    assert identified(scratch) == id_
    observed(scratch, LOGIN)
    keep_profiles(scratch, [news(LOGIN, name="Ada")])
    assert points_to(scratch) == (ADA, "commit_sha")


def test_an_identity_points_nowhere_else_while_its_organisation_has_observations_under_the_name(scratch: Connection):
    workspaces(scratch, "ws_other")
    create_workspace(scratch, "ws_stranger", organisation="org_stranger", name="s", settings=SETTINGS)
    identified(scratch)
    for workspace_id in ("ws_other", "ws_stranger"):
        observed(scratch, LOGIN, workspace_id=workspace_id)
    keep_profiles(scratch, [news(LOGIN, merged_into=ADA)])
    assert points_to(scratch) == (LOGIN, "username")
    handed_over(scratch, workspace_id="ws_other")
    keep_profiles(scratch, [news(LOGIN, merged_into=ADA, workspace_id="ws_other")])
    assert points_to(scratch) == (ADA, "commit_sha")


OTHER = "github:9"


def told_at_once(connection: Connection) -> None:
    keep_profiles(connection, [news(LOGIN, merged_into=ADA), news(LOGIN, merged_into=OTHER)])


def told_one_after_the_other(connection: Connection) -> None:
    for account in (ADA, OTHER):
        keep_profiles(connection, [news(LOGIN, merged_into=account)])


def told_in_another_workspace(connection: Connection) -> None:
    """Where the first workspace's merge was known before the second's observations were gone."""
    workspaces(connection, "ws_other")
    observed(connection, LOGIN)
    keep_profiles(connection, [news(LOGIN)])
    handed_over(connection)
    observed(connection, LOGIN, workspace_id="ws_other")
    keep_profiles(connection, [news(LOGIN, merged_into=ADA)])
    handed_over(connection, LOGIN, OTHER, workspace_id="ws_other")
    keep_profiles(connection, [news(LOGIN, merged_into=OTHER, workspace_id="ws_other")])


@pytest.mark.parametrize("tell", [told_at_once, told_one_after_the_other, told_in_another_workspace])
def test_a_name_of_two_accounts_points_to_neither_for_good(scratch: Connection, tell: Any):
    identified(scratch)
    tell(scratch)
    assert points_to(scratch) == (LOGIN, "ambiguous")
    keep_profiles(scratch, [news(LOGIN, merged_into=ADA)])
    assert points_to(scratch) == (LOGIN, "ambiguous")


@contextmanager
def statements(connection: Connection) -> Iterator[list[str]]:
    """Collect what is sent to the database."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    yield sent
    event.remove(connection, "before_cursor_execute", note)


def test_many_actors_cost_as_many_statements_as_one(scratch: Connection):
    for n in range(50):
        observed(scratch, f"github:{n}")
    with statements(scratch) as for_one:
        keep_profiles(scratch, [news("github:0", merged_into=ADA)])
    with statements(scratch) as for_all:
        kept = keep_profiles(scratch, [news(f"github:{n}", merged_into=ADA) for n in range(50)])
    assert len(kept) == 50
    assert len(for_one) == len(for_all) == 4
