"""Reads of the job history: one page of runs, or everything about one. States move in `lifecycle`, never here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store.sql import rows

_LONGEST_ID = 18
"""Digits that fit into a bigint whatever they are."""


class Cursor(NamedTuple):
    """The place of a run in the history; what is added later does not move it."""

    created_at: datetime
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are wanted; what is None does not matter. `error` is a part of the message, in any case."""

    function_id: str | None = None
    status: str | None = None
    workspace_id: str | None = None
    since: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs, newest first, and where the next page begins, None after the last."""

    runs: Sequence[dict[str, Any]]
    next: Cursor | None


_CONDITIONS = {
    "function_id": "r.inngest_function_id = :function_id",
    "status": "r.status = :status",
    "workspace_id": "r.workspace_id = :workspace_id",
    "since": "r.created_at >= :since",
    # Not `like`: a percent sign in the text sought is just that.
    "error": "strpos(lower(r.error_message), lower(:error)) > 0",
}
_PAGE = """
select r.id, r.inngest_run_id, r.inngest_function_id, r.name, r.workspace_id, r.repository_id, r.status, r.trigger,
  r.triggered_by, r.created_at, r.started_at, r.completed_at, r.duration_ms, r.attempt, r.cause, r.error_message,
  r.dagster_run_id, r.batch_id, r.input ->> 'title' as title, r.output ->> 'status' as result,
  r.output ->> 'reason' as reason
from lightfast_workspace_workflow_runs r
where {conditions}
order by r.created_at desc, r.id desc
limit :limit
"""


def list_runs(connection: Connection, wanted: RunFilter, *, limit: int, after: Cursor | None = None) -> Page:
    """Return at most `limit` runs that are wanted, newest first, beginning after a place in the history."""
    conditions, parameters = conditions_of(wanted)
    if after is not None:
        conditions.append("(r.created_at, r.id) < (:after_created_at, :after_id)")
        parameters |= {"after_created_at": after.created_at, "after_id": after.id}
    sql = _PAGE.format(conditions=" and ".join(conditions))
    found = _dicts(connection, sql, parameters | {"limit": limit + 1})
    last = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], None if last is None else Cursor(last["created_at"], last["id"]))


def conditions_of(wanted: RunFilter) -> tuple[list[str], dict[str, Any]]:
    """Return SQL conditions on the run `r`, at least one, and their parameters."""
    given = {name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None}
    return [_CONDITIONS[name] for name in given] or ["true"], given


def find_run(connection: Connection, name: str) -> dict[str, Any] | None:
    """Return everything about the run with this id or execution id, None if there is none.

    Beside its columns: `attempts`, `parent`, `children`, `replays`, and `payload`, what is known of what was received.
    """
    row = _row(connection, name)
    if row is None:
        return None
    event = {"event_id": row["event_id"]}
    return dict(row) | {
        "attempts": _dicts(connection, _ATTEMPTS, event),
        "parent": next(iter(_dicts(connection, _PARENT, event)), None),
        "children": _dicts(connection, _CHILDREN, event),
        "replays": _dicts(connection, _REPLAYS, {"id": row["id"]}),
        "payload": next(iter(_dicts(connection, _PAYLOAD, event)), None),
    }


def number_of_run(connection: Connection, name: str) -> int | None:
    """Return the id of the run with this id or execution id, None if there is none."""
    row = _row(connection, name)
    return None if row is None else row["id"]


def runs_of_events(connection: Connection, event_ids: Sequence[int]) -> dict[int, int]:
    """Return the ids of the runs of inbox events, by event."""
    sql = "select event_id, id from lightfast_workspace_workflow_runs where event_id = any(:ids)"
    return {row["event_id"]: row["id"] for row in rows(connection, sql, ids=list(event_ids))}


def event_of_run(connection: Connection, name: str) -> int | None:
    """Return the inbox event of the run with this id or execution id, None if there is none."""
    row = _row(connection, name)
    return None if row is None else row["event_id"]


def _row(connection: Connection, name: str) -> RowMapping | None:
    if name.isascii() and name.isdigit() and len(name) <= _LONGEST_ID:
        condition, value = "id = :name", int(name)
    else:
        condition, value = "inngest_run_id = :name", name
    sql = f"select * from lightfast_workspace_workflow_runs where {condition} order by id desc limit 1"  # noqa: S608 - one of two constants
    return next(iter(rows(connection, sql, name=value)), None)


def _dicts(connection: Connection, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows(connection, sql, **parameters)]


_ATTEMPTS = """
select attempt, batch_id, dagster_run_id, step, cause, error_class, message, stack, began_at, ended_at
from workflow_run_attempts where event_id = :event_id order by ended_at, id
"""
_PARENT = """
select r.id, r.inngest_run_id, r.name, r.status
from incoming_events e join lightfast_workspace_workflow_runs r on r.event_id = e.parent_event_id
where e.id = :event_id
"""
_CHILDREN = """
select r.id, r.inngest_run_id, r.name, r.status
from incoming_events e join lightfast_workspace_workflow_runs r on r.event_id = e.id
where e.parent_event_id = :event_id order by r.id
"""
_REPLAYS = """
select r.id, r.inngest_run_id, r.status, r.replay_request_id, r.triggered_by, r.created_at
from lightfast_workspace_workflow_runs r where r.replay_of = :id order by r.id
"""
_PAYLOAD = """
select p.id, p.source, p.event_type, p.delivery_id, p.disposition, p.reason, octet_length(p.body) as bytes,
  p.received_at
from incoming_events e join raw_payloads p on p.id = e.raw_payload_id
where e.id = :event_id
"""
