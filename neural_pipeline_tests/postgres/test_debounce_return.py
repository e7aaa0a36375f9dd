"""Events that come back from a batch: for each key the newest of those that come back or wait stands for the rest."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from neural_pipeline.store import batches, lifecycle, settlement
from neural_pipeline.store.batches import Token
from neural_pipeline.store.outcomes import Retry, postpone
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline_tests.building import LIMITS, column, end_run, event_of, run_of
from neural_pipeline_tests.debouncing import (
    PROFILE,
    STUMBLED,
    appended,
    assert_superseded,
    at_work,
    child,
    news,
    seconds_until,
    waiting_about,
)


def try_again(connection: Connection, token: Token, *event_ids: int, pause: float = 30.0) -> None:
    """Postpone events as a run does whose attempt at them failed."""
    batches.hold_alone(connection, token)
    postpone(connection, [Retry(id_, STUMBLED, pause) for id_ in event_ids], token=token)


def lost(connection: Connection, token: Token, *_: int) -> None:
    end_run(connection, token, RunEnd.LOST)


def never_taken(connection: Connection, token: Token, *_: int) -> None:
    sql = "update event_batches set state = 'open', run_id = null where id = :id"
    connection.execute(text(sql), {"id": token.batch_id})
    settlement.settle(connection, token.batch_id, run_id="run-1", end=RunEnd.FAILURE, isolating_losses=3)


def given_back(connection: Connection, token: Token, *_: int) -> None:
    settlement.hand_back(connection, token)


def all_given_back(connection: Connection, _token: Token, *_: int) -> None:
    settlement.hand_back_all(connection, reason="handed_back: shutdown")


def no_time_left(connection: Connection, token: Token, *event_ids: int) -> None:
    batches.hold_alone(connection, token)
    settlement.release(connection, event_ids)


Way = Callable[..., None]
WAYS: list[Way] = [try_again, lost, never_taken, given_back, all_given_back, no_time_left]
ways_back = pytest.mark.parametrize("come_back", WAYS)


@ways_back
def test_what_comes_back_while_a_newer_one_waits_is_superseded_by_it(scratch: Connection, come_back: Way) -> None:
    old = news(scratch, "x", "d1")
    token = at_work(scratch, old)
    lifecycle.record_batch(scratch, token.batch_id)
    new = news(scratch, "x", "d2")
    due = event_of(scratch, new)["due_at"]
    come_back(scratch, token, old)
    assert_superseded(scratch, old, new)
    assert event_of(scratch, new)["due_at"] == due
    assert waiting_about(scratch, "x") == [new]


def joined_by_news(connection: Connection, subject: str) -> tuple[Token, int, int]:
    """Have a run at work on a child and on a newer one about the same that became due meanwhile."""
    old = news(connection, subject, "old")
    token = at_work(connection, old)
    new = news(connection, subject, "new")
    connection.execute(text("update incoming_events set due_at = now() where id = :id"), {"id": new})
    assert batches.top_up(connection, token, function_id=PROFILE, limits=LIMITS) == 1
    batches.begin(connection, token)
    return token, old, new


@ways_back
def test_of_two_that_come_back_at_once_the_newer_waits(scratch: Connection, come_back: Way) -> None:
    token, old, new = joined_by_news(scratch, "x")
    come_back(scratch, token, old, new)
    assert_superseded(scratch, old, new)
    assert waiting_about(scratch, "x") == [new]
    assert run_of(scratch, new)["status"] == "queued"


@ways_back
def test_what_comes_back_supersedes_an_older_one_that_came_back_before_it(scratch: Connection, come_back: Way) -> None:
    token, old, new = joined_by_news(scratch, "x")
    no_time_left(scratch, token, old)
    assert waiting_about(scratch, "x") == [old]
    come_back(scratch, token, new)
    assert_superseded(scratch, old, new)
    assert waiting_about(scratch, "x") == [new]


def test_what_comes_back_without_a_rival_waits_for_its_pause_with_its_key(scratch: Connection) -> None:
    id_ = news(scratch, "x", "d1")
    bound = event_of(scratch, id_)["due_by"]
    try_again(scratch, at_work(scratch, id_), id_, pause=1000)
    assert waiting_about(scratch, "x") == [id_]
    assert seconds_until(scratch, id_, "due_at") > 990
    assert event_of(scratch, id_)["due_by"] == bound
    assert (run_of(scratch, id_)["status"], run_of(scratch, id_)["attempt"]) == ("queued", 1)


def test_the_attempt_of_a_superseded_event_is_counted_and_kept(scratch: Connection) -> None:
    old = news(scratch, "x", "d1")
    token = at_work(scratch, old)
    news(scratch, "x", "d2")
    try_again(scratch, token, old)
    assert (event_of(scratch, old)["attempt"], run_of(scratch, old)["attempt"]) == (1, 1)
    kept = "select message from workflow_run_attempts where event_id = :id"
    assert column(scratch, kept, id=old) == ["it stumbled"]


def losses_of(connection: Connection, *event_ids: int) -> list[int]:
    return [event_of(connection, id_)["losses"] for id_ in event_ids]


def had_losses(connection: Connection, event_id: int, losses: int) -> None:
    sql = "update incoming_events set losses = :losses where id = :id"
    connection.execute(text(sql), {"id": event_id, "losses": losses})


def test_a_loss_is_counted_once_and_the_one_that_stands_for_it_takes_it_over(scratch: Connection) -> None:
    old = news(scratch, "x", "d1")
    token = at_work(scratch, old, news(scratch, "y", "d2"))
    new, other = news(scratch, "x", "d3"), news(scratch, "z", "d4")
    lost(scratch, token)
    assert losses_of(scratch, old, new, other) == [1, 1, 0]


@pytest.mark.parametrize(("older", "newer", "counted"), [(0, 0, 1), (2, 0, 3), (0, 2, 3)])
def test_of_two_lost_at_once_the_newer_has_the_most_losses_of_both(
    scratch: Connection, older: int, newer: int, counted: int
) -> None:
    token, old, new = joined_by_news(scratch, "x")
    had_losses(scratch, old, older)
    had_losses(scratch, new, newer)
    lost(scratch, token)
    assert losses_of(scratch, old, new) == [older + 1, counted]


def test_what_comes_back_takes_over_the_losses_of_the_older_one_that_waits(scratch: Connection) -> None:
    token, old, new = joined_by_news(scratch, "x")
    no_time_left(scratch, token, old)
    had_losses(scratch, old, 2)
    no_time_left(scratch, token, new)
    assert losses_of(scratch, old, new) == [2, 2]


def test_news_take_over_the_losses_of_what_they_supersede(scratch: Connection) -> None:
    had_losses(scratch, news(scratch, "x", "d1"), 2)
    had_losses(scratch, news(scratch, "y", "d2"), 1)
    overtaken, x, y, z = appended(scratch, child("x", "d3"), child("x", "d4"), child("y", "d5"), child("z", "d6"))
    assert losses_of(scratch, overtaken, x, y, z) == [0, 2, 1, 0]


def test_what_kills_its_workers_ends_in_spite_of_constant_news(scratch: Connection) -> None:
    event_of_key = news(scratch, "x", "d0")
    for number in range(1, 9):
        token = at_work(scratch, event_of_key, run_id=f"run-{number}")
        newest = news(scratch, "x", f"d{number}")
        lost(scratch, token)
        if event_of(scratch, event_of_key)["outcome"] == "failed":
            break
        assert_superseded(scratch, event_of_key, newest)
        event_of_key = newest
    assert event_of(scratch, event_of_key)["cause"] == "worker_lost"


def test_news_of_what_is_to_be_tried_again_do_not_cut_its_pause_short(scratch: Connection) -> None:
    old = news(scratch, "x", "d1")
    scratch.execute(text("update incoming_events set due_by = now() where id = :id"), {"id": old})
    try_again(scratch, at_work(scratch, old), old, pause=30)
    new = news(scratch, "x", "d2")
    assert_superseded(scratch, old, new)
    assert event_of(scratch, new)["due_at"] == event_of(scratch, old)["due_at"]


def test_the_pause_holds_however_many_news_there_are(scratch: Connection) -> None:
    last = news(scratch, "x", "d0")
    try_again(scratch, at_work(scratch, last), last, pause=1000)
    pause = event_of(scratch, last)["due_at"]
    for number in range(1, 4):
        last = news(scratch, "x", f"d{number}")
        assert event_of(scratch, last)["due_at"] == pause


def test_what_waits_instead_of_one_to_be_tried_again_waits_as_long(scratch: Connection) -> None:
    old = news(scratch, "x", "d1")
    token = at_work(scratch, old)
    new, other = news(scratch, "x", "d2"), news(scratch, "y", "d3")
    try_again(scratch, token, old, pause=1000)
    assert_superseded(scratch, old, new)
    assert 990 < seconds_until(scratch, new, "due_at") < 1001
    assert seconds_until(scratch, other, "due_at") < 61


@pytest.mark.parametrize("pauses", [(1000, 30), (30, 1000)])
def test_of_two_to_be_tried_again_the_newer_waits_for_the_longer_pause(
    scratch: Connection, pauses: tuple[float, float]
) -> None:
    token, old, new = joined_by_news(scratch, "x")
    batches.hold_alone(scratch, token)
    retries = [Retry(id_, STUMBLED, pause) for id_, pause in zip((old, new), pauses, strict=True)]
    postpone(scratch, retries, token=token)
    assert_superseded(scratch, old, new)
    assert 990 < seconds_until(scratch, new, "due_at") < 1001


@ways_back
def test_what_comes_back_waits_for_the_pause_of_the_older_one_that_waits(scratch: Connection, come_back: Way) -> None:
    token, old, new = joined_by_news(scratch, "x")
    try_again(scratch, token, old, pause=1000)
    come_back(scratch, token, new)
    assert_superseded(scratch, old, new)
    assert 990 < seconds_until(scratch, new, "due_at") < 1001


def test_what_a_person_cancelled_while_it_was_at_work_does_not_come_back(scratch: Connection) -> None:
    old = news(scratch, "x", "d1")
    token = at_work(scratch, old)
    new = news(scratch, "x", "d2")
    scratch.execute(
        text("update incoming_events set outcome = 'cancelled', outcome_at = now() where id = :id"), {"id": old}
    )
    given_back(scratch, token)
    assert event_of(scratch, old)["outcome"] == "cancelled"
    assert waiting_about(scratch, "x") == [new]


def test_a_replay_that_comes_back_has_no_rival(scratch: Connection) -> None:
    wish = news(scratch, "x", "d1", is_debounced=False)
    token = at_work(scratch, wish)
    new = news(scratch, "x", "d2")
    given_back(scratch, token)
    assert [event_of(scratch, id_)["outcome"] for id_ in (wish, new)] == [None, None]
