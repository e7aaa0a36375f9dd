"""Putting the questions of a batch to a model: bounds, budget, deadline, and what is kept of answers and failures."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from neural_pipeline.contracts.batching import events_within
from neural_pipeline.models.language import Answer, ModelFailed, Prompt, Question, Trouble, Usage
from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store import model_calls
from neural_pipeline.store.database import engine_for
from neural_pipeline.workflows.batch_work import asking
from neural_pipeline.workflows.batch_work.asking import ask_all
from neural_pipeline.workflows.batch_work.call_records import Asker
from neural_pipeline.workflows.batch_work.questions import Answers, Asked, reckoned_tokens
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline_tests.building import column, empty_tables, one, waiting, waits_for_a_lock, workspaces

LONG = 20
"""Seconds after which a test that waits has failed."""


class Said(BaseModel):
    """What the model of these tests answers with."""

    text: str


class SaidOtherwise(BaseModel):
    """The same in another shape."""

    words: str


@pytest.fixture(scope="module")
def asking_engine(server: Path, template: str) -> Iterator[Engine]:
    """The engine of a database that the tests of this module share: a clone per test costs more than they do."""
    create_database(server_url(server, "postgres"), "asking", template=template)
    engine = engine_for(server_url(server, "asking"))
    yield engine
    engine.dispose()


@pytest.fixture
def engine(asking_engine: Engine) -> Iterator[Engine]:
    """The same, with nothing in it but the workspace `ws_test`."""
    with asking_engine.begin() as connection:
        workspaces(connection, "ws_test")
    yield asking_engine
    with asking_engine.begin() as connection:
        for table in ("model_calls", "model_answers"):
            connection.execute(text(f"alter table {table} drop constraint if exists obstacle"))
        empty_tables(connection)


def say(data: str) -> Said:
    return Said(text=f"about {data}")


@dataclass
class Scripted:
    """A model that answers as `script` says and tells what it was asked, and how often at once per workspace."""

    script: Callable[[str], BaseModel] = say
    usage: Usage = field(default_factory=lambda: Usage(30, 12))
    name: str = "test:model"
    is_offline: bool = False
    asked: list[str] = field(default_factory=list[str])
    most: Counter[str] = field(default_factory=Counter[str])
    _running: Counter[str] = field(default_factory=Counter[str])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, question: Question[Any]) -> Answer[Any]:
        data = question.prompt.data
        workspace = data.split()[0]
        self._count(workspace, 1)
        self.asked.append(data)
        try:
            return Answer(self.script(data), self.name, self.usage)
        finally:
            self._count(workspace, -1)

    def _count(self, workspace: str, change: int) -> None:
        with self._lock:
            for name in (workspace, "all"):
                self._running[name] += change
                self.most[name] = max(self.most[name], self._running[name])


def question(data: str, *, instructions: str = "Say something.", shape: type[Any] = Said) -> Question[Any]:
    return Question(Prompt(instructions, data), shape, "rules", lambda: say("rules"))


def asker(engine: Engine, model: Scripted, **changes: Any) -> Asker:
    fields: dict[str, Any] = {
        "engine": engine,
        "model": model,
        "function_id": "neural.cluster.summary",
        "step": "summarise",
        "budget": None,
        "concurrency": 3,
        "deadline": float("inf"),
    }
    return Asker(**(fields | changes))


def questions(engine: Engine, count: int, workspace_id: str = "ws_test") -> list[Asked[Any]]:
    """Put events into the inbox, each with a question of its own, all of one length."""
    with engine.begin() as connection:
        ids = waiting(connection, count, workspace_id=workspace_id, prefix=workspace_id)
    return [Asked(id_, workspace_id, question(f"{workspace_id} {id_:05}")) for id_ in ids]


def in_workspaces(engine: Engine, count: int, *ids: str) -> dict[str, list[Asked[Any]]]:
    with engine.begin() as connection:
        workspaces(connection, *ids)
    return {id_: questions(engine, count, id_) for id_ in ids}


def calls(engine: Engine) -> list[Any]:
    with engine.begin() as connection:
        return list(connection.execute(text("select * from model_calls order by id")).mappings())


def kept_for(engine: Engine) -> list[int]:
    with engine.begin() as connection:
        return column(connection, "select event_id from model_answers order by event_id")


def change(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(sql))


def used_today(engine: Engine) -> int:
    with engine.begin() as connection:
        return model_calls.used_today(connection)


def by_data(script: dict[str, Exception]) -> Callable[[str], BaseModel]:
    """Return a script that fails for some questions."""

    def answer(data: str) -> BaseModel:
        if data in script:
            raise script[data]
        return say(data)

    return answer


def test_every_question_gets_its_own_answer_and_a_row_with_its_tokens(engine: Engine) -> None:
    asked = questions(engine, 5)
    answers = ask_all(asker(engine, Scripted()), asked)
    assert {id_: answer.value for id_, answer in answers.found.items()} == {
        one.event_id: say(one.question.prompt.data) for one in asked
    }
    assert {answer.answered_by for answer in answers.found.values()} == {"test:model"}
    assert (answers.failures, answers.unasked) == ({}, set())
    assert answers.clock.seconds.keys() == {one.event_id for one in asked}
    rows = {
        (row["event_id"], row["workspace_id"], row["step"], row["model"], row["outcome"], row["reason"])
        for row in calls(engine)
    }
    assert rows == {(one.event_id, "ws_test", "summarise", "test:model", "answered", None) for one in asked}
    assert {(row["input_tokens"], row["output_tokens"]) for row in calls(engine)} == {(30, 12)}
    assert used_today(engine) == 5 * 42
    assert answers.metadata() == {
        "model_calls": 5,
        "kept_answers": 0,
        "input_tokens": 150,
        "output_tokens": 60,
        "unasked": 0,
        "unrecorded_calls": 0,
    }


def test_each_workspace_has_as_many_calls_under_way_as_it_may_and_never_more(engine: Engine) -> None:
    meeting = {id_: threading.Barrier(3) for id_ in ("ws_a", "ws_b")}

    def together(data: str) -> Said:
        meeting[data.split()[0]].wait(LONG)
        time.sleep(0.05)
        return say(data)

    model = Scripted(together)
    asked = in_workspaces(engine, 9, *meeting)
    answers = ask_all(asker(engine, model), [one for listed in asked.values() for one in listed])
    assert len(answers.found) == 18
    assert model.most == {"ws_a": 3, "ws_b": 3, "all": 6}


def test_a_run_has_no_more_calls_under_way_than_it_can_bear(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_AT_ONCE", 4)
    meeting = threading.Barrier(4)
    reserved: list[int] = []

    def together(data: str) -> Said:
        meeting.wait(LONG)
        time.sleep(0.05)
        reserved.append(sum(row["outcome"] is None for row in calls(engine)))
        return say(data)

    model = Scripted(together)
    asked = in_workspaces(engine, 4, "ws_a", "ws_b", "ws_c")
    ask_all(asker(engine, model), [one for listed in asked.values() for one in listed])
    assert model.most["all"] == 4
    assert max(reserved) == 4
    assert len(model.asked) == 12


def test_no_workspace_waits_for_the_many_questions_of_another(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_AT_ONCE", 1)
    model = Scripted()
    asked = in_workspaces(engine, 6, "ws_a", "ws_b", "ws_c")
    ask_all(asker(engine, model), asked["ws_a"] + asked["ws_b"][:2] + asked["ws_c"][:2])
    assert [data.split()[0] for data in model.asked] == ["ws_a", "ws_b", "ws_c"] * 2 + ["ws_a"] * 4


def test_while_a_model_is_waited_for_no_transaction_is_open(engine: Engine) -> None:
    sql = """
    select count(*) from pg_stat_activity
    where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()
    """

    def look(_: str) -> Said:
        time.sleep(0.1)
        with engine.begin() as connection:
            return Said(text=str(column(connection, sql)[0]))

    [answer] = ask_all(asker(engine, Scripted(look)), questions(engine, 1)).found.values()
    assert answer.value == Said(text="0")


def spending_all(asked: Sequence[Asked[Any]]) -> tuple[int, Scripted]:
    """Return what one of the questions is reckoned with, and a model that uses just that."""
    [tokens] = {reckoned_tokens(one.question) for one in asked}
    return tokens, Scripted(usage=Usage(tokens - 50, 50))


@pytest.mark.parametrize("runs", [1, 2])
def test_with_a_budget_for_four_calls_four_are_made(engine: Engine, runs: int) -> None:
    asked = questions(engine, 10)
    tokens, model = spending_all(asked)
    one_asker = asker(engine, model, budget=5 * tokens - 1, concurrency=10)
    with ThreadPoolExecutor(runs) as threads:
        shares = [asked[n::runs] for n in range(runs)]
        results = list(threads.map(ask_all, [one_asker] * runs, shares))
    failures = [failure for answers in results for failure in answers.failures.values()]
    assert len(model.asked) == sum(len(answers.found) for answers in results) == len(calls(engine)) == 4
    assert used_today(engine) == 4 * tokens
    assert {failure.trouble for failure in failures if isinstance(failure, ModelFailed)} == {Trouble.BUDGET_EXHAUSTED}
    assert all(f"of {5 * tokens - 1} tokens is exhausted: {4 * tokens} are used" in str(one) for one in failures)
    assert len(failures) == 6
    assert sum((answers.troubles for answers in results), Counter[str]()) == {"budget_exhausted": 6}


def test_what_calls_under_way_have_reserved_and_do_not_use_goes_to_the_others(engine: Engine) -> None:
    asked = questions(engine, 6)
    budget = 2 * reckoned_tokens(asked[0].question) + 500
    answers = ask_all(asker(engine, Scripted(), budget=budget, concurrency=6), asked)
    assert len(answers.found) == 6
    assert used_today(engine) == 6 * 42 <= budget


def test_a_question_longer_than_any_days_budget_stands_in_nobodys_way(engine: Engine) -> None:
    first, *others = questions(engine, 3)
    long = Asked(first.event_id, "ws_test", question("ws_test " + "x" * 100_000))
    answers = ask_all(asker(engine, Scripted(), budget=10_000), [long, *others])
    assert answers.failures.keys() == {first.event_id}
    assert answers.found.keys() == {one.event_id for one in others}


def test_a_question_longer_than_any_days_budget_holds_nobody_up_while_calls_are_under_way(engine: Engine) -> None:
    first, second, last = questions(engine, 3)
    long = Asked(second.event_id, "ws_test", question("ws_test " + "x" * 100_000))
    is_last_asked, seen = threading.Event(), list[bool]()

    def script(data: str) -> Said:
        if data == last.question.prompt.data:
            is_last_asked.set()
        elif data == first.question.prompt.data:
            seen.append(is_last_asked.wait(5))
        return say(data)

    answers = ask_all(asker(engine, Scripted(script), budget=10_000), [first, long, last])
    assert seen == [True]
    assert answers.failures.keys() == {second.event_id}


def test_what_was_answered_is_not_asked_again_by_the_next_run(engine: Engine) -> None:
    asked = questions(engine, 3)
    ask_all(asker(engine, Scripted()), asked[:2])
    model = Scripted(usage=Usage(5, 6))
    answers = ask_all(asker(engine, model), asked)
    assert model.asked == [asked[2].question.prompt.data]
    assert [answers.found[one.event_id] for one in asked] == [
        Answer(say(one.question.prompt.data), "test:model", usage)
        for one, usage in zip(asked, [Usage(30, 12), Usage(30, 12), Usage(5, 6)], strict=True)
    ]
    numbers = answers.metadata()
    assert (numbers["kept_answers"], numbers["model_calls"], numbers["input_tokens"]) == (2, 1, 5)
    assert len(calls(engine)) == 3


def test_kept_answers_serve_though_the_budget_is_exhausted(engine: Engine) -> None:
    asked = questions(engine, 2)
    ask_all(asker(engine, Scripted()), asked[:1])
    answers = ask_all(asker(engine, Scripted(), budget=0), asked)
    assert (answers.found.keys(), answers.failures.keys()) == ({asked[0].event_id}, {asked[1].event_id})


@pytest.mark.parametrize(
    "other",
    [
        question("ws_test other data"),
        question("ws_test data", instructions="Say something else."),
        question("ws_test data", shape=SaidOtherwise),
    ],
)
def test_another_question_is_asked_anew(engine: Engine, other: Question[Any]) -> None:
    [event] = questions(engine, 1)
    ask_all(asker(engine, Scripted()), [Asked(event.event_id, "ws_test", question("ws_test data"))])
    model = Scripted()
    ask_all(asker(engine, model), [Asked(event.event_id, "ws_test", other)])
    assert model.asked == [other.prompt.data]


@pytest.mark.parametrize("changes", [{"model": Scripted(name="test:other")}, {"step": "classify"}])
def test_another_model_or_step_asks_for_itself(engine: Engine, changes: dict[str, Any]) -> None:
    asked = questions(engine, 1)
    ask_all(asker(engine, Scripted()), asked)
    assert ask_all(asker(engine, **({"model": Scripted()} | changes)), asked).kept == 0


def test_a_kept_answer_that_fits_no_more_is_asked_for_anew(engine: Engine) -> None:
    asked = questions(engine, 1)
    ask_all(asker(engine, Scripted()), asked)
    change(engine, """update model_answers set answer = '{"text": 7}'""")
    answers = ask_all(asker(engine, Scripted()), asked)
    assert (answers.calls, answers.kept, len(answers.found)) == (1, 0, 1)


def test_after_the_deadline_no_call_is_started_and_those_under_way_are_waited_for(engine: Engine) -> None:
    deadline = time.monotonic() + 1
    both = threading.Barrier(2)

    def late(data: str) -> Said:
        both.wait(LONG)
        time.sleep(max(0.0, deadline + 0.05 - time.monotonic()))
        return say(data)

    asked = questions(engine, 6)
    model = Scripted(late)
    answers = ask_all(asker(engine, model, deadline=deadline, concurrency=2), asked)
    assert answers.found.keys() == {one.event_id for one in asked[:2]}
    assert answers.unasked == {one.event_id for one in asked[2:]}
    assert (len(model.asked), answers.failures, answers.metadata()["unasked"]) == (2, {}, 4)


def test_the_failure_of_one_event_touches_no_other(engine: Engine) -> None:
    refused, broken, *others = asked = questions(engine, 5)
    failed = ModelFailed(Trouble.INVALID_ANSWER, "no JSON\0 came", usage=Usage(8, 1))
    script = by_data({refused.question.prompt.data: failed, broken.question.prompt.data: ZeroDivisionError("by zero")})
    answers = ask_all(asker(engine, Scripted(script)), asked)
    assert answers.found.keys() == {one.event_id for one in others}
    refusal, fault = answers.failures[refused.event_id], answers.failures[broken.event_id]
    assert isinstance(refusal, ModelFailed)
    assert (refusal.trouble, str(refusal), refusal.usage) == (Trouble.INVALID_ANSWER, "no JSON\0 came", Usage(8, 1))
    assert isinstance(fault, Failure)
    assert (fault.step, fault.error_class, fault.message) == ("summarise", "ZeroDivisionError", "by zero")
    rows = {row["event_id"]: (row["outcome"], row["reason"], row["input_tokens"]) for row in calls(engine)}
    assert rows[refused.event_id] == ("invalid_answer", "no JSON\ufffd came", 8)
    assert rows[broken.event_id] == ("error", "ZeroDivisionError: by zero", None)
    numbers = answers.metadata()
    assert (numbers["trouble/invalid_answer"], numbers["trouble/error"], numbers["input_tokens"]) == (1, 1, 98)


@pytest.mark.parametrize(
    ("trouble", "is_paid"),
    [(Trouble.TIMED_OUT, True), (Trouble.CUT_OFF, True), (Trouble.RATE_LIMITED, False), (Trouble.UNAUTHORIZED, False)],
)
def test_tokens_that_nobody_told_count_where_they_may_have_been_used(
    engine: Engine, trouble: Trouble, *, is_paid: bool
) -> None:
    [asked] = questions(engine, 1)
    ask_all(asker(engine, Scripted(by_data({asked.question.prompt.data: ModelFailed(trouble, "why")}))), [asked])
    assert used_today(engine) == (reckoned_tokens(asked.question) if is_paid else 0)


def test_a_model_that_does_not_tell_what_it_used_is_reckoned_with_its_reservation(engine: Engine) -> None:
    [asked] = questions(engine, 1)
    ask_all(asker(engine, Scripted(usage=Usage())), [asked])
    assert used_today(engine) == reckoned_tokens(asked.question)


def test_no_key_reaches_a_failure_its_stack_or_a_row(engine: Engine) -> None:
    def leak(data: str) -> BaseModel:
        try:
            raise ValueError("Illegal header value b'Bearer sk-ant-secret'")
        except ValueError as error:
            if data.endswith("1"):
                raise ModelFailed(Trouble.UNAUTHORIZED, "bad key sk-ant-secret") from error
            raise RuntimeError("request with Bearer my-secret") from error

    answers = ask_all(asker(engine, Scripted(leak)), questions(engine, 2))
    failed, broken = (answers.failures[id_] for id_ in sorted(answers.failures))
    assert isinstance(failed, ModelFailed)
    assert isinstance(broken, Failure)
    assert (failed.__cause__, failed.__context__, str(failed)) == (None, None, "bad key [key]")
    told = f"{broken} {[row['reason'] for row in calls(engine)]}"
    assert "Bearer [key]" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("obstacle", "is_kept", "outcome"),
    [
        ("alter table model_answers add constraint obstacle check (input_tokens < 0)", False, "answered"),
        ("alter table model_calls add constraint obstacle check (outcome is null)", False, None),
    ],
)
def test_an_answer_in_hand_is_not_lost_over_the_database(
    engine: Engine, obstacle: str, *, is_kept: bool, outcome: str | None
) -> None:
    asked = questions(engine, 1)
    change(engine, obstacle)
    answers = ask_all(asker(engine, Scripted()), asked)
    assert answers.found.keys() == {asked[0].event_id}
    assert answers.metadata()["unrecorded_calls"] == 1
    assert (kept_for(engine) != [], calls(engine)[0]["outcome"]) == (is_kept, outcome)


def test_a_connection_that_breaks_between_two_statements_is_made_anew(engine: Engine) -> None:
    cut = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
    """

    def cut_off(data: str) -> Said:
        with create_engine(engine.url).begin() as connection:
            connection.execute(text(cut))
        return say(data)

    answers = ask_all(asker(engine, Scripted(cut_off), concurrency=1), questions(engine, 3))
    assert (len(answers.found), answers.unrecorded, len(kept_for(engine))) == (3, 0, 3)


