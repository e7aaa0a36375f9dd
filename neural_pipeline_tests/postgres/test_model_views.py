"""The views of models, each against a count of the same rows in Python."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from neural_pipeline.metrics.catalogue import BY_NAME
from neural_pipeline.metrics.frames import Period, numbers_of
from neural_pipeline.models.language import Trouble
from neural_pipeline.store import model_calls
from neural_pipeline.store.model_calls import NewCall
from neural_pipeline_tests.building import column
from neural_pipeline_tests.metric_log import A_DAY, ALL_DAYS, STATES, Log, a_log, percent, plain, read, rows_behind

USE, FALLBACK = BY_NAME["model_use"], BY_NAME["classification_fallback"]
KEY = ("day", "function_id", "step", "model")
TROUBLES = [trouble.value for trouble in Trouble if trouble is not Trouble.BUDGET_EXHAUSTED]
"""What a call can end with; one that the budget does not allow is not made."""

OUTCOMES = ["answered", *TROUBLES, "error"]


def a_metric(chance: random.Random) -> tuple[str, int, dict[str, Any]]:
    tags = {
        "source": "github",
        "sourceType": "push",
        "classificationFallback": chance.choice([True, False, False, None]),
    }
    return chance.choice(["observation_captured", "observation_duplicate"]), 1, tags


@pytest.fixture(scope="module", params=STATES)
def log(request: pytest.FixtureRequest, server: Path, template: str) -> Iterator[Log]:
    with a_log(server, template, request.param, draw=a_metric) as log:
        yield log


def test_the_fallback_rate_is_that_of_observations_a_model_was_to_classify(log: Log) -> None:
    def of_day(**tags: Any) -> Counter[Any]:
        return Counter(row["day"] for row in log.of("observation_captured", **tags))

    captured, fell_back, right = of_day(), of_day(classificationFallback=True), of_day(classificationFallback=False)
    asked = fell_back + right
    assert plain(log.view("classification_fallback"), "day") == {
        (day,): {
            "captured": n,
            "asked": asked[day],
            "fell_back": fell_back[day],
            "fallback_rate": percent(fell_back[day], asked[day]),
        }
        for day, n in captured.items()
    }
    assert numbers_of(log.connection, FALLBACK, ALL_DAYS) == {
        "classifications_asked": asked.total(),
        "classification_fallback_rate_percent": percent(fell_back.total(), asked.total()),
    }
    shown = rows_behind(log.connection, FALLBACK, A_DAY)
    counted = [row["id"] for row in log.of("observation_captured") if row["day"] == A_DAY.since]
    assert sorted(row["id"] for row in shown) == counted
    assert 0 < len(counted) < 100


def test_a_day_on_which_only_rules_classified_has_no_fallback_rate(scratch: Connection) -> None:
    sql = """
    insert into lightfast_workspace_operations_metrics (clerk_org_id, workspace_id, type, value, tags)
    values ('org_test', 'ws_test', 'observation_captured', 1, '{"source": "git"}')
    """
    scratch.execute(text(sql))
    [row] = read(scratch, "select captured, asked, fell_back, fallback_rate from classification_fallback")
    assert row == {"captured": 1, "asked": 0, "fell_back": 0, "fallback_rate": None}


def a_call(connection: Connection, outcome: str | None, *, tokens: tuple[int, int] | None, **about: Any) -> None:
    """Make a call that took as many milliseconds as tokens were reserved, and has no outcome if that is None."""
    fields: dict[str, Any] = {"function_id": "neural.observation.capture", "step": "classify", "model": "openai:m"}
    call = NewCall(workspace_id="ws_test", event_id=None, **({"reserved_tokens": 100} | fields | about))
    id_ = model_calls.reserve(connection, call, budget=None)
    if outcome is not None:
        used, answer = tokens or (None, None)
        model_calls.finish(
            connection,
            id_,
            input_tokens=used,
            output_tokens=answer,
            duration_ms=call.reserved_tokens,
            outcome=outcome,
            reason=None,
        )


def calls_at_random(connection: Connection) -> list[dict[str, Any]]:
    chance = random.Random(3)  # noqa: S311
    for _ in range(90):
        tokens = (chance.randrange(1000), chance.randrange(100)) if chance.random() < 0.7 else None
        names = {"step": chance.choice(["classify", "embed"]), "model": chance.choice(["openai:m", "fastembed:é <b>"])}
        outcome = chance.choice([*OUTCOMES, "answered", "answered", None])
        a_call(connection, outcome, tokens=tokens, reserved_tokens=chance.randrange(1, 900), **names)
    connection.execute(text("update model_calls set day = day - (id % 2)::integer"))
    return read(connection, "select * from model_calls")


def expected_of(calls: list[dict[str, Any]]) -> dict[str, Any]:
    ended = [call for call in calls if call["outcome"] is not None]
    known = [call for call in calls if call["input_tokens"] is not None]
    return {
        "calls": len(calls),
        **{outcome: sum(call["outcome"] == outcome for call in calls) for outcome in OUTCOMES},
        "unfinished": len(calls) - len(ended),
        "input_tokens": sum(call["input_tokens"] for call in known),
        "output_tokens": sum(call["output_tokens"] for call in known),
        "reserved_tokens": sum(call["reserved_tokens"] for call in calls if call not in known),
        "mean_ms": pytest.approx(mean, abs=0.051) if (mean := mean_ms(ended)) is not None else None,
    }


def mean_ms(ended: list[dict[str, Any]]) -> float | None:
    return sum(call["duration_ms"] for call in ended) / len(ended) if ended else None


def test_calls_are_counted_by_how_they_ended_and_what_they_took(scratch: Connection) -> None:
    calls = calls_at_random(scratch)
    by_key: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for call in calls:
        by_key[tuple(call[name] for name in KEY)].append(call)
    found = plain(read(scratch, "select * from model_use"), *KEY)
    assert found == {key: expected_of(some) for key, some in by_key.items()}
    assert len(found) == 8


def test_the_numbers_of_models_are_those_of_the_calls_of_the_period(scratch: Connection) -> None:
    calls = calls_at_random(scratch)
    day = max(call["day"] for call in calls)
    period = Period(day, day + timedelta(days=1))
    calls = [call for call in calls if call["day"] == day]
    expected = expected_of(calls)
    ended = [call for call in calls if call["outcome"] is not None]
    assert numbers_of(scratch, USE, period) == {
        "model_calls": len(calls),
        "model_calls_unanswered": len(calls) - expected["answered"],
        "model_tokens": expected["input_tokens"] + expected["output_tokens"] + expected["reserved_tokens"],
        "model_answer_rate_percent": percent(expected["answered"], len(ended)),
        "model_call_mean_ms": pytest.approx(mean_ms(ended), abs=0.2),
    }
    shown = rows_behind(scratch, USE, period)
    assert {row["id"] for row in shown} == {call["id"] for call in calls}


@pytest.mark.parametrize("outcome", [*OUTCOMES, None])
def test_every_end_of_a_call_has_a_column_of_its_own(scratch: Connection, outcome: str | None) -> None:
    a_call(scratch, outcome, tokens=(5, 1))
    [row] = read(scratch, "select * from model_use")
    assert {name for name in [*OUTCOMES, "unfinished"] if row[name]} == {outcome or "unfinished"}
    assert row["calls"] == row[outcome or "unfinished"] == 1


def test_the_tokens_of_a_day_are_those_that_its_budget_was_charged_with(scratch: Connection) -> None:
    for outcome, tokens in (("answered", (70, 20)), ("timed_out", None), ("unavailable", (0, 0)), (None, None)):
        a_call(scratch, outcome, tokens=tokens)
    today = datetime.now(UTC).date()
    numbers = numbers_of(scratch, USE, Period(today - timedelta(days=1), today + timedelta(days=1)))
    assert numbers["model_tokens"] == 290
    assert column(scratch, "select sum(tokens) from model_days") == [290]
