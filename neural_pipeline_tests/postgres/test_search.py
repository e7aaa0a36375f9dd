"""Search: what each way finds, how the rankings are merged, whose memory it is, and which indexes serve it."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.store import search_ways
from neural_pipeline.store.search import DAMPING, Embedding, Hit, Reason, names_in, search, snippet
from neural_pipeline.store.search_ways import Scope, named_actors, named_entities, near_texts, other_models
from neural_pipeline.store.vectors import Embedded, write_vectors
from neural_pipeline.workflows.vector_indexing.indexing import VectorIndexing
from neural_pipeline_tests.building import NOON, column, workspaces

OBSERVATIONS = "lightfast_workspace_neural_observations"
ENTITIES = "lightfast_workspace_neural_entities"
EMBEDDER = HashingEmbedder(64)
_INSERT = f"""
insert into {OBSERVATIONS} (workspace_id, occurred_at, observation_type, title, content, source, source_type, source_id,
  actor, canonical_actor_id, cluster_id)
values (:workspace_id, :at, 'push', :title, :content, 'github', 'push', gen_random_uuid()::text, cast(:actor as jsonb),
  :canonical_id, :cluster_id) returning id
"""


def observe(
    connection: Connection,
    title: str,
    content: str = "",
    *,
    workspace_id: str = "ws_test",
    hours: float = 0,
    actor: tuple[str, str] | None = None,
    names: Sequence[str] = (),
    embedder: HashingEmbedder = EMBEDDER,
    cluster_id: int | None = None,
) -> int:
    """Store an observation with its vectors; `actor` is canonical id and name, `names` are keys of entities."""
    canonical_id, name = actor or (None, None)
    parameters = {
        "workspace_id": workspace_id,
        "at": NOON + timedelta(hours=hours),
        "title": title,
        "content": content or title,
        "actor": json.dumps({"id": "1", "name": name}) if name else None,
        "canonical_id": canonical_id,
        "cluster_id": cluster_id,
    }
    [id_] = column(connection, _INSERT, **parameters)
    vectors = embedder.embed([title, content or title, f"{title}\n\n{content}"])
    write_vectors(connection, [Embedded(id_, workspace_id, embedder.name, vectors)])
    for key in names:
        mention(connection, id_, key, workspace_id=workspace_id)
    return id_


def mention(connection: Connection, observation_id: int, key: str, *, workspace_id: str = "ws_test") -> None:
    sql = f"""
    with kept as (
      insert into {ENTITIES} as e (workspace_id, category, key) values (:workspace_id, 'engineer', :key)
      on conflict (workspace_id, category, lower(key)) do update set occurrence_count = e.occurrence_count + 1
      returning id
    )
    insert into observation_entities (observation_id, entity_id, confidence, extracted_by)
    select :id, id, 1, 'rules' from kept
    """
    connection.execute(text(sql), {"workspace_id": workspace_id, "key": key, "id": observation_id})


def find(connection: Connection, asked: str, *, workspace_id: str = "ws_test", limit: int = 10) -> list[Hit]:
    embedding = Embedding(EMBEDDER.name, EMBEDDER.embed([asked])[0])
    return search(connection, asked, workspace_id=workspace_id, embedding=embedding, limit=limit)


def titles(hits: Sequence[Hit]) -> list[str]:
    return [hit.title for hit in hits]


def scope(depth: int = 50, workspace_id: str = "ws_test") -> Scope:
    return Scope(workspace_id, depth)


def index_everything(engine: Engine) -> None:
    VectorIndexing(engine, tail=0, seconds=60).run()


def test_the_nearest_text_comes_first_whether_it_is_in_the_tail_or_the_indexed_part(engine: Engine) -> None:
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
        observe(connection, "checkout fails with a timeout at the payment provider")
        observe(connection, "new colours of the landing page")
    index_everything(engine)
    with engine.begin() as connection:
        observe(connection, "checkout timeout")
        observe(connection, "dependencies renewed")
        hits = find(connection, "checkout timeout")
    assert titles(hits)[:2] == ["checkout timeout", "checkout fails with a timeout at the payment provider"]
    assert hits[0].why == (Reason("vector", 1.0),)
    assert hits[0].score == pytest.approx(1 / (DAMPING + 1), abs=1e-5)


def test_a_hit_tells_what_it_is(scratch: Connection) -> None:
    sql = (
        "insert into lightfast_workspace_observation_clusters (workspace_id, topic_label) values ('ws_test', 'Paying')"
    )
    [cluster] = column(scratch, sql + " returning id")
    id_ = observe(scratch, "checkout", "It is slow.\n" * 3, hours=1, actor=("github:7", "ada"), cluster_id=cluster)
    [hit] = find(scratch, "checkout slow")
    [external_id] = column(scratch, f"select external_id from {OBSERVATIONS} where id = :id", id=id_)
    assert (hit.id, hit.occurred_at, hit.source, hit.type) == (external_id, NOON + timedelta(hours=1), "github", "push")
    assert (hit.title, hit.snippet, hit.actor, hit.cluster) == (
        "checkout", "It is slow. It is slow. It is slow.", "ada", "Paying",
    )  # fmt: skip


def test_texts_that_have_nothing_in_common_are_not_found(scratch: Connection) -> None:
    observe(scratch, "alpha beta gamma")
    observe(scratch, "delta epsilon zeta")
    near = near_texts(scratch, EMBEDDER.embed(["alpha beta gamma"])[0], model=EMBEDDER.name, scope=scope())
    assert all(one.similarity >= search_ways.MIN_SIMILARITY for one in near)
    vector = -EMBEDDER.embed(["alpha beta gamma"])[0]
    assert near_texts(scratch, vector, model=EMBEDDER.name, scope=scope()) == []


@pytest.mark.parametrize("asked", ["@ada", "ada", "ADA", "who is @Ada?", "#ada", "(ada)"])
def test_an_entity_is_found_by_its_key_in_any_case_with_or_without_its_sign(scratch: Connection, asked: str) -> None:
    id_ = observe(scratch, "one", names=["@ada"])
    observe(scratch, "two", names=["@adam"])
    [entity] = named_entities(scratch, names_in(asked), scope=scope())
    assert (entity.key, entity.observation_ids) == ("@ada", (id_,))


@pytest.mark.parametrize(("key", "asked"), [("#12", "12"), ("GET /users", "why does GET /users fail"), ("A_B", "a_b,")])
def test_keys_of_several_words_and_other_signs_are_found(scratch: Connection, key: str, asked: str) -> None:
    id_ = observe(scratch, "one", names=[key])
    assert [entity.observation_ids for entity in named_entities(scratch, names_in(asked), scope=scope())] == [(id_,)]


@pytest.mark.parametrize("frequent", [0, 1000])
def test_the_newest_observations_of_an_entity_come_first_however_many_there_are(
    scratch: Connection, monkeypatch: pytest.MonkeyPatch, frequent: int
) -> None:
    monkeypatch.setattr(search_ways, "FREQUENT", frequent)
    ids = [observe(scratch, f"n{hours}", hours=hours, names=["@ada"]) for hours in (3, 1, 4, 2)]
    observe(scratch, "nobody", hours=9)
    [entity] = named_entities(scratch, ["@ada"], scope=scope(3))
    assert entity.observation_ids == (ids[2], ids[0], ids[3])


@pytest.mark.parametrize(
    "asked", ["ada", "@Ada", "Ada King", "what did ada king do", "7", "github:7", "ada-old", "the countess"]
)
def test_an_actor_is_found_by_login_name_and_id(scratch: Connection, asked: str) -> None:
    mine = [observe(scratch, f"n{hours}", hours=hours, actor=("github:7", "Ada King")) for hours in (1, 3, 2)]
    observe(scratch, "other", actor=("github:8", "grace"))
    identity = """
    insert into lightfast_org_actor_identities (clerk_org_id, canonical_actor_id, source, source_id, source_username,
      mapping_method, confidence_score)
    values ('org_test', 'github:7', 'github', '7', 'Ada', 'github_id', 1),
      ('org_test', 'github:7', 'git', 'x', 'ada-old', 'email', 1),
      ('org_else', 'github:8', 'github', '8', 'ada', 'github_id', 1)
    """
    profile = """
    insert into lightfast_workspace_actor_profiles (workspace_id, actor_id, display_name, merged_into)
    values ('ws_test', 'github:countess', 'The Countess', 'github:7')
    """
    for sql in (identity, profile):
        scratch.execute(text(sql))
    assert named_actors(scratch, names_in(asked), scope=scope(2)) == [mine[1], mine[2]]


def test_a_name_that_only_observations_carry_is_found_too(scratch: Connection) -> None:
    id_ = observe(scratch, "one", actor=("github:7", "Ada's Other Name"))
    assert named_actors(scratch, names_in("ada's other name"), scope=scope()) == [id_]


def test_what_several_ways_find_comes_before_what_one_finds_and_says_all_of_them(scratch: Connection) -> None:
    observe(scratch, "checkout timeout", hours=1)
    observe(scratch, "weekly report", hours=2, names=["@ada"])
    observe(scratch, "checkout timeout again", names=["@ada"], actor=("github:7", "ada"))
    hits = find(scratch, "checkout timeout @ada")
    assert hits[0].title == "checkout timeout again"
    assert [reason.way for reason in hits[0].why] == ["vector", "entity", "actor"]
    assert hits[0].why[1].detail == "engineer:@ada"
    assert hits[0].score == pytest.approx(1 / (DAMPING + 2) + 1 / (DAMPING + 2) + 1 / (DAMPING + 1), abs=1e-3)
    assert {"checkout timeout", "weekly report"} <= {*titles(hits)}
    assert titles(find(scratch, "checkout timeout @ada", limit=1)) == ["checkout timeout again"]


def test_without_an_embedding_names_are_found_all_the_same(scratch: Connection) -> None:
    observe(scratch, "ada", names=["@ada"])
    [hit] = search(scratch, "ada", workspace_id="ws_test", embedding=None, limit=5)
    assert [reason.way for reason in hit.why] == ["entity"]


def test_other_workspaces_are_not_searched(scratch: Connection) -> None:
    workspaces(scratch, "ws_other")
    observe(scratch, "checkout", workspace_id="ws_other", names=["@ada"], actor=("github:7", "ada"))
    assert find(scratch, "checkout @ada ada") == []
    assert len(find(scratch, "checkout @ada ada", workspace_id="ws_other")) == 1


def test_vectors_of_another_model_are_not_compared_but_counted(engine: Engine) -> None:
    old = HashingEmbedder(32)
    with engine.begin() as connection:
        workspaces(connection, "ws_test", "ws_other")
        observe(connection, "checkout one", embedder=old)
        observe(connection, "checkout elsewhere", embedder=old, workspace_id="ws_other")
    index_everything(engine)
    with engine.begin() as connection:
        observe(connection, "checkout two", embedder=old)
        observe(connection, "checkout three", embedder=HashingEmbedder(128))
        observe(connection, "checkout four")
        assert titles(find(connection, "checkout")) == ["checkout four"]
        assert other_models(connection, "ws_test", EMBEDDER.name) == 3
        assert other_models(connection, "ws_test", old.name) == 2


@pytest.mark.parametrize("asked", ["", "   ", "\x00", "'; drop table x; --", "%s %(x)s :name", "@", "a" * 5000])
def test_no_text_is_too_odd_to_look_for(scratch: Connection, asked: str) -> None:
    observe(scratch, "one")
    vector = Embedding(EMBEDDER.name, EMBEDDER.embed([asked])[0])
    assert search(scratch, asked.replace("\x00", ""), workspace_id="ws_test", embedding=vector, limit=5) is not None


def test_a_vector_of_a_wrong_length_does_no_harm(scratch: Connection) -> None:
    id_ = observe(scratch, "bad one", embedder=HashingEmbedder(32))
    scratch.execute(
        text("update observation_vectors set model = :m where observation_id = :id"), {"m": "hashing-64", "id": id_}
    )
    observe(scratch, "good one")
    assert titles(find(scratch, "good one")) == ["good one"]


def test_a_snippet_shows_where_the_longest_word_stands_on_one_line() -> None:
    assert snippet("short\n text", ["text"]) == "short text"
    long = "begin " + "x " * 300 + "needle\nin hay " + "y " * 300
    assert "needle in hay" in snippet(long, ["in", "Needle"])
    assert snippet(long, ["needle"]).startswith("...")
    assert snippet(long, ["missing"]).startswith("begin x")
    assert len(snippet(long, ["needle"])) <= 166


# Which indexes serve


@pytest.fixture
def large(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A workspace of 6,000 vectors, enough to ask the index, beside one of three; all are indexed."""
    monkeypatch.setattr(search_ways, "COMPARED_ONE_BY_ONE", 5_000 * 16)
    random = np.random.default_rng(1)
    with engine.begin() as connection:
        workspaces(connection, "ws_large", "ws_small")
        for name, count in (("ws_large", 6000), ("ws_small", 3)):
            fill(connection, name, random.normal(size=(count, 16)).astype(np.float32))
    index_everything(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("analyze"))
    return engine