def test_a_reservation_whose_connection_dies_is_made_again(engine: Engine) -> None:
    first, second = questions(engine, 2)
    ask_all(asker(engine, Scripted()), [first])
    kill = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as thread, engine.connect() as holder:
        holder.execute(text("select from model_days for update"))
        run = thread.submit(ask_all, asker(engine, Scripted()), [second])
        assert waits_for_a_lock(run)
        assert column(holder, kill) == [True]
        holder.rollback()
        assert run.result(LONG).found.keys() == {second.event_id}
    assert used_today(engine) == 84


def test_a_run_that_ends_in_the_middle_has_kept_what_it_paid_for(engine: Engine) -> None:
    *under_way, last = asked = questions(engine, 3)
    change(engine, f"alter table model_calls add constraint obstacle check (event_id <> {last.event_id})")
    both = threading.Barrier(2)

    def slowly(data: str) -> Said:
        both.wait(LONG)
        time.sleep(0.3 if data == under_way[1].question.prompt.data else 0)
        return say(data)

    with pytest.raises(IntegrityError):
        ask_all(asker(engine, Scripted(slowly), concurrency=2), asked)
    assert kept_for(engine) == [one.event_id for one in under_way]
    change(engine, "truncate model_calls")
    model = Scripted()
    assert ask_all(asker(engine, model), under_way).kept == 2
    assert model.asked == []


