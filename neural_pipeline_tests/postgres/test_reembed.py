"""Moving a workspace to another embedder: what is made anew, what is left alone, and going on after an interruption."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from neural_pipeline.contracts.memory import views_of_text
from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.store import reembedding
from neural_pipeline.store.reembedding import Left
from neural_pipeline.store.search import Embedding, search
from neural_pipeline.store.sql import vector_text
from neural_pipeline.workflows.reembedding.passes import Reembedding, ReembeddingRefused, Renewed
from neural_pipeline.workflows.vector_indexing.indexing import VectorIndexing
from neural_pipeline_tests.building import column, in_transaction, one, waits_for_a_lock, workspaces
from neural_pipeline_tests.postgres.test_search import observe

OBSERVATIONS = "lightfast_workspace_neural_observations"
CLUSTERS = "lightfast_workspace_observation_clusters"
OLD, NEW = HashingEmbedder(16), HashingEmbedder(24)


class Interrupted(Exception):
    """Somebody has pulled the plug."""


class Embedder:
    """Embeds as `NEW` does; before each batch something may happen."""

    name, dimension = NEW.name, NEW.dimension

    def __init__(self, *before: Any) -> None:
        self.before = list(before)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Let happen what is to happen next, then embed."""
        if self.before and (act := self.before.pop(0)):
            act()
        return NEW.embed(texts)


def interrupt() -> None:
    raise Interrupted


@pytest.fixture
def memory(engine: Engine) -> Engine:
    """Seven observations in two clusters, four of them indexed, and a workspace that is none of our business."""
    with engine.begin() as connection:
        workspaces(connection, "ws_test", "ws_other")
        sql = f"""
        insert into {CLUSTERS} (workspace_id, topic_label, centroid, centroid_model)
        select name, 'topic', cast(:centroid as vector), 'hashing-16'
        from unnest(array['ws_test', 'ws_test', 'ws_other']) name returning id
        """
        first, second, other = column(connection, sql, centroid=vector_text(OLD.embed(["topic"])[0]))
        for n, cluster in enumerate((first, first, second, second)):
            observe(connection, f"checkout {n}", f"body number {n}", embedder=OLD, cluster_id=cluster)
        observe(connection, "elsewhere", embedder=OLD, workspace_id="ws_other", cluster_id=other)
    VectorIndexing(engine, tail=0, seconds=60).run()
    with engine.begin() as connection:
        for n in range(4, 7):
            observe(connection, f"checkout {n}", embedder=OLD, cluster_id=second)
    return engine


def move(engine: Engine, embedder: Any = NEW, *, batch: int = 3) -> Renewed:
    return Reembedding(engine, "ws_test", embedder, batch, told=lambda done: None).run()


def vectors(engine: Engine, workspace_id: str = "ws_test") -> list[tuple[Any, ...]]:
    """Return title, view, model and length of every vector, whichever part it is in."""
    sql = f"""
    select o.title, v.view, v.model, vector_dims(v.embedding), v.embedding::text from (
      select * from observation_vectors union all select * from indexed_vectors
    ) v join {OBSERVATIONS} o on o.id = v.observation_id where v.workspace_id = :w order by 1, 2
    """
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql), {"w": workspace_id})]


def models(engine: Engine) -> dict[tuple[str, int], int]:
    counted: dict[tuple[str, int], int] = {}
    for _, _, model, length, _ in vectors(engine):
        counted[model, length] = counted.get((model, length), 0) + 1
    return counted


def titles(engine: Engine, embedder: HashingEmbedder) -> set[str]:
    embedding = Embedding(embedder.name, embedder.embed(["checkout"])[0])
    with engine.begin() as connection:
        return {
            hit.title for hit in search(connection, "checkout", workspace_id="ws_test", embedding=embedding, limit=50)
        }


def test_every_vector_is_made_anew_as_a_capture_makes_it_and_the_other_workspace_is_untouched(memory: Engine) -> None:
    others = vectors(memory, "ws_other")
    assert move(memory) == Renewed(observations=7, clusters=2)
    assert models(memory) == {("hashing-24", 24): 21}
    made = {(title, view): vector for title, view, _, _, vector in vectors(memory)}
    texts = views_of_text("checkout 1", "body number 1")
    for view, wanted in zip(("title", "content", "summary"), NEW.embed(texts), strict=True):
        got = np.array(made["checkout 1", view][1:-1].split(","), dtype=np.float32)
        assert np.allclose(got, wanted, atol=1e-6)
    assert vectors(memory, "ws_other") == others
    with memory.begin() as connection:
        sql = f"select centroid_model from {CLUSTERS} where workspace_id = 'ws_other'"
        assert column(connection, sql) == ["hashing-16"]


def test_a_centroid_becomes_the_mean_of_the_content_vectors(memory: Engine) -> None:
    move(memory)
    with memory.begin() as connection:
        sql = f"select centroid_model, centroid::text from {CLUSTERS} where workspace_id = 'ws_test' order by id"
        row = connection.execute(text(sql)).mappings().first()
    assert row is not None
    mean = NEW.embed(["body number 0", "body number 1"]).mean(axis=0)
    assert row["centroid_model"] == "hashing-24"
    assert np.allclose(np.array(row["centroid"][1:-1].split(","), dtype=np.float32), mean, atol=1e-6)


