"""The rows behind a number, as SQL to run: those of the log of metrics, each with its workflow run."""

OF_PERIOD = "m.timestamp >= '{since} UTC' and m.timestamp < '{until} UTC'"


def metric_rows(condition: str, *, period: str | None = OF_PERIOD) -> str:
    """Return SQL that shows the metrics `m` of a condition, newest first; `period` None takes those of all time."""
    within = f" and {period}" if period else ""
    return (
        "select m.id, m.timestamp, m.type, m.value, m.tags, r.id as run_id,"  # noqa: S608 - of the catalogue
        " r.status, r.error_message from lightfast_workspace_operations_metrics m"
        " left join lightfast_workspace_workflow_runs r on r.event_id = m.event_id"
        f" where {condition}{within} order by {'m.timestamp desc, m.id desc' if period else 'm.id desc'} limit 100"
    )
