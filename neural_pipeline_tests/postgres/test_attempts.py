"""Attempts: what stumbles is tried again after a pause, its errors are kept, and what is refused is not tried again."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.store import batches, lifecycle, outcomes
from neural_pipeline.store.batches import Token
from neural_pipeline.store.outcomes import FailedAttempt, Retry
from neural_pipeline.store.summaries import unexplained
from neural_pipeline.workflows.batch_work.committing import Report
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.verdicts import Examined
from neural_pipeline_tests.building import (
    CAPTURE,
    LIMITS,
    begun_batch,
    column,
    end_run,
    event_of,
    examined,
    persistence,
    run_of,
    waiting,
)

EXTRA = 2
STUMBLED = Failure("embed", "the model said no", "RuntimeError", stack="Traceback ...")
REFUSED = Failure("gate", "settings have version 2", "InvalidWorkspaceSettings", rejected=True)


def attempts(connection: Connection, event_id: int) -> list[dict[str, Any]]:
    sql = "select * from workflow_run_attempts where event_id = :id order by id"
    return [dict(row) for row in connection.execute(text(sql), {"id": event_id}).mappings()]


def attempt(engine: Engine, token: Token, failures: dict[int, Failure]) -> Report:
    """Work a batch off in which some events fail."""
    with engine.begin() as connection:
        seen = [Examined(one.event, failures.get(one.event.id, one.result)) for one in examined(connection, token)]
    worker = persistence(engine, token, extra_attempts=EXTRA)
    return worker.keep(seen, worker.decide(seen, set()))


def next_batch(engine: Engine, run_id: str) -> Token:
    """What the sensor and the load of the next run do, once the pause is over."""
    with engine.begin() as connection:
        connection.execute(text("update incoming_events set due_at = clock_timestamp() where outcome is null"))
        [batch_id] = batches.assign(connection, function_id=CAPTURE, limits=LIMITS)
        token = batches.take(connection, batch_id, run_id=run_id, seconds=60, lease=60)
        assert token is not None
        batches.begin(connection, token)
    return token


def failing_once(engine: Engine, *, count: int = 1) -> tuple[list[int], Token]:
    with engine.begin() as connection:
        ids = waiting(connection, count)
        token = begun_batch(connection, ids)
        lifecycle.record_batch(connection, token.batch_id)
    attempt(engine, token, {ids[0]: STUMBLED})
    return ids, token


def test_a_stumbling_event_waits_for_its_next_attempt_and_the_others_of_the_chunk_are_done(
    engine: Engine, workspace: str
) -> None:
    (stumbling, other), token = failing_once(engine, count=2)
    with engine.begin() as connection:
        event, run = event_of(connection, stumbling), run_of(connection, stumbling)
        assert (event["outcome"], event["batch_id"], event["begun_at"], event["attempt"]) == (None, None, None, 1)
        assert event["losses"] == 0
        pause = (event["due_at"] - event_of(connection, other)["outcome_at"]).total_seconds()
        assert pause == pytest.approx(7.5, abs=2)
        assert (run["status"], run["attempt"], run["started_at"], run["dagster_run_id"]) == ("queued", 1, None, None)
        end_run(connection, token)
        assert run_of(connection, other)["status"] == "completed"
        assert run_of(connection, stumbling)["status"] == "queued"
        assert event_of(connection, stumbling)["losses"] == 0
        assert unexplained(connection) == 0
        assert batches.assign(connection, function_id=CAPTURE, limits=LIMITS) == []


def test_an_event_whose_provider_asks_for_a_longer_pause_waits_for_so_long(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        ids = waiting(connection, 2)
        token = begun_batch(connection, ids)
    attempt(engine, token, {ids[0]: replace(STUMBLED, retry_after=90.0), ids[1]: replace(STUMBLED, retry_after=1e9)})
    with engine.begin() as connection:
        sql = "select extract(epoch from due_at - clock_timestamp()) from incoming_events order by id"
        assert [float(seconds) for seconds in column(connection, sql)] == [
            pytest.approx(90.0, abs=5),
            pytest.approx(3600.0, abs=5),
        ]


def test_every_attempt_is_kept_with_class_message_step_stack_and_its_run(engine: Engine, workspace: str) -> None:
    [id_], token = failing_once(engine)
    with engine.begin() as connection:
        [kept] = attempts(connection, id_)
        end_run(connection, token)
    assert (kept["attempt"], kept["step"], kept["cause"]) == (1, "embed", "code_error")
    assert (kept["error_class"], kept["message"], kept["stack"]) == (
        "RuntimeError",
        "the model said no",
        "Traceback ...",
    )
    assert (kept["batch_id"], kept["dagster_run_id"]) == (token.batch_id, token.run_id)
    assert kept["began_at"] is not None
    assert kept["began_at"] <= kept["ended_at"]


def test_an_event_that_fails_every_time_ends_as_failed_after_its_extra_attempts(engine: Engine, workspace: str) -> None:
    [id_], token = failing_once(engine)
    for n in range(2, 2 + EXTRA):
        with engine.begin() as connection:
            end_run(connection, token)
            assert run_of(connection, id_)["status"] == "queued"
        token = next_batch(engine, f"run-{n}")
        attempt(engine, token, {id_: STUMBLED})
    with engine.begin() as connection:
        end_run(connection, token)
        run = run_of(connection, id_)
        assert [kept["attempt"] for kept in attempts(connection, id_)] == [1, 2, 3]
        assert [kept["dagster_run_id"] for kept in attempts(connection, id_)] == ["run-1", "run-2", "run-3"]
        assert (run["status"], run["attempt"], run["cause"]) == ("failed", 1 + EXTRA, "code_error")
        assert (run["error_message"], run["output"]["step"]) == ("the model said no", "embed")
        assert column(connection, "select tags ->> 'cause' from lightfast_workspace_operations_metrics") == [
            None,
            "code_error",
        ]


def test_an_event_that_recovers_is_completed_and_shows_its_attempts(engine: Engine, workspace: str) -> None:
    [id_], token = failing_once(engine)
    with engine.begin() as connection:
        end_run(connection, token)
    token = next_batch(engine, "run-2")
    attempt(engine, token, {})
    with engine.begin() as connection:
        end_run(connection, token)
        run = run_of(connection, id_)
        assert (run["status"], run["attempt"], run["error_message"], run["cause"]) == ("completed", 2, None, None)
        assert len(attempts(connection, id_)) == 1


def test_a_refused_event_fails_at_its_first_attempt(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
    report = attempt(engine, token, {id_: REFUSED})
    assert report.outcomes == {"failed": 1}
    with engine.begin() as connection:
        end_run(connection, token)
        run = run_of(connection, id_)
        assert (run["status"], run["attempt"], run["cause"]) == ("failed", 1, "rejected")


def test_data_that_postgres_cannot_hold_are_not_tried_again(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
        seen = examined(connection, token)
    object.__setattr__(seen[0].event.source_event, "title", "a\x00b")
    worker = persistence(engine, token, extra_attempts=EXTRA)
    worker.keep(seen, worker.decide(seen, set()))
    with engine.begin() as connection:
        assert event_of(connection, id_)["outcome"] == "failed"
        assert event_of(connection, id_)["cause"] == "rejected"


def test_the_recorder_waits_while_an_event_is_put_off_and_leaves_its_row_queued(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
    failure = FailedAttempt("embed", "no", "RuntimeError", None, Cause.CODE_ERROR)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            batches.hold_alone(connection, token)
            outcomes.postpone(connection, [Retry(id_, failure, 60.0)], token=token)
            recorder = pool.submit(_record, engine, token.batch_id)
            assert not _is_done_within(recorder, 0.5)
        recorder.result()
    with engine.begin() as connection:
        assert run_of(connection, id_)["status"] == "queued"


def _record(engine: Engine, batch_id: int) -> int:
    with engine.begin() as connection:
        return lifecycle.record_batch(connection, batch_id)


def _is_done_within(future: Any, seconds: float) -> bool:
    try:
        future.result(timeout=seconds)
    except TimeoutError:
        return False
    return True


def test_a_late_worker_puts_nothing_off(engine: Engine, workspace: str) -> None:
    [id_], late = failing_once(engine)
    with engine.begin() as connection:
        end_run(connection, late)
    token = next_batch(engine, "run-2")
    with engine.begin() as connection:
        before = event_of(connection, id_)
        seen = [Examined(one.event, STUMBLED) for one in examined(connection, token)]
    worker = persistence(engine, late, extra_attempts=EXTRA)
    with pytest.raises(batches.BatchLost):
        worker.keep(seen, worker.decide(seen, set()))
    with engine.begin() as connection:
        assert event_of(connection, id_) == before
        assert len(attempts(connection, id_)) == 1


def test_putting_an_event_off_waits_for_a_recorder_at_work(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            # A recorder that is about to read the facts; the rows it has not locked yet.
            connection.execute(text("select from event_batches where id = :id for share"), {"id": token.batch_id})
            worker = pool.submit(attempt, engine, token, {id_: STUMBLED})
            assert not _is_done_within(worker, 0.5)
        worker.result()
    with engine.begin() as connection:
        assert run_of(connection, id_)["status"] == "queued"
