"""What a model has answered for an event, kept before the event is stored: a lost run does not pay twice.

An event has one answer per step. Retention removes it with the event's payload; nobody asks again before that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection

from neural_pipeline.store.model_calls import MAX_TOKENS
from neural_pipeline.store.sql import record_set, rows, run, storable

_MAX_MODEL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer as JSON, the hash of the question that it answers, and the tokens that it took."""

    question_hash: str
    answer: Any
    input_tokens: int
    output_tokens: int


def kept(connection: Connection, event_ids: Iterable[int], *, step: str, model: str) -> dict[int, KeptAnswer]:
    """Return what the model has answered for events in a step, by event id; the hash tells to which question."""
    sql = """
    select event_id, question_hash, answer, input_tokens, output_tokens from model_answers
    where event_id = any(:ids) and step = :step and model = :model
    """
    found = rows(connection, sql, ids=list(event_ids), step=step, model=_name(model))
    return {row["event_id"]: KeptAnswer(**{name: row[name] for name in _FIELDS}) for row in found}


_FIELDS = ("question_hash", "answer", "input_tokens", "output_tokens")

_KEEP = """
insert into model_answers (event_id, step, model, question_hash, answer, input_tokens, output_tokens)
select a.event_id, :step, :model, a.question_hash, a.answer, a.input_tokens, a.output_tokens
from jsonb_to_recordset(cast(:answers as jsonb)) as a(event_id bigint, question_hash text, answer jsonb,
  input_tokens integer, output_tokens integer)
join incoming_events e on e.id = a.event_id
order by a.event_id
on conflict (event_id, step) do update set model = excluded.model, question_hash = excluded.question_hash,
  answer = excluded.answer, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
  answered_at = excluded.answered_at
"""


def keep(connection: Connection, answers: Sequence[tuple[int, KeptAnswer]], *, step: str, model: str) -> None:
    """Keep what the model has answered for events, in place of what they had; one that is gone needs nothing."""
    records = record_set(
        {
            "event_id": event_id,
            "question_hash": one.question_hash,
            "answer": _storable(one.answer),
            "input_tokens": min(one.input_tokens, MAX_TOKENS),
            "output_tokens": min(one.output_tokens, MAX_TOKENS),
        }
        for event_id, one in answers
    )
    run(connection, _KEEP, answers=records, step=step, model=_name(model))


def _name(model: str) -> str:
    return storable(model, limit=_MAX_MODEL)


def _storable(value: Any) -> Any:
    """Return JSON that Postgres can hold: models write whatever they like into text."""
    match value:
        case str():
            return storable(value, limit=len(value))
        case dict():
            members = cast("dict[str, Any]", value)
            return {storable(name, limit=len(name)): _storable(member) for name, member in members.items()}
        case list():
            return [_storable(member) for member in cast("list[Any]", value)]
        case _:
            return value
