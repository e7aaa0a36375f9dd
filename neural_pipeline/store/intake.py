"""The door: every payload handed in ends in exactly one disposition, and its bytes are kept whatever they are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, text

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.contracts.incoming import CapturePayload
from neural_pipeline.contracts.lifecycle import Disposition, Trigger
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store import inbox
from neural_pipeline.store.sql import record_set, rows, run, storable

MAX_DELIVERY_ID = 191
"""The width of the column."""

MAX_HEADER = 8_000
"""Characters kept of a header's name or value."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One payload as it was handed in, with what the transformers made of it."""

    workspace_id: str
    source: str
    event_type: str
    delivery_id: str
    body: bytes
    received_at: datetime
    judgement: Judgement
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Channel:
    """Who hands payloads in: by which way, why, and on whose behalf."""

    name: str
    trigger: Trigger
    triggered_by: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of one payload; `event_id` where it was accepted."""

    disposition: Disposition
    reason: str | None
    event_id: int | None = None


def admit(connection: Connection, receipts: Sequence[Receipt], *, channel: Channel) -> list[Admission]:
    """Store payloads and append an execution for each accepted one; one admission per receipt, in their order."""
    if not receipts:
        return []
    receipts = _refuse_unknown_workspaces(connection, list(map(_refuse_long_id, receipts)))
    intake_id = _open_intake(connection)
    payload_ids = _keep(connection, receipts, intake_id=intake_id)
    appended = inbox.append(connection, _executions(receipts, payload_ids, channel=channel))
    event_of = {payload: event for event, payload in appended.items()}
    admissions = [_admission(receipt, event_of.get(id_)) for receipt, id_ in zip(receipts, payload_ids, strict=True)]
    _mark_duplicates(connection, payload_ids, admissions)
    _close_intake(connection, intake_id, admissions, channel=channel)
    return admissions


def _refuse_unknown_workspaces(connection: Connection, receipts: Sequence[Receipt]) -> list[Receipt]:
    named = sorted({storable(receipt.workspace_id, limit=191) for receipt in receipts})
    sql = "select id from lightfast_org_workspaces where id = any(:named)"
    known = {row["id"] for row in rows(connection, sql, named=named)}
    return [receipt if receipt.workspace_id in known else _homeless(receipt) for receipt in receipts]


def _refuse_long_id(receipt: Receipt) -> Receipt:
    """Cutting an id would make different deliveries one."""
    if len(receipt.delivery_id) <= MAX_DELIVERY_ID or receipt.judgement.disposition != "accepted":
        return receipt
    reason = f"its delivery id has {len(receipt.delivery_id)} characters, at most {MAX_DELIVERY_ID} are kept"
    return replace(receipt, judgement=Judgement(disposition="invalid", event=None, reason=reason))


def _homeless(receipt: Receipt) -> Receipt:
    if receipt.judgement.disposition != "accepted":
        return receipt
    reason = f"workspace {receipt.workspace_id!r} does not exist: make it with `neural workspaces create`"
    return replace(receipt, judgement=Judgement(disposition="invalid", event=None, reason=reason))


def _open_intake(connection: Connection) -> int:
    sql = "select nextval(pg_get_serial_sequence('intakes', 'id')) as id"
    return int(rows(connection, sql)[0]["id"])


_KEEP = text("""
insert into raw_payloads (intake_id, workspace_id, source, event_type, delivery_id, headers, body, received_at,
  disposition, reason)
select :intake_id, r.workspace_id, r.source, r.event_type, r.delivery_id, r.headers, b.body, r.received_at,
  r.disposition, r.reason
from jsonb_to_recordset(cast(:receipts as jsonb)) as r(position integer, workspace_id text, source text,
  event_type text, delivery_id text, headers jsonb, received_at timestamptz, disposition text, reason text)
join unnest(cast(:bodies as bytea[])) with ordinality as b(body, position) on b.position = r.position
order by r.position
returning id
""")


def _keep(connection: Connection, receipts: Sequence[Receipt], *, intake_id: int) -> list[int]:
    records = record_set(
        {
            "position": position,
            "workspace_id": storable(receipt.workspace_id, limit=191),
            "source": storable(receipt.source, limit=50),
            "event_type": storable(receipt.event_type, limit=100),
            "delivery_id": storable(receipt.delivery_id, limit=191),
            "headers": {_header(name): _header(value) for name, value in receipt.headers.items()},
            "received_at": receipt.received_at.isoformat(),
            "disposition": receipt.judgement.disposition,
            "reason": receipt.judgement.reason and storable(receipt.judgement.reason, limit=1000),
        }
        for position, receipt in enumerate(receipts, start=1)
    )
    parameters = {"intake_id": intake_id, "receipts": records, "bodies": [receipt.body for receipt in receipts]}
    return sorted(connection.execute(_KEEP, parameters).scalars())


def _header(text: str) -> str:
    return storable(text, limit=MAX_HEADER)


def _executions(receipts: Sequence[Receipt], payload_ids: Sequence[int], *, channel: Channel) -> list[inbox.NewEvent]:
    return [
        inbox.NewEvent(
            workspace_id=receipt.workspace_id,
            source=receipt.source,
            delivery_id=storable(receipt.delivery_id, limit=191),
            payload=CapturePayload(source_event=event),
            trigger=channel.trigger,
            triggered_by=channel.triggered_by,
            repository_id=repository_of(event),
            raw_payload_id=payload_id,
        )
        for receipt, payload_id in zip(receipts, payload_ids, strict=True)
        if (event := receipt.judgement.event) is not None
    ]


def repository_of(event: SourceEvent) -> str | None:
    """Return what an event's run names as its repository: the provider's id of it, or of the project."""
    found = event.metadata.get("repoId") or event.metadata.get("projectId") or event.metadata.get("repoFullName")
    return None if found is None else str(found)[:191]


def _admission(receipt: Receipt, event_id: int | None) -> Admission:
    if receipt.judgement.event is not None and event_id is None:
        return Admission(Disposition.DUPLICATE, f"delivery {receipt.delivery_id} was accepted before")
    return Admission(Disposition(receipt.judgement.disposition), receipt.judgement.reason, event_id)


def _mark_duplicates(connection: Connection, payload_ids: Sequence[int], admissions: Sequence[Admission]) -> None:
    known = [
        id_
        for id_, admission in zip(payload_ids, admissions, strict=True)
        if admission.disposition is Disposition.DUPLICATE
    ]
    if known:
        sql = """
        update raw_payloads set disposition = 'duplicate', reason = 'delivery ' || delivery_id || ' was accepted before'
        where id = any(:known)
        """
        run(connection, sql, known=known)


def _close_intake(connection: Connection, intake_id: int, admissions: Sequence[Admission], *, channel: Channel) -> None:
    counts = Counter(admission.disposition for admission in admissions)
    sql = """
    insert into intakes (id, channel, triggered_by, received, accepted, duplicate, unsupported, invalid)
    overriding system value
    values (:id, :channel, :triggered_by, :received, :accepted, :duplicate, :unsupported, :invalid)
    """
    tally = {disposition.value: counts[disposition] for disposition in Disposition}
    run(
        connection,
        sql,
        id=intake_id,
        channel=channel.name,
        triggered_by=channel.triggered_by,
        received=len(admissions),
        **tally,
    )
