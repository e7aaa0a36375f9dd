"""Calls of models, of language and of embeddings: each reserves its tokens before it is made, one row per call.

The sum of a day stands beside the calls in `model_days`. Its row is also the lock at which reservations wait for one
another, so a budget holds to the token across processes, and costs a look-up by key however many calls a day has.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from neural_pipeline.store.sql import run, scalar, storable

MAX_REASON = 1_000
MAX_TOKENS = 2**31 - 1
"""What a column holds; a provider that tells more is not believed."""
_MAX_NAME = 100
_TODAY = "(clock_timestamp() at time zone 'UTC')::date"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """A call that is about to be made: for whom, of which model, and the most tokens that it is reckoned with."""

    workspace_id: str
    event_id: int | None
    function_id: str
    step: str
    model: str
    reserved_tokens: int


class BudgetExhausted(Exception):
    """The tokens that are left of the day do not suffice for a call; the message says how many are used."""

    def __init__(self, *, used: int, budget: int, wanted: int) -> None:
        super().__init__(
            f"today's budget (UTC) of {budget} tokens is exhausted: {used} are used or reserved,"
            f" and the next call may take {wanted}"
        )
        self.used, self.budget, self.wanted = used, budget, wanted


_RESERVE = f"""
with day_taken as (
  insert into model_days (day, tokens)
  select {_TODAY}, :reserved_tokens where cast(:budget as bigint) is null or :reserved_tokens <= :budget
  on conflict (day) do update set tokens = model_days.tokens + excluded.tokens
    where cast(:budget as bigint) is null or model_days.tokens + excluded.tokens <= :budget
  returning day
)
insert into model_calls (day, workspace_id, event_id, function_id, step, model, reserved_tokens)
select day, :workspace_id, :event_id, :function_id, :step, :model, :reserved_tokens from day_taken
returning id
"""  # noqa: S608 - a constant


def reserve(connection: Connection, call: NewCall, *, budget: int | None) -> int:
    """Reserve the tokens of a call within the day's budget, None for no limit; return the id of the call.

    Raises BudgetExhausted. The day stays locked until the caller's transaction ends: commit before the call is made.
    """
    reserved = _countable(call.reserved_tokens)
    names = {"step": storable(call.step, limit=_MAX_NAME), "model": storable(call.model, limit=_MAX_NAME)}
    parameters = asdict(call) | names | {"reserved_tokens": reserved}
    call_id = scalar(connection, _RESERVE, budget=budget, **parameters)
    if call_id is None:
        raise BudgetExhausted(used=used_today(connection), budget=budget or 0, wanted=reserved)
    return call_id


_FINISH = """
with finished as (
  update model_calls
  set input_tokens = cast(:input_tokens as integer), output_tokens = cast(:output_tokens as integer),
    duration_ms = :duration_ms, outcome = :outcome, reason = :reason
  where id = :id and outcome is null
  returning day, coalesce(cast(input_tokens as bigint) + output_tokens, reserved_tokens) - reserved_tokens as more
)
update model_days d set tokens = d.tokens + f.more from finished f where d.day = f.day
"""


def finish(
    connection: Connection,
    call_id: int,
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    duration_ms: int,
    outcome: str,
    reason: str | None,
) -> None:
    """Write what became of a call, once, and let what it used take the place of its reservation.

    Tokens are None where nobody knows what was used: then the reservation goes on counting.
    """
    run(
        connection,
        _FINISH,
        id=call_id,
        input_tokens=None if input_tokens is None else _countable(input_tokens),
        output_tokens=None if output_tokens is None else _countable(output_tokens),
        duration_ms=_countable(duration_ms),
        outcome=outcome,
        reason=reason and storable(reason, limit=MAX_REASON),
    )


def used_today(connection: Connection) -> int:
    """Return the tokens that all calls of this day (UTC) have used or hold reserved."""
    sql = f"select tokens from model_days where day = {_TODAY}"  # noqa: S608 - a constant
    return scalar(connection, sql) or 0


def _countable(number: int) -> int:
    return min(max(number, 0), MAX_TOKENS)