def fill(connection: Connection, workspace_id: str, drawn: Any) -> None:
    sql = f"""
    insert into {OBSERVATIONS} (workspace_id, occurred_at, observation_type, title, content, source, source_type,
      source_id, actor, canonical_actor_id)
    select :workspace_id, now() - make_interval(mins => n), 'push', 'title ' || n, '', 'github', 'push', n,
      jsonb_build_object('name', 'name' || n % 500), 'github:' || n % 500 from generate_series(1, :count) n returning id
    """
    ids = column(connection, sql, workspace_id=workspace_id, count=len(drawn))
    write_vectors(
        connection,
        (Embedded(id_, workspace_id, "drawn", [one] * 3) for id_, one in zip(ids, drawn, strict=True)),  # type: ignore[arg-type]
    )
    sql = f"""
    with made as (
      insert into {ENTITIES} (workspace_id, category, key) select :workspace_id, 'engineer', '@e' || n
      from generate_series(0, 499) n returning id
    ), numbered as (select id, row_number() over (order by id) as n from made)
    insert into observation_entities (observation_id, entity_id, confidence, extracted_by)
    select o.id, numbered.id, 1, 'rules' from {OBSERVATIONS} o join numbered on numbered.n = 1 + o.id % 500
    where o.workspace_id = :workspace_id
    """
    connection.execute(text(sql), {"workspace_id": workspace_id})