def test_rules_answer_at_once_without_rows_threads_or_a_database() -> None:
    def in_this_thread(data: str) -> Said:
        assert threading.current_thread() is threading.main_thread()
        return say(data)

    nowhere = create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
    rules = Scripted(in_this_thread, usage=Usage(), name="offline:rules", is_offline=True)
    asked = [Asked(n, "ws_test", question(f"ws_test {n}")) for n in range(3)]
    answers: Answers[Any] = ask_all(asker(nowhere, rules, budget=0), asked)
    assert {id_: answer.value for id_, answer in answers.found.items()} == {n: say(f"ws_test {n}") for n in range(3)}
    assert (answers.calls, answers.failures) == (0, {})


def test_rules_leave_what_they_have_no_time_for_to_a_later_run_but_do_one_at_least(engine: Engine) -> None:
    first, *rest = questions(engine, 3)
    answers = ask_all(asker(engine, Scripted(say, is_offline=True), deadline=0.0), [first, *rest])
    assert (set(answers.found), answers.unasked) == ({first.event_id}, {asked.event_id for asked in rest})


def test_a_rule_that_fails_fails_for_its_event_alone(engine: Engine) -> None:
    first, second = questions(engine, 2)
    rules = Scripted(by_data({first.question.prompt.data: KeyError("no such word")}), is_offline=True)
    answers = ask_all(asker(engine, rules), [first, second])
    assert (answers.failures.keys(), answers.found.keys()) == ({first.event_id}, {second.event_id})


