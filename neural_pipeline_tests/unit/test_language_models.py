"""Language models: the rules, and the models of providers against a server on the loopback address."""

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import chain
from typing import Any

import pytest
from pydantic import SecretStr

from neural_pipeline.contracts.answers import ClassifyAnswer
from neural_pipeline.models.anthropic_provider import anthropic_model
from neural_pipeline.models.language import Answer, ModelFailed, Prompt, Question, Trouble, Usage
from neural_pipeline.models.offline import OfflineModel
from neural_pipeline.models.openai_provider import openai_model
from neural_pipeline.models.provider import ProviderModel
from neural_pipeline.workflows.batch_work.questions import ANSWER_TOKENS, put
from neural_pipeline_tests.openai_server import (
    IN_TOKENS,
    OUT_TOKENS,
    Asked,
    OpenAIServer,
    Reply,
    Script,
    always,
    in_turn,
    refused,
)

KEY = "sk-very-secret-key-0123456789"
DATA = "The-text-of-a-private-commit"
GOOD = Reply(answer={"primaryCategory": "bug_fix", "confidence": 0.9, "topics": ["login"]})
MISFIT = Reply(answer={"primaryCategory": "nonsense", "confidence": 0.9})
GOOD_ANSWER = ClassifyAnswer(primary_category="bug_fix", confidence=0.9, topics=("login",))
BY_RULES = ClassifyAnswer(primary_category="other", confidence=0.5)
QUESTION = Question(Prompt("Classify what follows.", DATA), ClassifyAnswer, "rules", lambda: BY_RULES)
ONE_CALL = Usage(IN_TOKENS, OUT_TOKENS)

Asking = Callable[..., tuple[ProviderModel, OpenAIServer]]


def openai_at(server: OpenAIServer, timeout: float, retry_after: float) -> ProviderModel:
    return openai_model(
        "gpt-4.1-mini", key=SecretStr(KEY), base_url=server.base_url, timeout=timeout, retry_after=retry_after
    )


def anthropic_at(server: OpenAIServer, timeout: float, retry_after: float) -> ProviderModel:
    return anthropic_model(
        "claude-haiku-4-5", key=SecretStr(KEY), base_url=server.address, timeout=timeout, retry_after=retry_after
    )


MODELS = {"openai": openai_at, "anthropic": anthropic_at}


@pytest.fixture(params=MODELS)
def asking(request: pytest.FixtureRequest) -> Iterator[Asking]:
    """Build a model and the server that it asks; both end with the test."""
    with ExitStack() as stack:

        def build(script: Script | Reply, *, timeout: float = 20.0, retry_after: float = 0.1) -> tuple:
            server = stack.enter_context(OpenAIServer(script))
            model = MODELS[request.param](server, timeout, retry_after)
            stack.callback(model.close)
            return model, server

        yield build


def failure(model: ProviderModel) -> ModelFailed:
    with pytest.raises(ModelFailed) as failed:
        model.answer(QUESTION)
    return failed.value


def test_offline_the_rules_answer_and_nothing_is_used():
    assert OfflineModel().answer(QUESTION) == Answer(BY_RULES, "offline:rules", Usage())
    assert (OfflineModel().name, OfflineModel().is_offline) == ("offline", True)


def test_an_answer_tells_its_value_its_author_and_its_tokens(asking: Asking):
    model, _ = asking(GOOD)
    answer = model.answer(QUESTION)
    assert answer.value == ClassifyAnswer(primary_category="bug_fix", confidence=0.9, topics=("login",))
    assert answer.answered_by == model.name
    assert answer.usage == ONE_CALL
    assert not model.is_offline


def test_the_provider_is_told_the_instructions_the_data_and_the_shape(asking: Asking):
    model, server = asking(GOOD)
    model.answer(QUESTION)
    instructions, data = server.asked[0].texts
    assert QUESTION.prompt.instructions in instructions
    assert DATA in data
    assert DATA not in instructions
    assert server.asked[0].fields == {"primaryCategory", "secondaryCategories", "topics", "confidence", "reasoning"}
    assert KEY in server.asked[0].authorization


def test_an_answer_that_is_too_long_is_cut_not_lost(asking: Asking):
    model, _ = asking(Reply(answer={**(GOOD.answer or {}), "reasoning": "r" * 5000}))
    assert model.answer(QUESTION).value.reasoning == "r" * 200