def vectors_of(connection: Connection, workspace_id: str) -> tuple[list[int], Any]:
    sql = "select observation_id, embedding::text as v from indexed_vectors where workspace_id = :w order by 1"
    found = connection.execute(text(sql), {"w": workspace_id}).all()
    return [row[0] for row in found], np.array([json.loads(row[1]) for row in found], dtype=np.float32)


def test_a_small_workspace_beside_a_huge_one_gets_all_it_has_in_exact_order(large: Engine) -> None:
    with large.begin() as connection:
        ids, vectors = vectors_of(connection, "ws_small")
        near = near_texts(connection, vectors[0], model="drawn", scope=scope(50, "ws_small"))
    similarity = vectors @ vectors[0] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[0])
    wanted = [ids[place] for place in np.argsort(-similarity) if similarity[place] >= search_ways.MIN_SIMILARITY]
    assert [one.observation_id for one in near] == wanted


def test_a_huge_workspace_gets_nearly_all_of_the_nearest_from_the_index_and_all_of_the_tail(large: Engine) -> None:
    with large.begin() as connection:
        ids, vectors = vectors_of(connection, "ws_large")
        asked = vectors[17]
        [new] = column(
            connection,
            f"update {OBSERVATIONS} set title = 'new' where id = (select min(id) from {OBSERVATIONS}) returning id",
        )
        connection.execute(text("delete from indexed_vectors where observation_id = :id"), {"id": new})
        connection.execute(text("delete from observation_vectors where observation_id = :id"), {"id": new})
        write_vectors(connection, [Embedded(new, "ws_large", "drawn", np.stack([asked] * 3))])
        near = near_texts(connection, asked, model="drawn", scope=scope(50, "ws_large"))
    similarity = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    nearest = {ids[place] for place in np.argsort(-similarity)[:51]} - {new}
    assert {near[0].observation_id, near[1].observation_id} == {new, ids[17]}
    assert len(nearest & {one.observation_id for one in near}) >= 40
    assert [one.similarity for one in near] == sorted((one.similarity for one in near), reverse=True)


