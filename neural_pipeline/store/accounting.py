"""Audits of the whole record: what the view event_accounting found, kept, as finding it takes seconds."""

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection

from neural_pipeline.store.sql import rows, run

KEPT = 1_000
"""Audits that are kept: with one an hour, those of six weeks."""


@dataclass(frozen=True, slots=True)
class AuditedRule:
    """A rule of the accounting as of a moment: rows it was held against, found, and those that speak against it."""

    rule: str
    expected: int
    found: int
    unexplained: int
    audited_at: datetime


_AUDIT = """
insert into accounting_audits (audit_id, audited_at, rule, expected, found, unexplained)
select cast(:audit_id as uuid), statement_timestamp(), rule, expected, found, unexplained
from event_accounting order by rule
returning rule, expected, found, unexplained, audited_at
"""
_FORGET = """
delete from accounting_audits where audited_at < (
  select min(audited_at) from (
    select distinct audited_at from accounting_audits order by audited_at desc limit :kept) newest)
"""


def audit(connection: Connection) -> list[AuditedRule]:
    """Hold every record against the others as of one moment, keep what comes out, and forget the oldest audits.

    Seconds at a million rows. Locks no row but those it writes: no work waits for it.
    """
    # Many times the work of any other statement: a limit meant for those would leave the record unaudited for good.
    run(connection, "set local statement_timeout = 0")
    found = rows(connection, _AUDIT, audit_id=str(uuid4()))
    run(connection, _FORGET, kept=KEPT)
    return [AuditedRule(**row) for row in found]
