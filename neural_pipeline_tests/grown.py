"""A record that has grown: ended executions with all that belongs to them, made set-wise, one in ten minutes.

Unlike `benchmarks.quarter`, which adds up for reports, this one is quickly made to grow further.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from neural_pipeline_tests.benchmarks.quarter import tidy

WORKSPACES = 20
GROWN = {
    "raw_payloads",
    "event_batches",
    "batch_workspaces",
    "incoming_events",
    "workflow_run_attempts",
    "lightfast_workspace_workflow_runs",
    "lightfast_workspace_operations_metrics",
    "lightfast_workspace_neural_observations",
    "lightfast_workspace_neural_entities",
    "lightfast_workspace_observation_clusters",
    "lightfast_workspace_actor_profiles",
    "lightfast_org_actor_identities",
    "observation_entities",
    "observation_vectors",
}
"""The tables that grow with the record."""

_SCRIPT = Path(__file__).with_suffix(".sql")
_BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)


def grow(engine: Engine, after: int, *, through: int) -> None:
    """Add the executions after one number up to another, multiples of 80, to the workspaces ws_0 to ws_19.

    From then on nobody vacuums or analyzes behind the back of whoever looks at plans.
    """
    with engine.begin() as connection:
        sql = "select set_config('grown.after', :after, true), set_config('grown.through', :through, true)"
        connection.execute(text(sql), {"after": str(after), "through": str(through)})
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.execute(_SCRIPT.read_text(encoding="utf-8"))
        for table in sorted(GROWN):
            connection.execute(text(f"alter table {table} set (autovacuum_enabled = false)"))
    tidy(engine)


_WAIT = """
with waiting as (
  insert into incoming_events (workspace_id, function_id, source, delivery_id, payload, payload_bytes, due_at)
  select 'ws_' || n % 20, 'sync.orchestrator', 'neural', 'waits-' || n, '{}', 2, now() + interval '1 day'
  from generate_series(1, :count) n returning id, workspace_id, function_id
)
insert into lightfast_workspace_workflow_runs (clerk_org_id, workspace_id, inngest_run_id, inngest_function_id, name,
  trigger, event_id)
select 'org_test', workspace_id, 'waits-' || id, function_id, 'Something', 'scheduled', id from waiting
"""


def wait(engine: Engine, count: int) -> None:
    """Add executions that wait, which the planner does not know of: a burst comes sooner than statistics."""
    with engine.begin() as connection:
        connection.execute(text(_WAIT), {"count": count})


def moment_of(number: int) -> datetime:
    """Return when the execution of a number was."""
    return _BEGINNING + timedelta(minutes=10 * number)


def newest_person(number: int, *, workspace: int) -> str:
    """Return the provider's id of the one who acts in a workspace when so many executions have been."""
    return str(number - WORKSPACES + 1 + workspace)
