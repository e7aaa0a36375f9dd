"""Removing payloads: of executions, whose record stays, and of deliveries that were refused."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping

from neural_pipeline.store.retention import (
    ENDED,
    OLD_PAYLOAD,
    OLD_RAW,
    OLD_REFUSAL,
    SPARE,
    UNNAMED,
    Cutoffs,
    Kind,
    Page,
    Place,
    Removed,
    count,
    old_ones,
)
from neural_pipeline.store.sql import rows, run

_TAKE = f"""
with due as materialized (
  select e.id, e.outcome, e.raw_payload_id {ENDED} and e.id = any(:ids) order by e.id for update of e, r skip locked
), taken as (
  update incoming_events e set payload = null, pruned_at = clock_timestamp() from due where e.id = due.id
)
select id, outcome, raw_payload_id from due
"""  # noqa: S608 - constants


def take_payloads(connection: Connection, after: Place, cutoffs: Cutoffs) -> Page:
    """Take the payloads of old executions, and what models answered to them.

    A raw payload goes with the last execution that could use it. Until then whoever came from it keeps
    naming it: a replay shares the raw payload of what it replays.
    """
    ids, end = old_ones(connection, OLD_PAYLOAD, "e.outcome_at", after=after, cutoffs=cutoffs)
    taken = rows(connection, _TAKE, ids=ids)
    answers = _remove_answers(connection, {row["id"]: row["outcome"] for row in taken})
    used = [row["raw_payload_id"] for row in taken if row["raw_payload_id"] is not None]
    payloads = Removed(Kind("payload", row["outcome"]) for row in taken)
    return Page(payloads + answers + _remove_unused(connection, used), end)


def _remove_answers(connection: Connection, outcomes: Mapping[int, str]) -> Removed:
    sql = "delete from model_answers where event_id = any(:ids) returning event_id"
    gone = [row["event_id"] for row in rows(connection, sql, ids=list(outcomes))]
    count(connection, {"model_answers": len(gone)})
    return Removed(Kind("model answer", outcomes[event_id]) for event_id in gone)


_UNUSED = """
with users as materialized (
  select id, raw_payload_id from incoming_events where raw_payload_id = any(:ids) and pruned_at is not null
  order by id for update skip locked
)
select p.id from raw_payloads p
where p.id = any(:ids) and not exists (
  select from incoming_events e where e.raw_payload_id = p.id and e.id not in (select id from users))
"""


def _remove_unused(connection: Connection, ids: Sequence[int]) -> Removed:
    """Remove those of the raw payloads that only pruned executions name, none of which is being replayed."""
    if not ids:
        return Removed()
    unused = [row["id"] for row in rows(connection, _UNUSED, ids=ids)]
    run(connection, "update incoming_events set raw_payload_id = null where raw_payload_id = any(:ids)", ids=unused)
    gone = rows(connection, "delete from raw_payloads where id = any(:ids) returning disposition", ids=unused)
    return _raw_payloads(connection, gone)


_SPARE = f"""
select p.id from raw_payloads p where p.id = any(:ids) and {SPARE} order by p.id for update skip locked
"""  # noqa: S608 - constants


def remove_spare(connection: Connection, after: Place, cutoffs: Cutoffs) -> Page:
    """Remove old raw payloads that were accepted and that nobody can use any more."""
    ids, end = old_ones(connection, OLD_RAW, "p.received_at", after=after, cutoffs=cutoffs)
    return Page(_remove_unused(connection, [row["id"] for row in rows(connection, _SPARE, ids=ids)]), end)


_REFUSED = f"""
delete from raw_payloads where id in (
  select p.id from raw_payloads p where p.id = any(:ids) and {UNNAMED} order by p.id for update skip locked)
returning disposition
"""  # noqa: S608 - constants


def remove_refused(connection: Connection, after: Place, cutoffs: Cutoffs) -> Page:
    """Remove old raw payloads that were refused, or delivered before."""
    ids, end = old_ones(connection, OLD_REFUSAL, "p.received_at", after=after, cutoffs=cutoffs)
    return Page(_raw_payloads(connection, rows(connection, _REFUSED, ids=ids)), end)


def _raw_payloads(connection: Connection, gone: Sequence[RowMapping]) -> Removed:
    counts = Counter[str](row["disposition"] for row in gone)
    count(connection, {f"raw_payloads/{disposition}": number for disposition, number in counts.items()})
    return Removed({Kind("raw payload", disposition): number for disposition, number in counts.items()})