# What a provider does, what that is called, how often it is asked, what is paid, and a word of the message.
FAILURES = {
    "refuses the key": (refused(401), Trouble.UNAUTHORIZED, 1, Usage(), "_API_KEY"),
    "forbids the model": (refused(403), Trouble.UNAUTHORIZED, 1, Usage(), "403"),
    "is asked too often": (refused(429, retry_after="0"), Trouble.RATE_LIMITED, 2, Usage(), "429"),
    "is asked too often, says no time": (refused(429), Trouble.RATE_LIMITED, 2, Usage(), "429"),
    "wants a long pause": (refused(429, retry_after="60"), Trouble.RATE_LIMITED, 1, Usage(), "wait 60 s"),
    "knows no such model": (refused(404, "no such model"), Trouble.UNAVAILABLE, 1, Usage(), "no such model"),
    "cannot read the request": (refused(400, "bad request"), Trouble.UNAVAILABLE, 1, Usage(), "bad request"),
    "breaks": (refused(500), Trouble.UNAVAILABLE, 2, Usage(), "500"),
    "is down": (refused(503), Trouble.UNAVAILABLE, 2, Usage(), "503"),
    "sends us elsewhere": (
        Reply(status=307, body=b"{}", headers={"Location": "/v1/elsewhere"}),
        Trouble.UNAVAILABLE,
        1,
        Usage(),
        "call failed",
    ),
    "hangs up": (Reply(dropped=True), Trouble.UNAVAILABLE, 2, Usage(), "no connection"),
    "breaks off within the body": (Reply(answer=GOOD.answer, sent=0.6), Trouble.CUT_OFF, 1, Usage(), "within"),
    "runs out of tokens": (Reply(finish="length"), Trouble.CUT_OFF, 1, ONE_CALL, "cut off"),
    "runs out of tokens within a text": (
        Reply(text='{"pri', finish="length"),
        Trouble.CUT_OFF,
        1,
        ONE_CALL,
        "cut off",
    ),
    "gives what does not fit": (MISFIT, Trouble.INVALID_ANSWER, 1, ONE_CALL, "primaryCategory"),
    "chats": (Reply(text="It is a bug, I think."), Trouble.INVALID_ANSWER, 1, ONE_CALL, "cannot be read"),
    "gives no JSON": (Reply(body=b"{not json"), Trouble.INVALID_ANSWER, 1, Usage(), "cannot be read"),
    "gives JSON of another protocol": (Reply(body=b'{"hello": []}'), Trouble.INVALID_ANSWER, 1, Usage(), "the answer"),
    "refuses": (Reply(refusal="I cannot help with that."), Trouble.REFUSED, 1, ONE_CALL, "refused"),
    "filters": (Reply(finish="content_filter"), Trouble.REFUSED, 1, ONE_CALL, "filter"),
}


@pytest.mark.parametrize("fails", FAILURES)
def test_a_provider_that(fails: str, asking: Asking):
    reply, trouble, calls, usage, word = FAILURES[fails]
    model, server = asking(reply)
    failed = failure(model)
    assert (failed.trouble, server.count, failed.usage) == (trouble, calls, usage)
    assert word in str(failed)
    assert str(failed).startswith(model.name)
    assert "\n" not in str(failed)


@pytest.mark.parametrize("first", [refused(429, retry_after="0"), refused(500), refused(529), Reply(dropped=True)])
def test_a_failure_of_the_moment_is_made_good_by_the_repetition(first: Reply, asking: Asking):
    model, server = asking(in_turn(first, GOOD))
    assert model.answer(QUESTION).value.primary_category == "bug_fix"
    assert server.count == 2


@pytest.mark.parametrize("paid", [MISFIT, Reply(answer=GOOD.answer, sent=0.5)])
def test_what_was_paid_for_is_not_asked_for_once_more(paid: Reply, asking: Asking):
    model, server = asking(in_turn(paid, GOOD))
    failure(model)
    assert server.count == 1


def test_an_answer_has_a_limit_that_budgets_reckon_with(asking: Asking):
    model, server = asking(GOOD)
    model.answer(QUESTION)
    limits = {server.asked[0].body.get(name) for name in ("max_tokens", "max_completion_tokens")}
    assert ANSWER_TOKENS in limits


def test_nobody_listens(asking: Asking):
    model, server = asking(GOOD)
    server.__exit__()
    failed = failure(model)
    assert failed.trouble is Trouble.UNAVAILABLE
    assert "no connection" in str(failed)