def test_a_question_is_reckoned_by_its_bytes_its_schema_and_an_answer() -> None:
    short, long, other_script = question("x" * 30), question("x" * 60), question("\u6f22" * 20)
    assert reckoned_tokens(long) - reckoned_tokens(short) == 10
    assert reckoned_tokens(other_script) == reckoned_tokens(long)
    assert reckoned_tokens(question("")) > 2_000
    assert reckoned_tokens(question("\ud83d")) > 0


def test_a_batch_has_as_many_events_as_their_calls_have_time_for() -> None:
    assert events_within(120, per_call=5, concurrency=10) == 240
    assert events_within(120, per_call=7, concurrency=3) == 51
    assert events_within(1, per_call=600, concurrency=1) == 1


def test_the_row_of_a_call_tells_how_long_it_took(engine: Engine) -> None:
    def slowly(data: str) -> Said:
        time.sleep(0.2)
        return say(data)

    [asked] = questions(engine, 1)
    answers = ask_all(asker(engine, Scripted(slowly)), [asked])
    with engine.begin() as connection:
        took = one(connection, "select duration_ms from model_calls")["duration_ms"]
    assert 200 <= took < 5_000
    assert answers.clock.seconds[asked.event_id] == pytest.approx(took / 1000, abs=0.001)
