"""Reads of payloads as they were received: the refused ones, which have no execution, and single bodies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store.runs import Cursor
from neural_pipeline.store.sql import rows, scalar


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """A payload with all that was kept of it; `channel` is the way by which it first came in."""

    id: int
    workspace_id: str
    source: str
    event_type: str
    delivery_id: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    disposition: str
    reason: str | None
    channel: str | None
    run_id: int | None
    """The run of its delivery, if one was accepted, then or since."""

    has_workspace: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadFilter:
    """Which refused payloads are wanted; what is None does not matter."""

    disposition: str | None = None
    workspace_id: str | None = None
    since: datetime | None = None


_CONDITIONS = {
    "disposition": "p.disposition = :disposition",
    "workspace_id": "p.workspace_id = :workspace_id",
    "since": "p.received_at >= :since",
}
_REFUSED = "p.disposition in ('invalid', 'unsupported')"
# What could not be told apart when it came may have been since.
_RUN_OF_DELIVERY = """
left join incoming_events e on e.delivery_id = p.delivery_id and e.workspace_id = p.workspace_id
  and e.function_id = 'neural.observation.capture'
  and e.source = any(case p.source when 'unknown' then array['github', 'vercel'] else array[p.source::text] end)
left join lightfast_workspace_workflow_runs r on r.event_id = e.id
"""

_LIST = """
select p.id, p.received_at, p.workspace_id, p.source, p.event_type, p.delivery_id, p.disposition, p.reason,
  octet_length(p.body) as bytes, r.id as run_id
from (
  select * from raw_payloads p where {conditions} order by p.received_at desc, p.id desc limit :limit
) p {run_of_delivery}
order by p.received_at desc, p.id desc
"""


def refused_payloads(connection: Connection, wanted: PayloadFilter, *, limit: int) -> list[dict[str, Any]]:
    """Return at most `limit` refused payloads without their bodies, newest first; run_id if taken in since."""
    conditions, parameters = _wanted(wanted)
    sql = _LIST.format(conditions=" and ".join(conditions), run_of_delivery=_RUN_OF_DELIVERY)
    return [dict(row) for row in rows(connection, sql, **parameters, limit=limit)]


def newest_payload(connection: Connection) -> int:
    """Return the greatest payload id: what comes later is no part of a bulk replay that begins now."""
    return int(scalar(connection, "select coalesce(max(id), 0) from raw_payloads"))


_CHOICE = """
select id, received_at from (
  select p.id, p.received_at, row_number() over place as n, sum(octet_length(p.body)) over place as weight
  from (
    select * from raw_payloads p where {conditions} and p.id <= :until order by p.received_at, p.id limit :limit
  ) p
  window place as (order by p.received_at, p.id)
) c where c.n = 1 or c.weight <= :bytes
order by received_at, id
"""


def payloads_to_replay(
    connection: Connection,
    wanted: PayloadFilter,
    *,
    until: int,
    limit: int,
    max_bytes: int,
    after: Cursor | None = None,
) -> list[Cursor]:
    """Return the first refused payloads that are wanted, oldest first: at most `limit`, and about `max_bytes`."""
    conditions, parameters = _wanted(wanted)
    if after is not None:
        conditions.append("(p.received_at, p.id) > (:after_at, :after_id)")
        parameters |= {"after_at": after.created_at, "after_id": after.id}
    sql = _CHOICE.format(conditions=" and ".join(conditions))
    found = rows(connection, sql, **parameters, until=until, limit=limit, bytes=max_bytes)
    return [Cursor(row["received_at"], row["id"]) for row in found]


def _wanted(wanted: PayloadFilter) -> tuple[list[str], dict[str, Any]]:
    parameters = {name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None}
    return [_REFUSED, *(_CONDITIONS[name] for name in parameters)], parameters


_STORED = f"""
select p.*, r.id as run_id,
  case i.channel when 'replay' then p.headers ->> 'neural-channel' else i.channel end as channel,
  exists (select from lightfast_org_workspaces w where w.id = p.workspace_id) as has_workspace
from raw_payloads p
left join intakes i on i.id = p.intake_id {_RUN_OF_DELIVERY}
where p.id = any(:ids)
order by p.received_at, p.id
"""  # noqa: S608 - made of constants


def stored_payloads(connection: Connection, ids: Sequence[int]) -> list[StoredPayload]:
    """Return payloads with their bodies, oldest first; an id that is not there has none."""
    return [_stored(row) for row in rows(connection, _STORED, ids=list(ids))]


def stored_payload(connection: Connection, id_: int) -> StoredPayload | None:
    """Return one payload with its body, None if it is not there."""
    return next(iter(stored_payloads(connection, [id_])), None)


def _stored(row: RowMapping) -> StoredPayload:
    fields: dict[str, Any] = {name: row[name] for name in StoredPayload.__dataclass_fields__}
    fields["body"] = bytes(row["body"])
    return StoredPayload(**fields)