def test_an_account_without_money_is_not_asked_again():
    with OpenAIServer(refused(429, "You exceeded your quota", code="insufficient_quota", retry_after="900")) as server:
        model = openai_at(server, 20.0, 0.1)
        failed = failure(model)
        model.close()
    assert (failed.trouble, server.count) == (Trouble.RATE_LIMITED, 1)
    assert "quota is exhausted" in str(failed)
    assert failed.retry_after == 900.0


def seconds_to_answer(model: ProviderModel) -> float:
    began = time.monotonic()
    model.answer(QUESTION)
    return time.monotonic() - began


def test_the_pause_that_a_provider_asks_for_in_seconds_is_made(asking: Asking):
    model, _ = asking(in_turn(refused(429, retry_after="1"), GOOD), retry_after=1.0)
    assert seconds_to_answer(model) >= 1.0


def test_the_pause_that_a_provider_asks_for_as_a_date_is_made(asking: Asking):
    then = datetime.now(UTC) + timedelta(seconds=30)
    model, server = asking(refused(503, retry_after=format_datetime(then, usegmt=True)), retry_after=0.1)
    failed = failure(model)
    assert server.count == 1
    assert "wait 30 s" in str(failed) or "wait 29 s" in str(failed) or "wait 28 s" in str(failed)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    model, server = asking(in_turn(refused(429, retry_after=past), GOOD), retry_after=0.0)
    assert model.answer(QUESTION).usage == ONE_CALL


def test_no_pause_goes_beyond_the_time_out(asking: Asking):
    model, server = asking(in_turn(refused(429, retry_after="3"), GOOD), timeout=2.0, retry_after=10.0)
    began = time.monotonic()
    failed = failure(model)
    assert (failed.trouble, server.count) == (Trouble.RATE_LIMITED, 1)
    assert "no time left" in str(failed)
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("hanging", [Reply(seconds=60), Reply(answer=GOOD.answer, within=60)])
def test_a_provider_that_hangs_is_left_when_the_time_is_over(hanging: Reply, asking: Asking):
    model, server = asking(hanging, timeout=0.4)
    began = time.monotonic()
    failed = failure(model)
    assert time.monotonic() - began < 2.0
    assert (failed.trouble, server.count) == (Trouble.TIMED_OUT, 1)
    assert "0.4 s" in str(failed)


def test_the_time_out_is_for_an_answer_and_its_repetition_together(asking: Asking):
    model, server = asking(in_turn(refused(500), Reply(seconds=60)), timeout=0.8)
    began = time.monotonic()
    assert failure(model).trouble is Trouble.TIMED_OUT
    assert time.monotonic() - began < 2.5
    assert server.count == 2


def everything_told(failed: ModelFailed) -> str:
    frames = chain.from_iterable(
        (repr(value) for value in frame.f_locals.values()) for frame, _ in traceback.walk_tb(failed.__traceback__)
    )
    lines = traceback.format_exception(failed)
    return "\n".join([repr(failed), str(failed.__context__), str(failed.__cause__), *lines, *frames])


ECHO = f"Incorrect API key provided: {KEY}. Header: Authorization: Bearer {KEY}; begins {KEY[:14]}, ends {KEY[-12:]}"


@pytest.mark.parametrize(
    "echo",
    [
        refused(401, ECHO),
        refused(403, "x" * 290 + KEY),
        refused(500, ECHO),
        refused(429, ECHO, retry_after="99"),
        Reply(status=401, body=ECHO.encode()),
        Reply(answer={"primaryCategory": KEY, "confidence": KEY}),
        Reply(refusal=KEY),
    ],
)
def test_no_key_is_told_whatever_the_provider_echoes(echo: Reply, asking: Asking):
    model, _ = asking(echo)
    failed = failure(model)
    # The test's own frame holds the reply that it has scripted.
    told = everything_told(failed.with_traceback(failed.__traceback__ and failed.__traceback__.tb_next))
    pieces = {KEY[at : at + 8] for at in range(len(KEY) - 7)}
    assert {piece for piece in pieces if piece in told} == set()
    assert (failed.__context__, failed.__cause__) == (None, None)
    assert "key" in str(failed) or "refused" in str(failed) or "status" in str(failed) or "fit" in str(failed)


