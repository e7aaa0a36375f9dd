"""The rows behind a number, as SQL to run: those of the log of metrics, each with its workflow run."""

OF_PERIOD = "m.timestamp >= '{since} UTC' and m.timestamp < '{until} UTC'"


def metric_rows(condition: str, *, period: str | None = OF_PERIOD, largest: str | None = None) -> str:
    """Return SQL that shows the metrics `m` of a condition, newest first; `period` None takes those of all time.

    `largest`: an expression by which those with most come first instead.
    """
    within = f" and {period}" if period else ""
    newest = "m.timestamp desc, m.id desc" if period else "m.id desc"
    order = f"{largest} desc nulls last, m.id desc" if largest else newest
    return (
        "select m.id, m.timestamp, m.type, m.value, m.tags, r.id as run_id,"  # noqa: S608 - of the catalogue
        " r.status, r.error_message from lightfast_workspace_operations_metrics m"
        " left join lightfast_workspace_workflow_runs r on r.event_id = m.event_id"
        f" where {condition}{within} order by {order} limit 100"
    )
