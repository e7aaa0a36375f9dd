"""Debounced events and several connections at once: one waits per key, whoever comes first, and none waits for ever."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.contracts.debounce import Debounce
from neural_pipeline.store import batches, outcomes, settlement
from neural_pipeline.store.batches import Token
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.inbox import append
from neural_pipeline.store.outcomes import Retry
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline_tests.building import (
    LIMITS,
    begun_batch,
    column,
    end_run,
    event_of,
    in_transaction,
    waiting,
    waits_for_a_lock,
    workspaces,
)
from neural_pipeline_tests.debouncing import (
    PROFILE,
    STUMBLED,
    SUMMARY,
    assert_superseded,
    at_work,
    child,
    news,
    waiting_about,
)

Act = Callable[[Connection], object]


def one_after_the_other(engine: Engine, first: Act, second: Act) -> None:
    """Begin `second` while the transaction of `first` is open: it must wait for it, and then succeed."""
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            first(connection)
            other = pool.submit(in_transaction, engine, second)
            assert waits_for_a_lock(other)
        other.result(timeout=20)


def test_of_two_appended_at_once_the_later_one_waits(engine: Engine, workspace: str) -> None:
    one_after_the_other(
        engine,
        lambda connection: append(connection, [child("x", "d1")]),
        lambda connection: append(connection, [child("x", "d2")]),
    )
    with engine.begin() as connection:
        old, new = column(connection, "select id from incoming_events order by id")
        assert_superseded(connection, old, new)
        assert waiting_about(connection, "x") == [new]


def busy_with(engine: Engine, subject: str) -> tuple[Token, int]:
    """Have a run at work on a child."""
    with engine.begin() as connection:
        id_ = news(connection, subject, "busy")
        return at_work(connection, id_), id_


def postponed(token: Token, event_id: int) -> Act:
    def act(connection: Connection) -> None:
        batches.hold_alone(connection, token)
        outcomes.postpone(connection, [Retry(event_id, STUMBLED, 30.0)], token=token)

    return act


def captured(subject: str, capture: Token) -> Act:
    """What a chunk of captures does that asks for a child."""

    def act(connection: Connection) -> None:
        batches.fence(connection, capture)
        append(connection, [child(subject, "new")])

    return act


def capturing(engine: Engine) -> Token:
    with engine.begin() as connection:
        return begun_batch(connection, waiting(connection, 1), run_id="capture-run")


def test_a_capture_that_asks_for_what_is_just_coming_back_supersedes_it(engine: Engine, workspace: str) -> None:
    token, old = busy_with(engine, "x")
    one_after_the_other(engine, postponed(token, old), captured("x", capturing(engine)))
    with engine.begin() as connection:
        [new] = waiting_about(connection, "x")
        assert_superseded(connection, old, new)
        assert event_of(connection, old)["attempt"] == 1


def test_what_comes_back_while_a_capture_asks_for_it_gives_way_to_the_news(engine: Engine, workspace: str) -> None:
    token, old = busy_with(engine, "x")
    one_after_the_other(engine, captured("x", capturing(engine)), postponed(token, old))
    with engine.begin() as connection:
        [new] = waiting_about(connection, "x")
        assert_superseded(connection, old, new)


def test_what_a_dead_run_leaves_while_a_capture_asks_for_it_gives_way_too(engine: Engine, workspace: str) -> None:
    token, old = busy_with(engine, "x")
    one_after_the_other(
        engine, captured("x", capturing(engine)), lambda connection: end_run(connection, token, RunEnd.LOST)
    )
    with engine.begin() as connection:
        [new] = waiting_about(connection, "x")
        assert_superseded(connection, old, new)


def test_a_capture_that_fails_after_all_leaves_what_waited_waiting(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        old = news(connection, "x", "d1")
    with engine.connect() as connection, connection.begin() as transaction:
        news(connection, "x", "d2")
        transaction.rollback()
    with engine.begin() as connection:
        assert waiting_about(connection, "x") == [old]


def test_an_assignment_passes_over_what_is_being_superseded_and_waits_for_nobody(
    engine: Engine, workspace: str
) -> None:
    with engine.begin() as connection:
        news(connection, "x", "d1")
        free = news(connection, "y", "d2")
        connection.execute(text("update incoming_events set due_at = now()"))
    with ThreadPoolExecutor(1) as pool, engine.begin() as connection:
        news(connection, "x", "d3")
        [batch_id] = pool.submit(
            in_transaction, engine, lambda other: batches.assign(other, function_id=PROFILE, limits=LIMITS)
        ).result(timeout=20)
    with engine.begin() as connection:
        on_batch = column(connection, "select id from incoming_events where batch_id = :id", id=batch_id)
        assert on_batch == [free]
        assert len(waiting_about(connection, "x")) == 1


def test_a_run_takes_nothing_more_that_is_being_superseded(engine: Engine, workspace: str) -> None:
    token, _ = busy_with(engine, "z")
    with engine.begin() as connection:
        news(connection, "x", "d1")
        connection.execute(text("update incoming_events set due_at = now()"))
    with ThreadPoolExecutor(1) as pool, engine.begin() as connection:
        news(connection, "x", "d3")
        taken = pool.submit(
            in_transaction,
            engine,
            lambda other: batches.top_up(other, token, function_id=PROFILE, limits=LIMITS),
        )
        assert taken.result(timeout=20) == 0


def test_a_shutdown_that_gives_back_several_batches_waits_in_no_circle(engine: Engine, workspace: str) -> None:
    """It waits for the keys of its first batch when a capture comes that asks for those of both."""
    for order in ([PROFILE, SUMMARY], [SUMMARY, PROFILE]):
        name = order[0]
        with engine.begin() as connection:
            for function_id in order:
                id_ = news(connection, "x", f"{name}-1", function_id=function_id)
                at_work(connection, id_, function_id=function_id, run_id=f"run-of-{function_id}")
        with ThreadPoolExecutor(2) as pool:
            with engine.begin() as connection:
                news(connection, "y", f"{name}-2", function_id=order[0])
                end = pool.submit(in_transaction, engine, shut_down)
                assert waits_for_a_lock(end)
                asked = [child("x", f"{name}-3", function_id=function_id) for function_id in order]
                capture = pool.submit(in_transaction, engine, lambda other, asked=asked: append(other, asked))
                assert waits_for_a_lock(capture)
            assert (end.result(timeout=20), len(capture.result(timeout=20))) == (2, 2)
        with engine.begin() as connection:
            assert sorted(waiting_about(connection, "x")) == sorted(capture.result())


def shut_down(connection: Connection) -> int:
    return settlement.hand_back_all(connection, reason="handed_back: shutdown")


SUBJECTS = ["a", "b", "c", "d", "e", "f", "g", "h"]
WORKSPACES = ["ws_test", "ws_other"]
WIDE = Limits(max_events=6, max_bytes=10_000_000, max_open=4)


def ask(connection: Connection, dice: random.Random, name: str) -> None:
    chosen = [
        child(subject, f"{name}-{subject}", workspace_id=dice.choice(WORKSPACES), debounce=Debounce(subject, 0, 0))
        for subject in dice.sample(SUBJECTS, 5)
    ]
    append(connection, chosen)


def take_and_give_back(engine: Engine, dice: random.Random, run_id: str) -> None:
    with engine.begin() as connection:
        batches.assign(connection, function_id=PROFILE, limits=WIDE)
        opened = batches.open_batches(connection, function_id=PROFILE)
    with engine.begin() as connection:
        token = opened and batches.take(connection, dice.choice(opened), run_id=run_id, seconds=600, lease=60)
        if not token:
            return
        batches.top_up(connection, token, function_id=PROFILE, limits=WIDE)
        batches.begin(connection, token)
    with engine.begin() as connection:
        ids = column(connection, "select id from incoming_events where batch_id = :id", id=token.batch_id)
        batches.hold_alone(connection, token)
        held = sorted(outcomes.look_again(connection, ids, token=token).unfinished)
        outcomes.postpone(connection, [Retry(id_, STUMBLED, 0.0) for id_ in held[::2]], token=token)
    with engine.begin() as connection:
        end_run(connection, token, dice.choice([RunEnd.LOST, RunEnd.SUCCESS]))


def cancel_one(engine: Engine, dice: random.Random) -> None:
    with engine.begin() as connection:
        open_ones = column(connection, "select id from incoming_events where outcome is null order by id desc limit 5")
        if open_ones:
            cancel_event(connection, dice.choice(open_ones), by="ada")


def live(engine: Engine, seed: int, until: float) -> int:
    """Do at random what captures, runs, sensors and people do; return how often."""
    dice = random.Random(seed)  # noqa: S311 - no secrets here
    done = 0
    while time.monotonic() < until:
        done += 1
        name = f"{seed}-{done}"
        if seed % 2:
            in_transaction(engine, lambda connection, name=name: ask(connection, dice, name))
        elif dice.random() < 0.1:
            cancel_one(engine, dice)
        else:
            take_and_give_back(engine, dice, name)
    return done


def test_whatever_happens_at_once_there_is_no_deadlock_and_one_waits_per_key(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        workspaces(connection, "ws_other")
    until = time.monotonic() + 4
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda seed: live(engine, seed, until), range(4)))
    assert min(done) > 3
    with engine.begin() as connection:
        assert column(connection, "select sum(unexplained) from event_accounting") == [0]
        superseded = "select count(*) from incoming_events where outcome = 'superseded' and attempt + losses > 0"
        assert column(connection, superseded)[0] > 0