def test_nothing_of_a_prompt_or_a_key_is_logged(asking: Asking, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    model, _ = asking(in_turn(refused(500), GOOD))
    model.answer(QUESTION)
    assert DATA not in caplog.text
    assert KEY not in caplog.text


def test_a_model_answers_several_threads_at_once_over_connections_it_keeps(asking: Asking):
    model, server = asking(always(Reply(answer=GOOD.answer, seconds=0.5)))
    model.answer(QUESTION)
    began = time.monotonic()
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(model.answer, [QUESTION] * 6))
    assert time.monotonic() - began < 2.5
    assert {answer.usage for answer in answers} == {ONE_CALL}
    before = {asked.connection for asked in server.asked}
    model.answer(QUESTION)
    assert server.asked[-1].connection in before


def test_a_model_that_is_closed_ends_what_it_does_and_answers_no_more(asking: Asking):
    model, server = asking(Reply(seconds=60))
    with ThreadPoolExecutor(1) as thread:
        failed = thread.submit(failure, model)
        while not server.count:
            time.sleep(0.01)
        model.close()
        assert failed.result(5).trouble is Trouble.UNAVAILABLE
    assert "closed" in str(failure(model))


@pytest.mark.parametrize(("asks", "seconds"), [("60", 60.0), (None, None)])
def test_a_failure_tells_for_how_long_the_provider_wants_to_be_left_alone(
    asks: str | None, seconds: float | None, asking: Asking
):
    model, _ = asking(refused(429, retry_after=asks) if asks else refused(429))
    assert failure(model).retry_after == seconds
    reply = put(model, QUESTION, step="classify")
    assert isinstance(reply.result, ModelFailed)
    assert reply.result.retry_after == seconds


def asked_with(name: str, script: Script | Reply = GOOD, *, questions: int = 1) -> list[dict[str, Any]]:
    """Ask a model of this name; return the requests."""
    with OpenAIServer(script) as server:
        model = openai_model(name, key=SecretStr(KEY), base_url=server.base_url, timeout=20.0, retry_after=0.1)
        for _ in range(questions):
            assert model.answer(QUESTION) == Answer(GOOD_ANSWER, f"openai:{name}", ONE_CALL)
        model.close()
    return [asked.body for asked in server.asked]


@pytest.mark.parametrize(
    ("name", "temperature", "effort"),
    [
        ("gpt-4.1-mini", 0.2, None),
        ("gpt-5-mini", None, "low"),
        ("openai/gpt-5-mini", None, "low"),
        ("gateway/openai/o4-mini", None, "low"),
        ("gpt-5-pro", None, None),
        ("gpt-5.1", None, None),
        ("llama", 0.2, None),
    ],
)
def test_a_model_that_reasons_is_asked_without_a_temperature_and_to_think_little_if_it_can(
    name: str, temperature: float | None, effort: str | None
):
    [body] = asked_with(name)
    assert (body["model"], body.get("temperature"), body.get("reasoning_effort")) == (name, temperature, effort)


TAKES_NO_TEMPERATURE = refused(400, "Unsupported value: 'temperature' does not support 0.2 with this model.")


def test_a_model_that_refuses_a_temperature_is_asked_without_one_from_then_on():
    bodies = asked_with("azure-gpt-5", in_turn(TAKES_NO_TEMPERATURE, GOOD), questions=2)
    assert [body.get("temperature") for body in bodies] == [0.2, None, None]


def test_a_model_that_refuses_an_effort_is_asked_without_one():
    refusal = refused(400, "Function tools with reasoning_effort are not supported for this model.")
    assert [body.get("reasoning_effort") for body in asked_with("gpt-5-mini", in_turn(refusal, GOOD))] == ["low", None]


def test_several_threads_that_are_refused_a_temperature_at_once_all_get_their_answers():
    def script(asked: Asked) -> Reply:
        return replace(TAKES_NO_TEMPERATURE, seconds=0.3) if "temperature" in asked.body else GOOD

    with OpenAIServer(script) as server, ThreadPoolExecutor(3) as threads:
        model = openai_at(server, 20.0, 0.1)
        assert [answer.value for answer in threads.map(model.answer, [QUESTION] * 3)] == [GOOD_ANSWER] * 3
        model.close()


def test_a_refusal_that_stays_is_told_and_not_asked_for_a_third_time(asking: Asking):
    model, server = asking(TAKES_NO_TEMPERATURE)
    assert "temperature" in str(failure(model))
    assert server.count == 2
