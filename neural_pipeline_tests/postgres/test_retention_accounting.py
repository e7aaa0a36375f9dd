"""The books during a prune: nothing is unexplained after any transaction, and what goes is what was foretold."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, text

from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store import retention
from neural_pipeline.store.retention import Removed
from neural_pipeline.store.retention_preview import preview
from neural_pipeline_tests.building import column, workspaces
from neural_pipeline_tests.retention_world import build, contents, pages, today, unexplained


def total(removed: Iterable[Removed]) -> Removed:
    return sum(removed, Removed())


@pytest.fixture(scope="module")
def world(server: Path, template: str) -> Iterator[Engine]:
    """Everything that can be; each example changes it in a transaction that is rolled back."""
    create_database(server_url(server, "postgres"), "retention", template=template)
    engine = create_engine(server_url(server, "retention"))
    with engine.begin() as connection:
        workspaces(connection, "ws_test", "ws_open", "ws_running", "ws_busy")
    build(engine)
    yield engine
    engine.dispose()


TIMES = {
    "incoming_events": "outcome_at",
    "raw_payloads": "received_at",
    "event_batches": "closed_at",
    "lightfast_workspace_operations_metrics": "timestamp",
    "model_calls": "called_at",
}
UNFINISHED = """
select (to_jsonb(e) - 'parent_event_id')::text from incoming_events e left join event_batches b on b.id = e.batch_id
where e.outcome is null or b.state <> 'closed' order by e.id
"""


def scatter(connection: Connection, seed: int) -> None:
    """Give everything an age of its own, up to 500 days, whatever came of what."""
    for table, name in TIMES.items():
        age_ = "(hashint8extended(id, :seed) & 1023) * interval '0.5 days'"
        connection.execute(text(f"update {table} set {name} = now() - {age_} where {name} is not null"), {"seed": seed})


def balanced(connection: Connection, removed: Iterable[Removed]) -> Iterator[Removed]:
    for page in removed:
        assert unexplained(connection) == {}
        yield page


def counts(connection: Connection) -> Counter[str]:
    """Count the rows of every table; of raw payloads, those of each disposition."""
    tables = Counter({table: len(rows) for table, rows in contents(connection, "pruned_counters").items()})
    del tables["raw_payloads"]
    return tables + Counter(column(connection, "select 'raw_payloads/' || disposition from raw_payloads"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), size=st.sampled_from([1, 2, 3, 1000]))
def test_the_books_balance_after_every_transaction_whatever_the_ages(world: Engine, seed: int, size: int) -> None:
    with world.connect() as connection, connection.begin() as transaction, pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "PAGE", size)
        scatter(connection, seed)
        assert unexplained(connection) == {}
        old = today(connection)
        expected, before, unfinished = preview(connection, old), counts(connection), column(connection, UNFINISHED)
        assert total(balanced(connection, pages(connection, old))) == expected, "one night is enough"
        assert column(connection, UNFINISHED) == unfinished
        counted = connection.execute(
            text("select record, sum(removed)::int as removed from pruned_counters group by 1")
        )
        assert before - counts(connection) == {row.record: row.removed for row in counted}
        transaction.rollback()


def test_counting_what_would_go_writes_nothing(world: Engine) -> None:
    with world.connect() as connection, connection.begin() as transaction:
        scatter(connection, 1)
        before = contents(connection)
        assert preview(connection, today(connection)).total() > 0
        assert contents(connection) == before
        transaction.rollback()
