"""Reading the events of a batch, as its run works on them."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store.sql import rows


def events_of(connection: Connection, batch_id: int) -> Sequence[RowMapping]:
    """Return the unfinished events of a batch in the order of their work: received_at, then id."""
    sql = """
    select e.id, e.workspace_id, w.clerk_org_id, r.repository_id, e.payload, e.attempt, e.reprocess
    from incoming_events e
    join lightfast_org_workspaces w on w.id = e.workspace_id
    left join lightfast_workspace_workflow_runs r on r.event_id = e.id
    where e.batch_id = :batch_id and e.outcome is null
    order by e.received_at, e.id
    """
    return rows(connection, sql, batch_id=batch_id)