def test_broken_off_in_the_middle_it_goes_on_with_what_is_left_and_search_finds_what_is_done(memory: Engine) -> None:
    assert titles(memory, OLD) == {f"checkout {n}" for n in range(7)}
    with pytest.raises(Interrupted):
        move(memory, Embedder(None, interrupt))
    assert models(memory) == {("hashing-24", 24): 9, ("hashing-16", 16): 12}
    assert len(titles(memory, NEW)) == 3
    with memory.begin() as connection:
        assert reembedding.left(connection, "ws_test", model=NEW.name) == Left(observations=4, clusters=2)
    assert move(memory) == Renewed(observations=4, clusters=2)
    assert models(memory) == {("hashing-24", 24): 21}
    assert titles(memory, NEW) == {f"checkout {n}" for n in range(7)}
    assert move(memory) == Renewed()


def test_broken_off_before_the_centroids_those_are_what_is_left(memory: Engine) -> None:
    def told(done: Renewed) -> None:
        if done.observations == 7:
            raise Interrupted

    with pytest.raises(Interrupted):
        Reembedding(memory, "ws_test", NEW, 3, told=told).run()
    assert move(memory) == Renewed(clusters=2)


def test_what_a_capture_adds_meanwhile_by_the_old_model_is_embedded_anew_too(memory: Engine) -> None:
    def capture() -> None:
        with memory.begin() as connection:
            observe(connection, "checkout late", embedder=OLD)

    assert move(memory, Embedder(None, None, capture)).observations == 8
    assert models(memory) == {("hashing-24", 24): 24}


def test_an_observation_that_is_replaced_while_the_model_works_gets_no_vectors_back(memory: Engine) -> None:
    def replace() -> None:
        with memory.begin() as connection:
            connection.execute(text(f"delete from {OBSERVATIONS} where title = 'checkout 0'"))

    assert move(memory, Embedder(replace)).observations == 6
    assert models(memory) == {("hashing-24", 24): 18}


def test_no_transaction_is_open_while_the_model_works(memory: Engine) -> None:
    def look() -> None:
        with memory.begin() as connection:
            sql = """
            select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
              and state like 'idle in transaction%'
            """
            assert column(connection, sql) == [0]

    move(memory, Embedder(look, look, look))


def test_vectors_that_are_moved_at_the_same_time_do_not_keep_an_old_copy(memory: Engine) -> None:
    def index(*_: object) -> None:
        VectorIndexing(memory, tail=0, seconds=60).run()

    move(memory, Embedder(index, index, index))
    assert models(memory) == {("hashing-24", 24): 21}
    index()
    assert models(memory) == {("hashing-24", 24): 21}
    assert titles(memory, NEW) == {f"checkout {n}" for n in range(7)}


def test_moving_and_replacing_wait_for_each_other(memory: Engine) -> None:
    with ThreadPoolExecutor(1) as pool, memory.begin() as mover:
        reembedding.hold_vectors(mover, "ws_test")
        waiting = pool.submit(move, memory)
        assert waits_for_a_lock(waiting)
        mover.commit()
        assert waiting.result(timeout=30).observations == 7


def test_one_workspace_is_embedded_anew_by_one_process_at_a_time(memory: Engine) -> None:
    def another() -> None:
        with pytest.raises(ReembeddingRefused, match="another process"):
            move(memory)

    move(memory, Embedder(another))
    move(memory)


def test_choosing_changes_the_embedder_and_nothing_else_of_the_settings(memory: Engine) -> None:
    wanted = {"embeddingProvider": "offline", "embeddingModel": "hashing-24", "embeddingDim": 24}

    def choose() -> bool:
        return in_transaction(memory, lambda c: reembedding.choose(c, "ws_test", embedding=wanted))

    with memory.begin() as connection:
        connection.execute(text("update lightfast_org_workspaces set settings = settings || '{\"mine\": 1}'"))
    assert choose()
    assert not choose()
    with memory.begin() as connection:
        settings = one(connection, "select settings from lightfast_org_workspaces where id = 'ws_test'")["settings"]
        others = one(connection, "select settings from lightfast_org_workspaces where id = 'ws_other'")["settings"]
    assert settings == {"version": 1, "mine": 1, "embedding": {"namespaceName": "tests", **wanted}}
    assert "embeddingModel" not in others["embedding"]


def test_captures_that_began_before_the_change_are_told_apart(memory: Engine) -> None:
    batch = """
    with made as (
      insert into event_batches (function_id, trigger, state, run_id, events, bytes, taken_at)
      values ('neural.observation.capture', 'webhook', 'running', 'r', 1, 1,
        clock_timestamp() + make_interval(secs => :s)) returning id
    )
    insert into batch_workspaces (batch_id, function_id, workspace_id)
    select id, 'neural.observation.capture', :workspace_id from made
    """
    with memory.begin() as connection:
        connection.execute(text(batch), {"s": 3600, "workspace_id": "ws_test"})
        assert reembedding.captures_begun_before(connection, "ws_test") == 0
        connection.execute(text("update batch_workspaces set closed_at = now()"))
        connection.execute(text(batch), {"s": -3600, "workspace_id": "ws_test"})
        assert reembedding.captures_begun_before(connection, "ws_test") == 1
        assert reembedding.captures_begun_before(connection, "ws_other") == 0
