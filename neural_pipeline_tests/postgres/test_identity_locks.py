"""Identities and adopted observations at once: whoever holds some of them waits for nobody who waits for him."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.events import Actor
from neural_pipeline.contracts.memory import ActorNews, Entity, NewObservation, Replaced
from neural_pipeline.store.extracted_entities import Finding, keep_extracted
from neural_pipeline.store.identities import Identity, adopt_commit_authors, keep_identities, point_to_accounts
from neural_pipeline.store.observations import keep_observations
from neural_pipeline.store.profiles import keep_profiles
from neural_pipeline_tests.building import NOON, column, decided, in_transaction, ready, waits_for_a_lock

pytestmark = pytest.mark.usefixtures("workspace")
ACCOUNT = "github:1"
FIRST, LATER = "github:ada", "github:bob"

_OBSERVED = """
insert into lightfast_workspace_neural_observations (workspace_id, occurred_at, observation_type, title, content,
  source, source_type, source_id, canonical_actor_id, actor, source_references, metadata)
values ('ws_test', :at, 'push', 't', 'c', :source, 'push', gen_random_uuid()::text, :canonical_id,
  jsonb_build_object('id', cast(:id as text), 'name', 'ada'), '[{"type": "commit", "id": "abc"}]', '{}')
returning id
"""


def observed(connection: Connection, canonical_id: str, *, source: str = "github") -> int:
    source_id = canonical_id.partition(":")[2]
    fields = {"at": NOON, "source": source, "canonical_id": canonical_id, "id": source_id}
    return int(connection.execute(text(_OBSERVED), fields).scalar_one())


def identities(connection: Connection, *actor_ids: str) -> None:
    """Keep identities as a capture does."""
    for_all = {"username": None, "email": None, "avatar_url": None, "method": "username"}
    keep_identities(connection, [Identity("org_test", one, *one.split(":"), **for_all) for one in actor_ids])


def held(connection: Connection, actor_id: str) -> None:
    sql = "select from lightfast_org_actor_identities where source_id = :id for no key update"
    connection.execute(text(sql), {"id": actor_id.partition(":")[2]})


def is_free(engine: Engine, actor_id: str) -> bool:
    sql = "select id from lightfast_org_actor_identities where source_id = :id for no key update skip locked"
    with engine.begin() as connection:
        return bool(column(connection, sql, id=actor_id.partition(":")[2]))


@contextmanager
def held_up(engine: Engine, act: Callable[[Connection], object]) -> Iterator[Future[object]]:
    """Have a transaction wait for the identity that comes first in order; then let it go on."""
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            held(connection, FIRST)
            waiting = pool.submit(in_transaction, engine, act)
            assert waits_for_a_lock(waiting)
            yield waiting
        waiting.result(timeout=20)


def test_identities_are_pointed_to_accounts_in_the_order_in_which_captures_keep_them(engine: Engine) -> None:
    with engine.begin() as connection:
        identities(connection, LATER)
        identities(connection, FIRST)
    pairs = [("org_test", actor_id, ACCOUNT) for actor_id in (LATER, FIRST)]
    with held_up(engine, lambda connection: point_to_accounts(connection, pairs)):
        assert is_free(engine, LATER)


def test_a_capture_that_replaces_keeps_all_its_identities_in_one_order(engine: Engine) -> None:
    _, seen = ready(engine, 2)
    new = [one.verdict for one in decided(seen) if isinstance(one.verdict, NewObservation)]
    with engine.begin() as connection:
        identities(connection, FIRST, LATER)
    by_two = [acted(one, actor_id) for one, actor_id in zip(new, (LATER, FIRST), strict=True)]
    with held_up(engine, lambda connection: len(keep_observations(connection, by_two).cluster_ids)):
        assert is_free(engine, LATER)


def acted(one: NewObservation, actor_id: str) -> NewObservation:
    """Have an actor do it, and have it replace what is gone by now."""
    actor = Actor(id=actor_id.partition(":")[2], name="somebody")
    gone = Replaced(0, one.external_id, None)
    return replace(one, replaces=gone, actor=replace(one.actor, actor=actor, canonical_id=actor_id, method="username"))


def test_a_profile_update_that_merges_and_a_capture_wait_in_no_circle(engine: Engine) -> None:
    """The update waits for a profile, after it has pointed an identity and before it has kept the others."""
    with engine.begin() as connection:
        identities(connection, FIRST, LATER)
        observed(connection, FIRST)
        keep_profiles(connection, [ActorNews("ws_test", "org_test", FIRST)])
    told = [
        ActorNews("ws_test", "org_test", LATER, merged_into=ACCOUNT),
        ActorNews("ws_test", "org_test", FIRST),
    ]
    with ThreadPoolExecutor(2) as pool:
        with engine.begin() as connection:
            connection.execute(text("select from lightfast_workspace_actor_profiles for update"))
            update = pool.submit(in_transaction, engine, lambda other: keep_profiles(other, told))
            assert waits_for_a_lock(update)
            capture = pool.submit(in_transaction, engine, lambda other: identities(other, FIRST, LATER))
            assert waits_for_a_lock(capture)
        assert update.result(timeout=20).keys() == {("ws_test", FIRST)}
        capture.result(timeout=20)


REDIS = Entity("service", "redis", "Redis", 0.8, "uses Redis")


def pushed_and_deployed(engine: Engine) -> tuple[int, int]:
    """Store a push of an account and a deployment under the user name of the same person."""
    with engine.begin() as connection:
        return observed(connection, ACCOUNT), observed(connection, FIRST, source="vercel")


def adopted(engine: Engine, push: int) -> Callable[[Connection], int]:
    return lambda connection: len(adopt_commit_authors(connection, [push]))


def extracted(deployment: int) -> Callable[[Connection], dict[int, int]]:
    finding = Finding(1, "ws_test", deployment, (REDIS,), "offline:prose")
    return lambda connection: keep_extracted(connection, [finding])


def test_adopting_a_deployment_and_extracting_from_it_do_not_wait_for_each_other(engine: Engine) -> None:
    for order in (0, 1):
        push, deployment = pushed_and_deployed(engine)
        acts: list[Callable[[Connection], object]] = [adopted(engine, push), extracted(deployment)]
        first, second = acts[order], acts[1 - order]
        with ThreadPoolExecutor(1) as pool, engine.begin() as connection:
            assert first(connection)
            assert pool.submit(in_transaction, engine, second).result(timeout=5)
