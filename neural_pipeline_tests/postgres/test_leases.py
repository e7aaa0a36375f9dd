"""Leases and deadlines: who shows signs of life keeps its batch until its time is over, and only then loses it."""

import time
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.store import batches, leases, settlement
from neural_pipeline.store.batches import Token
from neural_pipeline.store.lease_keeper import LeaseKeeper
from neural_pipeline.store.leases import Standing
from neural_pipeline.store.outcomes import FailedAttempt
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline_tests.building import (
    batch_of,
    begun_batch,
    column,
    end_run,
    event_of,
    open_batch,
    run_of,
    waiting,
)

TROUBLE = FailedAttempt("embed", "the op broke", "RuntimeError", "Traceback ...", Cause.CODE_ERROR)


def pass_(connection: Connection, token: Token, what: str) -> None:
    sql = f"update event_batches set {what} = clock_timestamp() where id = :id"
    connection.execute(text(sql), {"id": token.batch_id})


def lose(connection: Connection, event_id: int, times: int) -> None:
    connection.execute(text("update incoming_events set losses = :n where id = :id"), {"n": times, "id": event_id})


def attempts(connection: Connection) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text("select * from workflow_run_attempts order by id")).mappings()]


def test_a_taken_batch_has_a_lease_and_a_deadline(scratch: Connection) -> None:
    batch_id = open_batch(scratch, waiting(scratch, 1))
    batches.take(scratch, batch_id, run_id="run-1", seconds=90, lease=20)
    batch = batch_of(scratch, batch_id)
    assert (batch["lease_until"] - batch["taken_at"]).total_seconds() == pytest.approx(20, abs=1)
    assert (batch["deadline_at"] - batch["taken_at"]).total_seconds() == pytest.approx(90, abs=1)


