"""The indexed part of the vectors: what is moved when, the index that is made, and what others see of it meanwhile."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.store import vector_index
from neural_pipeline.store.vector_index import Model
from neural_pipeline.store.vectors import Embedded, write_vectors
from neural_pipeline.workflows.vector_indexing import indexing
from neural_pipeline.workflows.vector_indexing.indexing import Indexed, IndexingRefused, VectorIndexing
from neural_pipeline_tests.building import column, in_transaction, waits_for_a_lock, workspaces

OBSERVATIONS = "lightfast_workspace_neural_observations"
HASHING = Model("hashing-8", 8)


def observe(connection: Connection, count: int, *, workspace_id: str = "ws_test", mark: str = "o") -> list[int]:
    """Store bare observations."""
    sql = f"""
    insert into {OBSERVATIONS} (workspace_id, occurred_at, observation_type, title, content, source, source_type,
      source_id)
    select :workspace_id, now(), 'push', 'title ' || n, 'content ' || n, 'github', 'push', :mark || n
    from generate_series(1, :count) n returning id
    """
    return column(connection, sql, workspace_id=workspace_id, mark=mark, count=count)


def embed(
    connection: Connection, ids: Sequence[int], *, workspace_id: str = "ws_test", model: Model = HASHING, seed: int = 0
) -> None:
    """Write random vectors of observations into the tail."""
    drawn = np.random.default_rng(seed).normal(size=(len(ids), 3, model.dimension)).astype(np.float32)
    write_vectors(
        connection, (Embedded(id_, workspace_id, model.name, three) for id_, three in zip(ids, drawn, strict=True))
    )


@pytest.fixture
def stored(engine: Engine) -> list[int]:
    """Twenty observations with vectors in the tail."""
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
        ids = observe(connection, 20)
        embed(connection, ids)
    return ids


def pass_over(engine: Engine, *, tail: int = 0) -> Indexed:
    return VectorIndexing(engine, tail=tail, seconds=60).run()


def parts(engine: Engine) -> dict[str, list[Any]]:
    """Return the observations whose summary is in each part."""
    with engine.begin() as connection:
        return {
            name: column(connection, f"select observation_id from {table} where view = 'summary' order by 1")
            for name, table in (("tail", "observation_vectors"), ("indexed", "indexed_vectors"))
        }


def state(engine: Engine, model: Model = HASHING) -> str:
    with engine.begin() as connection:
        return vector_index.index_state(connection, model)


def test_a_long_tail_is_moved_as_it_is_and_a_short_one_waits(engine: Engine, stored: list[int]) -> None:
    with engine.begin() as connection:
        sql = "select observation_id, workspace_id, model, embedding::text from {} where view = 'summary' order by 1"
        before = connection.execute(text(sql.format("observation_vectors"))).all()
    assert pass_over(engine, tail=20) == Indexed(left=20)
    assert parts(engine) == {"tail": stored, "indexed": []}
    assert pass_over(engine, tail=19) == Indexed(moved={"hashing-8": 20}, made=["hashing-8"])
    assert parts(engine) == {"tail": [], "indexed": stored}
    with engine.begin() as connection:
        assert connection.execute(text(sql.format("indexed_vectors"))).all() == before
        assert column(connection, "select distinct view from observation_vectors order by 1") == ["content", "title"]
    assert pass_over(engine) == Indexed()


def test_the_tails_of_all_workspaces_count_together_and_each_model_by_itself(engine: Engine) -> None:
    other = Model("fastembed:BAAI/bge@5", 5)
    with engine.begin() as connection:
        workspaces(connection, "ws_a", "ws_b")
        for name in ("ws_a", "ws_b"):
            embed(connection, observe(connection, 3, workspace_id=name), workspace_id=name)
        embed(connection, observe(connection, 5, workspace_id="ws_a", mark="x"), workspace_id="ws_a", model=other)
    done = pass_over(engine, tail=5)
    assert (done.moved, done.left) == ({"hashing-8": 6}, 5)
    assert pass_over(engine).moved == {other.name: 5}
    assert state(engine) == state(engine, other) == "valid"


def test_vectors_move_page_by_page_until_the_time_is_up(
    engine: Engine, stored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "PAGE", 6)
    ticks = iter([0.0, 1.0, 2.0, 99.0])
    monkeypatch.setattr(indexing, "monotonic", lambda: next(ticks))
    done = VectorIndexing(engine, tail=0, seconds=10).run()
    assert (done.moved, done.left) == ({"hashing-8": 12}, 8)
    ticks = iter([0.0, 1.0, 2.0, 99.0])
    monkeypatch.setattr(indexing, "INDEXED_PAGE", 2)
    assert VectorIndexing(engine, tail=0, seconds=10).run().moved == {"hashing-8": 4}, "an index takes its time"
    monkeypatch.undo()
    assert pass_over(engine).left == 0


def test_an_index_that_was_left_unfinished_is_found_and_made_anew(engine: Engine, stored: list[int]) -> None:
    pass_over(engine)
    with engine.begin() as connection:
        name = vector_index.index_name(HASHING)
        connection.execute(text(f"update pg_index set indisvalid = false where indexrelid = '{name}'::regclass"))
    assert state(engine) == "invalid"
    assert VectorIndexing(engine, tail=100, seconds=60).has_work()
    assert pass_over(engine).mended == ["hashing-8"]
    assert state(engine) == "valid"
    assert not VectorIndexing(engine, tail=100, seconds=60).has_work()


def test_a_killed_build_is_made_good_by_the_next_pass(engine: Engine, stored: list[int]) -> None:
    with engine.begin() as connection:
        for tail in vector_index.tails(connection):
            vector_index.move(connection, tail, limit=100)
    with ThreadPoolExecutor(1) as pool, engine.begin() as reader:
        # A build waits for whoever still reads an older state.
        reader.execute(text("set transaction isolation level repeatable read"))
        column(reader, "select count(*) from indexed_vectors")
        build = pool.submit(pass_over, engine)
        assert waits_for_a_lock(build)
        with engine.begin() as killer:
            sql = (
                "select pg_terminate_backend(pid) from pg_stat_activity where query ilike '%create index concurrently%'"
            )
            assert column(killer, sql + " and pid <> pg_backend_pid()") == [True]
        assert build.exception() is not None
    assert state(engine) == "invalid"
    assert pass_over(engine).mended == ["hashing-8"]


def test_an_index_goes_when_its_model_has_no_vectors_left(engine: Engine, stored: list[int]) -> None:
    pass_over(engine)
    with engine.begin() as connection:
        connection.execute(text("delete from indexed_vectors"))
    assert pass_over(engine).removed == [vector_index.index_name(HASHING)]
    assert state(engine) == "missing"


def test_vectors_too_long_for_an_index_are_moved_all_the_same(engine: Engine) -> None:
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
        embed(connection, observe(connection, 2), model=Model("long", 4001))
    done = pass_over(engine)
    assert (done.moved, done.made) == ({"long": 2}, [])
    assert "4001 dimensions" in done.notes[0]
    assert not VectorIndexing(engine, tail=0, seconds=1).has_work()


@pytest.mark.parametrize("name", ["openai:text-embedding-3-small@1536", 'it\'s 100% "odd"; --', "x" * 100, "\u00fc"])
def test_any_name_of_a_model_gives_an_index_of_its_own(engine: Engine, name: str) -> None:
    model = Model(name, 8)
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
        embed(connection, observe(connection, 3), model=model)
        embed(connection, observe(connection, 3, mark="y"), model=Model(name[:-1] + "z", 8))
    assert sorted(pass_over(engine).made) == sorted({name, name[:-1] + "z"})
    assert state(engine, model) == "valid"
    assert len(vector_index.index_name(model)) <= 63


def test_a_second_pass_at_the_same_time_leaves_and_the_next_one_can_work(engine: Engine, stored: list[int]) -> None:
    with ThreadPoolExecutor(1) as pool, engine.begin() as reader:
        reader.execute(text("set transaction isolation level repeatable read"))
        column(reader, "select count(*) from indexed_vectors")
        first = pool.submit(pass_over, engine)
        assert waits_for_a_lock(first)
        with pytest.raises(IndexingRefused, match="another run"):
            pass_over(engine)
        reader.rollback()
        assert first.result(timeout=30).made == ["hashing-8"]
    assert pass_over(engine) == Indexed()


def test_while_an_index_is_made_captures_write_and_replace_and_search_reads(engine: Engine, stored: list[int]) -> None:
    with engine.begin() as connection:
        for tail in vector_index.tails(connection):
            vector_index.move(connection, tail, limit=100)
    with ThreadPoolExecutor(1) as pool, engine.begin() as reader:
        reader.execute(text("set transaction isolation level repeatable read"))
        column(reader, "select count(*) from indexed_vectors")
        build = pool.submit(pass_over, engine)
        assert waits_for_a_lock(build)
        with engine.begin() as capture:
            capture.execute(text("set local lock_timeout = '1s'"))
            embed(capture, observe(capture, 1, mark="new"))
            capture.execute(text(f"delete from {OBSERVATIONS} where id = :id"), {"id": stored[0]})
            assert column(capture, "select count(*) from indexed_vectors") == [19]
        assert not build.done()
        reader.rollback()
        assert build.result(timeout=30).made == ["hashing-8"]
    assert len(parts(engine)["indexed"]) == 19


def test_an_observation_that_is_being_replaced_is_passed_over(engine: Engine, stored: list[int]) -> None:
    with engine.begin() as capture:
        capture.execute(text(f"delete from {OBSERVATIONS} where id = :id"), {"id": stored[0]})
        with engine.begin() as mover:
            mover.execute(text("set local lock_timeout = '1s'"))
            [tail] = vector_index.tails(mover)
            assert vector_index.move(mover, tail, limit=100) == 19
        capture.rollback()
    assert parts(engine) == {"tail": stored[:1], "indexed": stored[1:]}
    assert pass_over(engine).moved == {"hashing-8": 1}


def test_a_replacement_waits_for_a_page_that_is_on_its_way_and_takes_the_vector_from_where_it_went(
    engine: Engine, stored: list[int]
) -> None:
    begun = Event()

    def replace(connection: Connection) -> None:
        begun.set()
        connection.execute(text(f"delete from {OBSERVATIONS} where id = :id"), {"id": stored[0]})

    with ThreadPoolExecutor(1) as pool, engine.begin() as mover:
        [tail] = vector_index.tails(mover)
        assert vector_index.move(mover, tail, limit=100) == 20
        waiting = pool.submit(in_transaction, engine, replace)
        begun.wait(10)
        assert waits_for_a_lock(waiting)
        mover.commit()
        waiting.result(timeout=30)
    assert parts(engine) == {"tail": [], "indexed": stored[1:]}


def test_a_vector_of_a_wrong_length_spoils_neither_the_index_nor_the_moves(engine: Engine, stored: list[int]) -> None:
    pass_over(engine)
    with engine.begin() as connection:
        embed(connection, observe(connection, 1, mark="bad"), model=Model("hashing-8", 5))
    assert pass_over(engine).moved == {"hashing-8": 1}
    assert state(engine) == "valid"


def test_a_database_of_another_program_version_is_left_alone(engine: Engine, stored: list[int]) -> None:
    with engine.begin() as connection:
        connection.execute(text("update neural_alembic_version set version_num = '9999'"))
    with pytest.raises(IndexingRefused, match="revision"):
        pass_over(engine)
    assert parts(engine)["indexed"] == []
