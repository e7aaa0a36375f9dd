"""The three queries of the plan, letter for letter, over psycopg2: they are the contract with existing readers."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from neural_pipeline_tests.building import begun_batch, column, end_run, waiting, workspaces

FAILED = """
SELECT id, inngest_function_id, name, error_message, created_at
FROM lightfast_workspace_workflow_runs
WHERE status = 'failed'
AND inngest_function_id LIKE 'neural.%'
AND created_at > NOW() - INTERVAL '24 hours';
"""
HISTORY = """
SELECT id, status, duration_ms, created_at, output
FROM lightfast_workspace_workflow_runs
WHERE workspace_id = 'ws_xxx'
AND inngest_function_id = 'neural.observation.capture'
ORDER BY created_at DESC
LIMIT 50;
"""
AVERAGES = """
SELECT inngest_function_id, AVG(duration_ms::int) as avg_duration
FROM lightfast_workspace_workflow_runs
WHERE inngest_function_id LIKE 'neural.%'
AND status = 'completed'
GROUP BY inngest_function_id;
"""
CAPTURE, PROFILE, SYNC = "neural.observation.capture", "neural.profile.update", "sync.orchestrator"


@pytest.fixture
def history(scratch: Connection) -> Connection:
    workspaces(scratch, "ws_xxx")
    return scratch


def ask(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def a_run(
    connection: Connection,
    name: str,
    status: str,
    *,
    function: str = CAPTURE,
    hours_ago: float = 1,
    ms: int = 0,
    workspace: str = "ws_xxx",
) -> int:
    born = """
    insert into lightfast_workspace_workflow_runs
      (clerk_org_id, workspace_id, inngest_run_id, inngest_function_id, name, trigger, created_at)
    values ('org_test', :workspace, :name, :function, :name, 'webhook', now() - :hours * interval '1 hour') returning id
    """
    values = {"workspace": workspace, "name": name, "function": function, "hours": hours_ago}
    id_ = int(connection.execute(text(born), values).scalar_one())
    moved = """
    update lightfast_workspace_workflow_runs set status = cast(:status as text), duration_ms = :ms,
      completed_at = case when :status not in ('queued', 'running') then now() end,
      error_message = case when :status = 'failed' then 'because of ' || name end,
      output = jsonb_build_object('inngestFunctionId', inngest_function_id)
    where id = :id
    """
    connection.execute(text(moved), {"id": id_, "status": status, "ms": str(ms)})
    return id_


def test_failed_neural_workflows_of_the_last_day_are_listed_with_their_reason(history: Connection) -> None:
    recent = a_run(history, "recent", "failed", hours_ago=23)
    other = a_run(history, "other", "failed", function=PROFILE)
    a_run(history, "old", "failed", hours_ago=25)
    a_run(history, "good", "completed")
    a_run(history, "sync", "failed", function=SYNC)
    answer = {row[0]: row[1:4] for row in ask(history, FAILED)}
    assert answer == {
        recent: (CAPTURE, "recent", "because of recent"),
        other: (PROFILE, "other", "because of other"),
    }


def test_the_capture_history_of_a_workspace_comes_newest_first(history: Connection) -> None:
    old = a_run(history, "old", "completed", hours_ago=48, ms=7)
    new = a_run(history, "new", "queued", hours_ago=0.5)
    a_run(history, "profile", "completed", function=PROFILE)
    a_run(history, "elsewhere", "completed", workspace="ws_test")
    assert [(row[0], row[1], row[2]) for row in ask(history, HISTORY)] == [
        (new, "queued", "0"),
        (old, "completed", "7"),
    ]


def test_the_capture_history_ends_after_fifty_rows(history: Connection) -> None:
    ids = [a_run(history, f"run {n}", "queued", hours_ago=n + 1) for n in range(60)]
    assert [row[0] for row in ask(history, HISTORY)] == ids[:50]


def test_the_average_duration_is_that_of_completed_runs_per_function(history: Connection) -> None:
    for name, status, ms, function in [
        ("a", "completed", 100, CAPTURE),
        ("b", "completed", 300, CAPTURE),
        ("c", "failed", 9_000, CAPTURE),
        ("d", "completed", 5, PROFILE),
        ("e", "completed", 5, SYNC),
    ]:
        a_run(history, name, status, ms=ms, function=function)
    assert dict(ask(history, AVERAGES)) == {CAPTURE: Decimal(200), PROFILE: Decimal(5)}


def test_durations_that_the_recorder_writes_can_be_averaged(history: Connection) -> None:
    ids = waiting(history, 3, workspace_id="ws_xxx")
    token = begun_batch(history, ids)
    sql = """
    update incoming_events set outcome = 'completed', outcome_at = begun_at + (id - :first) * interval '0.1 seconds',
      output = '{"inngestFunctionId": "neural.observation.capture"}'
    """
    history.execute(text(sql), {"first": ids[0]})
    end_run(history, token)
    assert dict(ask(history, AVERAGES)) == {CAPTURE: Decimal(100)}
    assert sorted(column(history, "select duration_ms::int from lightfast_workspace_workflow_runs")) == [0, 100, 200]
    assert len(ask(history, HISTORY)) == 3
