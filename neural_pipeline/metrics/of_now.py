"""Views of the work as it stands: which runs have failed of late, and what waits."""

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.metrics.definition import Area, Column, Number, View

WORKED_ON = frozenset(
    {
        FunctionId.OBSERVATION_CAPTURE,
        FunctionId.PROFILE_UPDATE,
        FunctionId.CLUSTER_SUMMARY,
        FunctionId.LLM_ENTITY_EXTRACTION,
    }
)
"""The functions this version has a workflow for; events of others wait for a later one."""

_NAMES = ", ".join(f"'{one}'" for one in sorted(WORKED_ON))
_OF_THOSE = f"filter (where function_id in ({_NAMES}))"

FAILED_RUNS_LAST_24H = View(
    name="failed_runs_last_24h",
    area=Area.OPERATIONS,
    description="Workflow runs of any function that were accepted in the last 24 hours and have failed for good.",
    columns=(
        Column("id", "integer", "Workflow run: `neural runs show ID` tells all about it.", is_key=True),
        Column("execution_id", "text", "Its execution, by the id that other systems know."),
        Column("function_id", "text", "Function that failed."),
        Column("name", "text", "What was to be done."),
        Column("workspace_id", "text", "Workspace it was done for."),
        Column("error_message", "text", "Why it failed."),
        Column("cause", "text", "As in errors_by_cause; null where none was recorded."),
        Column("step", "text", "Step that failed; null where it was not in any."),
        Column("attempt", "integer", "Attempts it has had.", "count"),
        Column("dagster_run_id", "text", "Dagster run of the last attempt; null where none had begun."),
        Column("created_at", "time", "When it was accepted."),
        Column("completed_at", "time", "When it failed."),
    ),
    numbers=(
        Number("failed_runs_24h", "count", "Runs accepted in the last 24 hours that failed.", "count(*)"),
        Number(
            "failed_workspaces_24h",
            "count",
            "Workspaces with a run accepted in the last 24 hours that failed.",
            "count(distinct workspace_id)",
        ),
    ),
    tables=("lightfast_workspace_workflow_runs",),
    rows_behind="neural runs list --status failed --since 24h --limit 1000",
    order="created_at desc, id desc",
)

INBOX_LAG = View(
    name="inbox_lag",
    area=Area.OPERATIONS,
    description="What waits and what is worked on now, by function. A function with nothing to do has zeros.",
    columns=(
        Column("function_id", "text", "Function to be executed.", is_key=True),
        Column("due", "integer", "Executions whose time has come and that have not begun, on a batch or not.", "count"),
        Column(
            "oldest_due_seconds", "number", "For how long the oldest of them has been due; 0 without any.", "seconds"
        ),
        Column(
            "waiting_later", "integer", "Executions put off: debounced, or to be tried again after a pause.", "count"
        ),
        Column("in_progress", "integer", "Executions that have begun and not ended.", "count"),
        Column(
            "oldest_in_progress_seconds", "number", "For how long the oldest of them has run; 0 without any.", "seconds"
        ),
    ),
    numbers=(
        Number(
            "inbox_due",
            "count",
            "Executions that are due and have not begun, of functions that this version has a workflow for.",
            f"sum(due) {_OF_THOSE}",
        ),
        Number(
            "inbox_oldest_due_seconds",
            "seconds",
            "For how long the oldest of them has been due.",
            f"max(oldest_due_seconds) {_OF_THOSE}",
        ),
        Number("inbox_waiting_later", "count", "Executions put off.", "sum(waiting_later)"),
        Number("inbox_in_progress", "count", "Executions being worked on.", "sum(in_progress)"),
        Number(
            "inbox_oldest_in_progress_seconds",
            "seconds",
            "Age of the oldest of them.",
            "max(oldest_in_progress_seconds)",
        ),
    ),
    tables=("incoming_events", "event_batches"),
    rows_behind="select r.id as run_id, e.function_id, e.workspace_id, e.due_at, e.begun_at, e.attempt"
    " from incoming_events e left join lightfast_workspace_workflow_runs r on r.event_id = e.id"
    " where e.outcome is null and (e.batch_id is null"
    " or e.batch_id in (select id from event_batches where state <> 'closed')) order by e.due_at, e.id limit 100",
    order="function_id",
)
