"""Views of the work itself: how many executions, how long, how they ended, what waits, and whether the books balance."""

from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.metrics.definition import Area, Column, Number, View

OF_OPERATIONS: tuple[View, ...] = (
    View(
        name="job_statistics",
        area=Area.OPERATIONS,
        description="Executions that ended, by function and day: how they ended and how often they failed.",
        columns=(
            Column("day", "day", "Day (UTC) on which the executions ended.", is_key=True),
            Column("function_id", "text", "Function that was executed.", is_key=True),
            Column("ended", "integer", "Executions that ended, however they did.", "count"),
            Column("completed", "integer", "Completed ones, those filtered, skipped and superseded included.", "count"),
            Column("failed", "integer", "Failed ones.", "count"),
            Column("cancelled", "integer", "Cancelled ones.", "count"),
            Column("success_rate", "number", "completed / (completed + failed); null where both are 0.", "percent"),
            Column("failure_rate", "number", "failed / (completed + failed); null where both are 0.", "percent"),
            Column("mean_run_ms", "number", "Mean run time of completed executions that began; null without.", "ms"),
        ),
        numbers=(
            Number("executions_ended", "count", "Executions that ended.", "coalesce(sum(ended), 0)"),
            Number("executions_failed", "count", "Executions that failed.", "coalesce(sum(failed), 0)"),
            Number(
                "success_rate_percent",
                "percent",
                "completed / (completed + failed).",
                "neural_success_rate(sum(completed), sum(failed))",
            ),
        ),
        tables=("lightfast_workspace_operations_metrics",),
        rows_behind="select id, inngest_function_id, status, error_message from lightfast_workspace_workflow_runs"
        " where completed_at >= '{since}' and completed_at < '{until}' order by completed_at desc limit 100",
        order="day desc, function_id",
        metrics=(MetricType.JOB_DURATION,),
        by_day=True,
    ),
)
