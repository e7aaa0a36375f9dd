"""Calls of models and their answers in the store: a budget that holds, and what is kept for how long."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.store import model_answers, model_calls
from neural_pipeline.store.model_answers import KeptAnswer
from neural_pipeline.store.model_calls import BudgetExhausted, NewCall
from neural_pipeline_tests.building import column, in_transaction, one, waiting
from neural_pipeline_tests.retention_world import age, answered, captured, failed, pruned, unexplained

CALL = NewCall(
    workspace_id="ws_test",
    event_id=None,
    function_id="neural.cluster.summary",
    step="summarise",
    model="openai:gpt-5-mini",
    reserved_tokens=100,
)
ANSWER = KeptAnswer(question_hash="h", answer={"summary": "Checkout works again"}, input_tokens=70, output_tokens=20)
SUM_OF_CALLS = """
select sum(coalesce(cast(input_tokens as bigint) + output_tokens, reserved_tokens))::bigint from model_calls
"""


def reserve(connection: Connection, tokens: int = 100, *, budget: int | None = None) -> int:
    return model_calls.reserve(connection, replace(CALL, reserved_tokens=tokens), budget=budget)


def finish(
    connection: Connection, call_id: int, tokens: tuple[int | None, int | None] = (70, 20), **changes: Any
) -> None:
    ending: dict[str, Any] = {"duration_ms": 900, "outcome": "answered", "reason": None} | changes
    model_calls.finish(connection, call_id, input_tokens=tokens[0], output_tokens=tokens[1], **ending)


def call_of(connection: Connection, call_id: int) -> Any:
    return one(connection, "select * from model_calls where id = :id", id=call_id)


def test_a_budget_holds_to_the_token(scratch: Connection) -> None:
    reserve(scratch, 60, budget=100)
    with pytest.raises(BudgetExhausted, match=r"budget .* of 100 tokens .*: 60 are used .* may take 41"):
        reserve(scratch, 41, budget=100)
    reserve(scratch, 40, budget=100)
    assert model_calls.used_today(scratch) == 100
    assert column(scratch, "select count(*) from model_calls") == [2]


def test_the_first_call_of_a_day_needs_room_in_the_budget_too(scratch: Connection) -> None:
    with pytest.raises(BudgetExhausted):
        reserve(scratch, 101, budget=100)
    assert model_calls.used_today(scratch) == 0


def test_ten_at_once_with_a_budget_for_four_make_four_calls(engine: Engine) -> None:
    def try_to(_: int) -> bool:
        try:
            in_transaction(engine, lambda connection: reserve(connection, 100, budget=499))
        except BudgetExhausted:
            return False
        return True

    with ThreadPoolExecutor(10) as threads:
        assert sorted(threads.map(try_to, range(10))) == [False] * 6 + [True] * 4
    with engine.begin() as connection:
        assert column(connection, SUM_OF_CALLS) == [400] == [model_calls.used_today(connection)]


def test_what_a_call_used_takes_the_place_of_what_it_reserved_once(scratch: Connection) -> None:
    call_id = reserve(scratch)
    for _ in range(2):
        finish(scratch, call_id, (70, 50))
    call = call_of(scratch, call_id)
    assert (call["input_tokens"], call["output_tokens"], call["duration_ms"], call["outcome"]) == (
        70,
        50,
        900,
        "answered",
    )
    assert model_calls.used_today(scratch) == 120


def test_where_nobody_knows_what_was_used_the_reservation_goes_on_counting(scratch: Connection) -> None:
    reserve(scratch)
    finish(scratch, reserve(scratch), (None, None), outcome="timed_out", reason="no answer within 30 s")
    assert model_calls.used_today(scratch) == 200


def test_the_sum_of_a_day_is_that_of_its_calls_whatever_became_of_them(scratch: Connection) -> None:
    endings = [None, (0, 0), (None, None), (500, 3), (10**12, 0), (-5, 7)]
    for ending in endings:
        call_id = reserve(scratch)
        if ending is not None:
            finish(scratch, call_id, ending)
    assert column(scratch, SUM_OF_CALLS) == [model_calls.used_today(scratch)]


def test_a_call_that_ends_after_midnight_counts_for_the_day_it_began(scratch: Connection) -> None:
    call_id = reserve(scratch)
    for table in ("model_calls", "model_days"):
        scratch.execute(text(f"update {table} set day = day - 1"))
    reserve(scratch, 7)
    finish(scratch, call_id, (1, 2))
    assert model_calls.used_today(scratch) == 7
    assert column(scratch, "select tokens from model_days order by day") == [3, 7]


def test_yesterdays_tokens_leave_todays_budget_alone(scratch: Connection) -> None:
    reserve(scratch, 100, budget=100)
    scratch.execute(text("update model_days set day = day - 1"))
    reserve(scratch, 100, budget=100)


@pytest.mark.parametrize("reason", ["NUL \0 here", "lone \ud83d surrogate", "long " * 1000])
def test_a_reason_can_be_stored_whatever_it_says(scratch: Connection, reason: str) -> None:
    call_id = reserve(scratch)
    finish(scratch, call_id, (0, 0), outcome="unavailable", reason=reason)
    stored = call_of(scratch, call_id)["reason"]
    assert stored == reason.replace("\0", "\ufffd").replace("\ud83d", "\ufffd")[:1000]


def test_a_name_that_is_too_long_is_cut(scratch: Connection) -> None:
    call_id = model_calls.reserve(scratch, replace(CALL, model="m" * 300, step="s" * 300), budget=None)
    assert (call_of(scratch, call_id)["model"], call_of(scratch, call_id)["step"]) == ("m" * 100, "s" * 100)


def quickest(act: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(10):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_reservation_takes_milliseconds_on_a_day_of_a_hundred_thousand_calls(scratch: Connection) -> None:
    reserve(scratch)
    sql = """
    insert into model_calls (day, workspace_id, function_id, step, model, reserved_tokens)
    select c.day, c.workspace_id, c.function_id, c.step, c.model, 100 from model_calls c, generate_series(1, 100000)
    """
    scratch.execute(text(sql))
    scratch.execute(text("update model_days set tokens = tokens + 10000000"))
    assert quickest(lambda: finish(scratch, reserve(scratch, budget=10**9))) < 0.01
    assert quickest(lambda: model_calls.used_today(scratch)) < 0.01


def test_an_answer_is_kept_for_its_event_step_and_model(scratch: Connection) -> None:
    first, second = waiting(scratch, 2)
    model_answers.keep(scratch, [(second, ANSWER), (first, ANSWER)], step="summarise", model="m")
    assert model_answers.kept(scratch, [first, second], step="summarise", model="m") == {first: ANSWER, second: ANSWER}
    assert model_answers.kept(scratch, [first], step="summarise", model="m") == {first: ANSWER}
    assert model_answers.kept(scratch, [first], step="classify", model="m") == {}
    assert model_answers.kept(scratch, [first], step="summarise", model="other") == {}


def test_a_later_answer_takes_the_place_of_an_earlier_one(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    later = replace(ANSWER, question_hash="other", answer={"summary": "It does not"})
    for model, answer in (("m", ANSWER), ("n", ANSWER), ("n", later)):
        model_answers.keep(scratch, [(id_, answer)], step="summarise", model=model)
    assert model_answers.kept(scratch, [id_], step="summarise", model="m") == {}
    assert model_answers.kept(scratch, [id_], step="summarise", model="n") == {id_: later}


def test_an_answer_to_an_event_that_is_gone_hinders_no_other(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    model_answers.keep(scratch, [(id_ + 1000, ANSWER), (id_, ANSWER)], step="summarise", model="m")
    assert column(scratch, "select event_id from model_answers") == [id_]


def test_an_answer_can_be_kept_whatever_the_model_wrote(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    written = {"te\0xt": ["NUL \0", {"deep": "lone \ud83d"}, 2**70, 0.5, None, True], "tokens": 1}
    model_answers.keep(
        scratch, [(id_, replace(ANSWER, answer=written, input_tokens=10**12))], step="summarise", model="m" * 300
    )
    kept = model_answers.kept(scratch, [id_], step="summarise", model="m" * 300)[id_]
    assert kept.answer == {
        "te\ufffdxt": ["NUL \ufffd", {"deep": "lone \ufffd"}, 2**70, 0.5, None, True], "tokens": 1
    }  # fmt: skip


@pytest.mark.usefixtures("workspace")
def test_answers_go_with_the_payload_of_their_event_and_are_counted(engine: Engine) -> None:
    [good], bad = captured(engine), failed(engine)
    with engine.begin() as connection:
        [waits] = waiting(connection, 1, prefix="waits")
        answered(connection, good, bad, waits)
        age(connection, 31)
        assert pruned(connection)["model answer completed"] == 1
        assert column(connection, "select event_id from model_answers order by 1") == [bad, waits]
        age(connection, 60)
        assert pruned(connection)["model answer failed"] == 1
        assert column(connection, "select event_id from model_answers") == [waits]
        assert column(connection, "select removed from pruned_counters where record = 'model_answers'") == [2]
        assert unexplained(connection) == {}


def test_calls_go_by_the_age_of_metrics_and_a_days_sum_with_its_last_call(scratch: Connection) -> None:
    older = "update model_calls set called_at = called_at - :days * interval '1 day' where id = :id"
    first, second = reserve(scratch), reserve(scratch)
    finish(scratch, second)
    scratch.execute(text(older), {"days": 364, "id": first})
    assert pruned(scratch) == {}
    scratch.execute(text(older), {"days": 2, "id": first})
    assert pruned(scratch) == {"model call unfinished": 1}
    assert column(scratch, "select tokens from model_days") == [190]
    scratch.execute(text(older), {"days": 366, "id": second})
    assert pruned(scratch) == {"model call answered": 1}
    for table in ("model_calls", "model_days"):
        assert column(scratch, f"select count(*) from {table}") == [0]
    counted = "select removed from pruned_counters where record in ('model_calls', 'model_days') order by record"
    assert column(scratch, counted) == [2, 1]