def test_where_the_index_gives_too_few_all_are_compared(large: Engine) -> None:
    with large.begin() as connection:
        # As if most of the index were other workspaces' vectors.
        connection.execute(text("set local hnsw.max_scan_tuples = 1"))
        connection.execute(text("update indexed_vectors set workspace_id = 'ws_small' where observation_id % 50 > 0"))
        ids, vectors = vectors_of(connection, "ws_large")
        asked = vectors[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search_ways, "COMPARED_ONE_BY_ONE", 10 * 16)
            near = near_texts(connection, asked, model="drawn", scope=scope(50, "ws_large"))
    similarity = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    wanted = [ids[p] for p in np.argsort(-similarity)[:50] if similarity[p] >= search_ways.MIN_SIMILARITY]
    assert [one.observation_id for one in near] == wanted


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


def plans(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Have every statement of the ways explained; return the nodes of the plans as they come to be made."""
    seen: list[dict[str, Any]] = []
    real = search_ways.rows

    def explained(connection: Connection, sql: str, **parameters: Any) -> Any:
        [plan] = column(connection, f"explain (format json) {sql}", **parameters)
        seen.extend(nodes(plan[0]["Plan"]))
        return real(connection, sql, **parameters)

    monkeypatch.setattr(search_ways, "rows", explained)
    return seen


def test_the_indexed_part_is_asked_through_its_index(large: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with large.begin() as connection:
        _, vectors = vectors_of(connection, "ws_large")
        seen = plans(connection, monkeypatch)
        near_texts(connection, vectors[0], model="drawn", scope=scope(50, "ws_large"))
    used = {node.get("Index Name") for node in seen}
    assert any(str(name).startswith("indexed_vector_ann_drawn") for name in used)
    assert [
        node for node in seen if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "indexed_vectors"
    ] == []


@pytest.mark.parametrize("frequent", [0, 10_000])
def test_names_are_found_without_reading_a_large_table_from_end_to_end(
    large: Engine, monkeypatch: pytest.MonkeyPatch, frequent: int
) -> None:
    monkeypatch.setattr(search_ways, "FREQUENT", frequent)
    with large.begin() as connection:
        seen = plans(connection, monkeypatch)
        assert named_entities(connection, names_in("what of @e7"), scope=scope(50, "ws_large"))
        assert named_actors(connection, names_in("what of name7"), scope=scope(50, "ws_large"))
        assert other_models(connection, "ws_large", "drawn") == 0
    read = {node["Relation Name"] for node in seen if node["Node Type"] == "Seq Scan"}
    assert read & {OBSERVATIONS, ENTITIES, "observation_entities", "indexed_vectors", "observation_vectors"} == set()
    used = {node.get("Index Name") for node in seen}
    assert {"entity_workspace_lower_key_idx", "obs_actor_name_idx"} <= used
