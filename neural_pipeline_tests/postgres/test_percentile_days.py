"""Percentiles that were added up are those of the histograms they were made of."""

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.store.rollups import refresh
from neural_pipeline_tests.building import column, workspaces

A_DAY = """
insert into lightfast_workspace_operations_metrics (clerk_org_id, workspace_id, type, value, unit, tags, timestamp)
select 'org', 'ws_test', 'job_duration', :ms * n, 'ms', jsonb_build_object('jobType', 'neural.observation.capture',
  'trigger', 'webhook', 'outcome', 'completed', 'begun', true, 'queueWaitMs', n, 'totalMs', :ms * n + n),
  '2026-03-01 12:00+00'::timestamptz + n * interval '1 hour'
from generate_series(1, 40) n
"""
COLUMNS = "day, function_id, outcome, measure, runs, p50_ms, p95_ms, p99_ms, max_ms"


@pytest.fixture
def told(engine: Engine) -> list[list[str]]:
    """What the view tells with nothing, half and all of the metrics added up."""
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
    told = list[list[str]]()
    for ms in (100, 3000):
        with engine.begin() as connection:
            connection.execute(text(A_DAY), {"ms": ms})
            told.append(everything(connection))
        refresh(engine)
        with engine.begin() as connection:
            told.append(everything(connection))
    return told


def everything(connection: Connection) -> list[str]:
    return column(connection, f"select ({COLUMNS})::text from duration_percentiles order by 1")


def test_adding_up_changes_no_percentile(told: list[list[str]]) -> None:
    assert told[0] == told[1]
    assert told[2] == told[3]
    assert told[1] != told[2]
    assert len(told[0]) == len(told[3]) == 9


def test_what_was_added_up_is_read_without_the_histograms(engine: Engine, told: list[list[str]]) -> None:
    with engine.begin() as connection:
        connection.execute(text("delete from duration_days"))
        assert everything(connection) == told[3]
