"""Cancelling: waiting, put off, assigned or at work, an execution ends as cancelled, and nothing overwrites that."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.store import batches, lifecycle
from neural_pipeline.store.batches import Token
from neural_pipeline.store.cancellation import Cancellation, cancel_event
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.store.summaries import unexplained
from neural_pipeline.workflows.observation_capture.verdicts import Examined
from neural_pipeline_tests.building import (
    begun_batch,
    capture,
    column,
    end_run,
    event_of,
    examined,
    in_transaction,
    open_batch,
    persistence,
    put_off,
    run_of,
    waiting,
    waits_for_a_lock,
)


def at_work(connection: Connection, event_id: int) -> None:
    token = begun_batch(connection, [event_id])
    lifecycle.record_batch(connection, token.batch_id)


def assigned(connection: Connection, event_id: int) -> None:
    open_batch(connection, [event_id])


def waiting_still(_connection: Connection, _event_id: int) -> None:
    return


@pytest.mark.parametrize("bring", [waiting_still, put_off, assigned, at_work])
def test_an_unfinished_execution_ends_as_cancelled_at_once(
    scratch: Connection, bring: Callable[[Connection, int], None]
) -> None:
    [id_] = waiting(scratch, 1)
    bring(scratch, id_)
    end = cancel_event(scratch, id_, by="ada")
    assert end is not None
    assert (end.status, end.is_new) == ("cancelled", True)
    run = run_of(scratch, id_)
    assert (run["status"], run["error_message"], run["output"], run["cause"]) == (
        "cancelled",
        "cancelled by ada",
        None,
        None,
    )
    assert run["completed_at"] == event_of(scratch, id_)["outcome_at"]
    assert (event_of(scratch, id_)["cancel_requested_by"], unexplained(scratch)) == ("ada", 0)


def test_cancelling_twice_changes_nothing(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    cancel_event(scratch, id_, by="ada")
    before = run_of(scratch, id_)
    assert cancel_event(scratch, id_, by="bob") == Cancellation("cancelled", is_new=False)
    assert run_of(scratch, id_) == before


def test_what_has_ended_stays_as_it_is(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
    capture(engine, token)
    with engine.begin() as connection:
        assert cancel_event(connection, id_, by="ada") == Cancellation("completed", is_new=False)
        end_run(connection, token)
        assert run_of(connection, id_)["status"] == "completed"


def test_an_execution_that_does_not_exist_cannot_be_cancelled(scratch: Connection) -> None:
    assert cancel_event(scratch, -1, by="ada") is None


def test_a_cancelled_event_is_not_assigned_any_more(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    cancel_event(scratch, id_, by="ada")
    assert batches.waiting_events(scratch, [id_]) == []


def work(engine: Engine, token: Token, seen: list[Examined]) -> dict[str, int]:
    worker = persistence(engine, token)
    return worker.keep(seen, worker.decide(seen, set())).outcomes


def test_a_run_at_work_leaves_a_cancelled_event_and_does_the_others(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        first, second = waiting(connection, 2)
        token = begun_batch(connection, [first, second])
        seen = examined(connection, token)
        cancel_event(connection, first, by="ada")
    assert work(engine, token, seen) == {"cancelled": 1, "captured": 1}
    with engine.begin() as connection:
        end_run(connection, token)
        assert [run_of(connection, id_)["status"] for id_ in (first, second)] == ["cancelled", "completed"]
        assert column(connection, "select event_id from lightfast_workspace_neural_observations") == [second]
        assert column(connection, "select count(*) from incoming_events where parent_event_id = :id", id=first) == [0]
        assert unexplained(connection) == 0


def test_an_event_is_no_duplicate_of_one_that_was_cancelled_before_it_was_stored(
    engine: Engine, workspace: str
) -> None:
    with engine.begin() as connection:
        first, second = waiting(connection, 2)
        sql = "update incoming_events set payload = jsonb_set(payload, '{sourceEvent,sourceId}', '\"same\"')"
        connection.execute(text(sql))
        token = begun_batch(connection, [first, second])
        seen = examined(connection, token)
    worker = persistence(engine, token)
    decided = worker.decide(seen, set())
    with engine.begin() as connection:
        cancel_event(connection, first, by="ada")
    assert worker.keep(seen, decided).outcomes == {"cancelled": 1, "captured": 1}
    with engine.begin() as connection:
        assert event_of(connection, second)["output"]["status"] == "success"


@pytest.mark.parametrize("end", RunEnd)
def test_however_its_run_ends_a_cancelled_event_stays_cancelled(scratch: Connection, end: RunEnd) -> None:
    ids = waiting(scratch, 2)
    token = begun_batch(scratch, ids)
    cancel_event(scratch, ids[0], by="ada")
    before = run_of(scratch, ids[0])
    end_run(scratch, token, end)
    assert run_of(scratch, ids[0]) == before


def test_whoever_comes_first_to_an_event_its_commit_or_its_cancellation_decides(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
        seen = examined(connection, token)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            cancel_event(connection, id_, by="ada")
            worker = pool.submit(work, engine, token, seen)
            assert waits_for_a_lock(worker)
        assert worker.result() == {"cancelled": 1}
    with engine.begin() as connection:
        assert column(connection, "select count(*) from lightfast_workspace_neural_observations") == [0]


def test_a_cancellation_waits_for_the_commit_of_the_event_and_then_finds_it_completed(
    engine: Engine, workspace: str
) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
        worker = persistence(engine, token)
        seen = examined(connection, token)
    decided = worker.decide(seen, set())
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            worker._write(connection, decided, decided)
            cancelling = pool.submit(in_transaction, engine, lambda connection: cancel_event(connection, id_, by="ada"))
            assert waits_for_a_lock(cancelling)
        assert cancelling.result() == Cancellation("completed", is_new=False)


def test_a_run_with_nothing_left_to_do_is_named_so_that_it_can_be_stopped(scratch: Connection) -> None:
    ids = waiting(scratch, 2)
    token = begun_batch(scratch, ids)
    ends = [cancel_event(scratch, id_, by="ada") for id_ in ids]
    assert [end and end.idle_run_id for end in ends] == [None, token.run_id]