def test_a_sign_of_life_moves_the_lease_and_not_the_deadline(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    before = batch_of(scratch, token.batch_id)
    assert leases.renew(scratch, token, seconds=500) is Standing.HELD
    after = batch_of(scratch, token.batch_id)
    assert after["lease_until"] > before["lease_until"]
    assert after["deadline_at"] == before["deadline_at"]


def test_a_run_whose_time_is_over_is_told_so(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    pass_(scratch, token, "deadline_at")
    assert leases.renew(scratch, token, seconds=60) is Standing.OVERDUE


def test_a_run_that_has_lost_its_batch_cannot_renew_the_lease(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    assert leases.renew(scratch, Token(token.batch_id, "run-2", token.epoch), seconds=60) is Standing.LOST
    assert leases.renew(scratch, Token(token.batch_id, token.run_id, token.epoch + 1), seconds=60) is Standing.LOST
    end_run(scratch, token, RunEnd.LOST)
    assert leases.renew(scratch, token, seconds=60) is Standing.LOST


def test_a_run_that_renewed_its_lease_meanwhile_keeps_its_batch(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 2))
    pass_(scratch, token, "lease_until")
    assert [batch.is_abandoned for batch in leases.unfinished_batches(scratch)] == [True]
    assert leases.renew(scratch, token, seconds=60) is Standing.HELD
    assert not settlement.settle(scratch, token.batch_id, run_id=token.run_id, end=RunEnd.LOST, isolating_losses=3)
    assert batch_of(scratch, token.batch_id)["state"] == "running"
    pass_(scratch, token, "lease_until")
    assert settlement.settle(scratch, token.batch_id, run_id=token.run_id, end=RunEnd.LOST, isolating_losses=3)


def test_unfinished_batches_say_what_has_run_out(scratch: Connection) -> None:
    token = begun_batch(scratch, waiting(scratch, 1))
    said: list[tuple[bool, bool]] = []
    for what in (None, "lease_until", "deadline_at"):
        if what:
            pass_(scratch, token, what)
        [batch] = leases.unfinished_batches(scratch)
        said.append((batch.is_abandoned, batch.is_overdue))
    assert said == [(False, False), (True, False), (True, True)]


def test_the_keeper_keeps_a_lease_alive_and_ends_when_told(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        token = begun_batch(connection, waiting(connection, 1))
        before = batch_of(connection, token.batch_id)["lease_until"]
    keeper = LeaseKeeper(engine, token, seconds=0.3, on_overdue=lambda: None)
    keeper.start()
    time.sleep(1.0)
    with engine.begin() as connection:
        assert not leases.unfinished_batches(connection)[0].is_abandoned
        assert batch_of(connection, token.batch_id)["lease_until"] != before
    keeper.stop()
    time.sleep(0.5)
    with engine.begin() as connection:
        assert leases.unfinished_batches(connection)[0].is_abandoned


def test_the_keeper_gives_the_batch_up_once_when_its_time_is_over(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        token = begun_batch(connection, waiting(connection, 1))
        pass_(connection, token, "deadline_at")
    calls: list[str] = []
    keeper = LeaseKeeper(engine, token, seconds=0.3, on_overdue=lambda: calls.append("over"))
    keeper.start()
    time.sleep(1.0)
    keeper.stop()
    assert calls == ["over"]


def test_the_keeper_outlives_a_lost_connection(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        token = begun_batch(connection, waiting(connection, 1))
    keeper = LeaseKeeper(engine, token, seconds=0.6, on_overdue=lambda: None)
    keeper.start()
    others = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
    for _ in range(3):
        with engine.begin() as connection:
            connection.execute(text(f"{others} and datname = current_database()"))
        time.sleep(0.3)
    time.sleep(0.5)
    with engine.begin() as connection:
        assert not leases.unfinished_batches(connection)[0].is_abandoned
    keeper.stop()


def test_an_event_alone_that_takes_too_long_every_time_ends_as_timeout(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    lose(scratch, id_, 3)
    end_run(scratch, begun_batch(scratch, [id_]), RunEnd.TIMEOUT)
    run = run_of(scratch, id_)
    assert (run["status"], run["cause"], run["output"]["step"]) == ("failed", "timeout", "run")
    assert "longer than 600 seconds" in run["error_message"]
    assert [(kept["cause"], kept["attempt"]) for kept in attempts(scratch)] == [("timeout", 1)]


def test_a_run_that_dagster_cancels_after_its_deadline_only_had_its_time(scratch: Connection) -> None:
    ids = waiting(scratch, 2)
    token = begun_batch(scratch, ids)
    pass_(scratch, token, "deadline_at")
    end_run(scratch, token, RunEnd.CANCELED)
    assert batch_of(scratch, token.batch_id)["close_reason"] == "timeout"
    assert [run_of(scratch, id_)["status"] for id_ in ids] == ["queued", "queued"]
    assert [event_of(scratch, id_)["losses"] for id_ in ids] == [1, 1]


def test_a_run_that_dagster_fails_after_its_deadline_only_had_its_time(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    lose(scratch, id_, 3)
    token = begun_batch(scratch, [id_])
    pass_(scratch, token, "deadline_at")
    end_run(scratch, token, RunEnd.FAILURE)
    assert event_of(scratch, id_)["cause"] == "timeout"


def test_the_error_of_an_op_is_kept_for_an_event_that_stood_alone(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    for losses in range(4):
        token = begun_batch(scratch, [id_], run_id=f"run-{losses}")
        settlement.settle(
            scratch,
            token.batch_id,
            run_id=token.run_id,
            end=RunEnd.FAILURE,
            isolating_losses=3,
            trouble=TROUBLE,
        )
    run = run_of(scratch, id_)
    assert (run["status"], run["cause"], run["error_message"]) == ("failed", "code_error", "the op broke")
    assert (run["output"]["step"], run["attempt"]) == ("embed", 1)
    assert [(kept["dagster_run_id"], kept["stack"]) for kept in attempts(scratch)] == [
        (f"run-{n}", "Traceback ...") for n in range(4)
    ]


def test_nobody_is_blamed_for_a_loss_in_company(scratch: Connection) -> None:
    end_run(scratch, begun_batch(scratch, waiting(scratch, 2)), RunEnd.FAILURE)
    assert attempts(scratch) == []


@pytest.mark.parametrize("end", [RunEnd.FAILURE, RunEnd.LOST, RunEnd.TIMEOUT, RunEnd.SUCCESS])
def test_a_server_that_went_away_under_a_run_makes_nobody_suspicious(scratch: Connection, end: RunEnd) -> None:
    [id_] = waiting(scratch, 1)
    lose(scratch, id_, 3)
    token = begun_batch(scratch, [id_])
    scratch.execute(text("update event_batches set taken_at = pg_postmaster_start_time() - interval '1 second'"))
    end_run(scratch, token, end)
    assert (event_of(scratch, id_)["losses"], run_of(scratch, id_)["status"], attempts(scratch)) == (3, "queued", [])


def test_a_shutdown_takes_every_batch_back_and_counts_nothing(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    assert settlement.hand_back_all(scratch, reason="handed_back: shutdown") == 1
    assert batch_of(scratch, token.batch_id)["close_reason"] == "handed_back: shutdown"
    assert (event_of(scratch, id_)["losses"], event_of(scratch, id_)["batch_id"]) == (0, None)
    assert column(scratch, "select count(*) from event_batches where state <> 'closed'") == [0]
    assert settlement.hand_back_all(scratch, reason="handed_back: shutdown") == 0
