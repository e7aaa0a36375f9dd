"""Views and pages of the history read large tables by their indexes, and no more of them than they need."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.definition import View
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.rollups import refresh
from neural_pipeline.store.runs import Cursor, RunFilter, list_runs
from neural_pipeline_tests.benchmarks.quarter import make_record, tidy, write_metrics
from neural_pipeline_tests.building import column, one

RUNS, TAIL = 12_000, 500
LOG = "lightfast_workspace_operations_metrics"
"""What is added up is never read again: views look at the rows behind the mark, by id, and at nothing else of it."""
LARGE = {
    "lightfast_workspace_workflow_runs",
    LOG,
    "incoming_events",
    "raw_payloads",
    "lightfast_workspace_neural_observations",
}
"""They grow with every event, and nothing but retention makes them smaller. No view is excepted."""


@pytest.fixture(scope="module")
def quarter(server: Path, template: str) -> Iterator[Engine]:
    """Ninety days of work, all metrics but the last added up."""
    admin = server_url(server, "postgres")
    create_database(admin, "plans_of_views", template=template)
    engine = engine_for(server_url(server, "plans_of_views"))
    metrics = make_record(engine, RUNS)
    write_metrics(engine, -1, through=metrics - TAIL)
    refresh(engine)
    write_metrics(engine, metrics - TAIL, through=metrics)
    tidy(engine)
    yield engine
    engine.dispose()
    drop_database(admin, "plans_of_views")


def nodes_of(connection: Connection, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
    found = connection.exec_driver_sql(f"explain (format json) {statement}", parameters).scalar_one()
    return list(walk(found[0]["Plan"]))


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from walk(child)


def read_too_much(connection: Connection, nodes: list[dict[str, Any]]) -> list[str]:
    """Return the large tables of which a plan reads everything, or what is added up already, and how."""
    partial = set(column(connection, "select indexrelid::regclass::text from pg_index where indpred is not null"))
    return [
        f"{node['Node Type']} on {node['Relation Name']}"
        for node in nodes
        if node.get("Relation Name") in LARGE
        and (
            not (node.keys() & {"Index Cond", "Recheck Cond"} or node.get("Index Name") in partial)
            or (node["Relation Name"] == LOG and node.get("Index Name") != f"{LOG}_pkey")
        )
    ]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_reads_no_large_table_as_a_whole_and_nothing_that_is_added_up(quarter: Engine, view: View) -> None:
    with quarter.begin() as connection:
        assert read_too_much(connection, nodes_of(connection, f"select * from {view.name}")) == []


def test_reading_too_much_is_noticed(quarter: Engine) -> None:
    with quarter.begin() as connection:
        scanned = nodes_of(connection, "select count(payload) from incoming_events")
        in_order = nodes_of(connection, "select max(name) from lightfast_workspace_workflow_runs group by event_id")
        added_up = nodes_of(connection, f"select value from {LOG} where type = 'documents_indexed'")
        few = nodes_of(connection, "select name from lightfast_workspace_workflow_runs where event_id = 7")
        assert read_too_much(connection, scanned) == ["Seq Scan on incoming_events"]
        assert len(read_too_much(connection, in_order)) == 1
        assert len(read_too_much(connection, added_up)) == 1
        assert read_too_much(connection, few) == []


CAPTURE = "neural.observation.capture"
PAGES = {
    "all": (RunFilter(), {"job_created_at_idx"}),
    "by common status": (RunFilter(status="completed"), {"job_created_at_idx"}),
    "failed": (RunFilter(status="failed"), {"job_failed_idx"}),
    "waiting": (RunFilter(status="queued"), {"job_status_idx"}),
    "by function": (RunFilter(function_id=CAPTURE), {"job_function_created_at_idx", "job_created_at_idx"}),
    "by workspace": (RunFilter(workspace_id="ws_19"), {"job_workspace_created_at_idx"}),
    "by workspace and function": (
        RunFilter(workspace_id="ws_19", function_id=CAPTURE),
        {"job_workspace_created_at_idx"},
    ),
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("is_deep", [False, True], ids=["first", "deep"])
def test_a_page_of_the_history_is_found_by_an_index(quarter: Engine, name: str, is_deep: bool) -> None:
    wanted, indexes = PAGES[name]
    with quarter.begin() as connection:
        middle = one(
            connection, "select created_at, id from lightfast_workspace_workflow_runs where id = :id", id=RUNS // 2
        )
        statement, parameters = asked(connection, wanted, Cursor(**middle) if is_deep else None)
        nodes = nodes_of(connection, statement, parameters)
    assert {node["Index Name"] for node in nodes if "Index Name" in node} <= indexes
    assert not {node["Node Type"] for node in nodes} & ({"Seq Scan", "Sort"} if name != "waiting" else {"Seq Scan"})


def asked(connection: Connection, wanted: RunFilter, after: Cursor | None) -> tuple[str, Any]:
    """Ask for a page; return the statement that the server got, and its parameters."""
    seen = list[tuple[str, Any]]()

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", listen)
    list_runs(connection, wanted, limit=50, after=after)
    event.remove(connection, "before_cursor_execute", listen)
    [(statement, parameters)] = seen
    return statement, parameters
