"""Workspaces: whose memory it is."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store.sql import record_set, rows, run


def create_workspace(
    connection: Connection, workspace_id: str, *, organisation: str, name: str, settings: dict[str, Any]
) -> bool:
    """Create a workspace; return False if its id is taken. Raises IntegrityError if its name is taken."""
    sql = """
    insert into lightfast_org_workspaces (id, clerk_org_id, name, slug, settings)
    values (:id, :organisation, :name, :slug, cast(:settings as jsonb))
    on conflict (id) do nothing
    """
    parameters = {"id": workspace_id, "organisation": organisation, "name": name, "slug": name.lower()}
    return run(connection, sql, **parameters, settings=record_set([settings])[1:-1]) == 1


def workspaces(connection: Connection) -> Sequence[RowMapping]:
    """Return all workspaces with the number of their observations and unfinished executions."""
    sql = """
    select w.id, w.clerk_org_id, w.name, w.created_at,
      (select count(*) from lightfast_workspace_neural_observations o where o.workspace_id = w.id) as observations,
      (select count(*) from lightfast_workspace_workflow_runs r
       where r.workspace_id = w.id and r.status in ('queued', 'running')) as unfinished
    from lightfast_org_workspaces w order by w.created_at, w.id
    """
    return rows(connection, sql)


def workspace_ids(connection: Connection) -> list[str]:
    """Return the ids of all workspaces, the oldest first."""
    return [row["id"] for row in rows(connection, "select id from lightfast_org_workspaces order by created_at, id")]
