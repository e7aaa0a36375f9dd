"""Indexing vectors as Dagster runs it: what the op reports, and when the schedule asks for a run."""

from collections.abc import Iterator

import dagster as dg
import numpy as np
import pytest
from sqlalchemy import text

from neural_pipeline.automation.vector_indexing import vector_indexing_schedule
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import vector_index
from neural_pipeline.store.drain import start_draining
from neural_pipeline.store.vectors import Embedded, write_vectors
from neural_pipeline.workflows.vector_indexing.indexing import VectorIndexing
from neural_pipeline.workflows.vector_indexing.job import vector_indexing
from neural_pipeline_tests.building import column
from neural_pipeline_tests.dagster.launching import Site, metadata_of

EVERYTHING = {"ops": {"index_vectors": {"config": {"everything": True}}}}


@pytest.fixture(autouse=True)
def _no_index_stays_behind(site: Site) -> Iterator[None]:
    """The database is shared by the tests of this folder, which empty its tables only."""
    yield
    with site.engine.begin() as connection:
        for name in vector_index.stray_indexes(connection, ()):
            connection.execute(text(f"drop index {name}"))


def embed(site: Site, count: int) -> None:
    """Store observations with vectors in the tail."""
    sql = """
    insert into lightfast_workspace_neural_observations (workspace_id, occurred_at, observation_type, title, content,
      source, source_type, source_id)
    select 'ws_test', now(), 'push', 't', 'c', 'github', 'push', gen_random_uuid()::text from generate_series(1, :count)
    returning id
    """
    with site.engine.begin() as connection:
        ids = column(connection, sql, count=count)
        three = np.ones((3, 4), dtype=np.float32)
        write_vectors(connection, [Embedded(id_, "ws_test", "made-up", three) for id_ in ids])


def launched(site: Site, run_config: dict[str, object] | None = None) -> dict[str, object]:
    result = vector_indexing.execute_in_process(
        run_config=run_config, instance=site.instance, resources={"pipeline": Pipeline()}
    )
    assert result.success
    return metadata_of(result, "index_vectors")


def asked(site: Site) -> object:
    with dg.build_schedule_context(instance=site.instance, resources={"pipeline": Pipeline()}) as context:
        return vector_indexing_schedule()(context)


def test_the_job_moves_long_tails_and_says_how_much_that_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_VECTOR_TAIL", "3")
    embed(site, 3)
    assert launched(site) == {"moved": 0, "left in the tail": 3}
    embed(site, 1)
    assert launched(site) == {"moved": 4, "left in the tail": 0, "moved: made-up": 4, "made": "made-up"}
    assert site.column("select count(*) from indexed_vectors") == [4]


def test_on_demand_short_tails_are_moved_too(site: Site) -> None:
    embed(site, 2)
    assert launched(site)["moved"] == 0
    assert launched(site, EVERYTHING)["moved"] == 2


def test_while_somebody_else_is_at_it_the_job_says_so_and_ends_well(site: Site) -> None:
    embed(site, 2)
    with site.engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(hashtext('neural.vector_indexing'), 0)"))
        shown = launched(site, EVERYTHING)
    assert shown["moved"] == 0
    assert "another run" in str(shown["note"])


def test_the_schedule_asks_for_a_run_only_where_there_is_something_to_do(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_VECTOR_TAIL", "3")
    embed(site, 3)
    skipped = asked(site)
    assert isinstance(skipped, dg.SkipReason)
    assert "more than 3" in str(skipped.skip_message)
    embed(site, 1)
    assert isinstance(asked(site), dg.RunRequest)
    VectorIndexing(site.engine, tail=0, seconds=60).run()
    assert isinstance(asked(site), dg.SkipReason)
    with site.engine.begin() as connection:
        connection.execute(text("delete from indexed_vectors"))
    assert isinstance(asked(site), dg.RunRequest), "an index without vectors is to go"


def test_nothing_is_begun_while_the_pipeline_shuts_down(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_VECTOR_TAIL", "0")
    embed(site, 1)
    assert isinstance(asked(site), dg.RunRequest)
    with site.engine.connect() as connection:
        connection.detach()
        start_draining(connection)
        assert isinstance(asked(site), dg.SkipReason)
