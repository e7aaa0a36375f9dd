"""The recorder: facts become lifecycle rows, whenever and however often it is asked, and never backwards."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.metrics import Errors, JobDuration, parse_metric
from neural_pipeline.store import lifecycle, settlement
from neural_pipeline_tests.building import (
    begun_batch,
    capture,
    column,
    end_run,
    event_of,
    in_transaction,
    open_batch,
    run_of,
    waiting,
    waits_for_a_lock,
)

SUCCESS = '{"inngestFunctionId": "neural.observation.capture", "status": "success"}'
FAILURE = '{"inngestFunctionId": "neural.observation.capture", "status": "failure", "error": "no", "step": "gate"}'


def fact(connection: Connection, event_id: int, outcome: str = "completed", after: str = "0", **columns: Any) -> None:
    """Write the outcome of an event, `after` seconds from when it was begun."""
    facts: dict[str, Any] = {"output": FAILURE if outcome == "failed" else SUCCESS, "work_ms": 12}
    facts |= {"error_message": "no", "cause": "code_error"} if outcome == "failed" else {}
    facts |= columns
    sql = f"""
    update incoming_events set outcome = :outcome, attempt = attempt + 1,
      outcome_at = coalesce(begun_at, clock_timestamp()) + cast(:after as interval),
      {", ".join(f"{name} = :{name}" for name in facts)}
    where id = :id
    """
    connection.execute(text(sql), {"id": event_id, "outcome": outcome, "after": f"{after} seconds"} | facts)


def metrics_of(connection: Connection, event_id: int) -> list[Any]:
    sql = (
        "select type, value, unit, tags from lightfast_workspace_operations_metrics where event_id = :id order by type"
    )
    return [parse_metric(dict(row)) for row in connection.execute(text(sql), {"id": event_id}).mappings()]


def test_an_event_that_has_begun_is_shown_as_running(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    assert settlement.record_run(scratch, "run-1") == 1
    run = run_of(scratch, id_)
    assert (run["status"], run["batch_id"], run["dagster_run_id"]) == ("running", token.batch_id, "run-1")
    assert run["started_at"] == event_of(scratch, id_)["begun_at"]
    assert (run["completed_at"], run["duration_ms"]) == (None, None)


def test_an_event_that_only_waits_on_a_batch_stays_queued(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    assert lifecycle.record_batch(scratch, open_batch(scratch, [id_])) == 0
    assert run_of(scratch, id_)["status"] == "queued"


def test_rows_of_a_batch_that_still_runs_follow_its_facts(scratch: Connection) -> None:
    done, busy = waiting(scratch, 2)
    token = begun_batch(scratch, [done, busy])
    fact(scratch, done)
    lifecycle.record_batch(scratch, token.batch_id)
    assert [run_of(scratch, id_)["status"] for id_ in (done, busy)] == ["completed", "running"]


def test_a_row_takes_everything_from_its_fact(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    fact(scratch, id_, after="1.5")
    lifecycle.record_batch(scratch, token.batch_id)
    run, event = run_of(scratch, id_), event_of(scratch, id_)
    assert (run["started_at"], run["completed_at"]) == (event["begun_at"], event["outcome_at"])
    assert (run["duration_ms"], run["work_ms"], run["attempt"]) == ("1500", 12, 1)
    assert run["output"] == event["output"]
    assert run["updated_at"] > run["created_at"]


def test_an_outcome_that_is_seen_before_the_start_gives_a_complete_row(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    fact(scratch, id_, after="2")
    assert lifecycle.record_batch(scratch, token.batch_id) == 1
    run = run_of(scratch, id_)
    assert (run["status"], run["started_at"]) == ("completed", event_of(scratch, id_)["begun_at"])
    assert (run["duration_ms"], run["dagster_run_id"]) == ("2000", "run-1")
    assert settlement.record_run(scratch, "run-1") == 0


def test_recording_again_changes_nothing_and_measures_nothing(scratch: Connection) -> None:
    good, bad, going = waiting(scratch, 3)
    token = begun_batch(scratch, [good, bad, going])
    fact(scratch, good)
    fact(scratch, bad, "failed")
    assert lifecycle.record_batch(scratch, token.batch_id) == 3
    before = [run_of(scratch, id_) for id_ in (good, bad, going)]
    assert lifecycle.record_batch(scratch, token.batch_id) == 0
    assert [run_of(scratch, id_) for id_ in (good, bad, going)] == before
    assert [len(metrics_of(scratch, id_)) for id_ in (good, bad)] == [1, 2]


def test_a_late_call_finds_the_facts_of_a_batch_long_closed(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    fact(scratch, id_)
    scratch.execute(text("update event_batches set state = 'closed' where id = :id"), {"id": token.batch_id})
    assert lifecycle.record_batch(scratch, token.batch_id) == 1
    assert run_of(scratch, id_)["status"] == "completed"


def test_nothing_may_take_no_time_at_all(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    fact(scratch, id_, after="0")
    lifecycle.record_batch(scratch, token.batch_id)
    assert run_of(scratch, id_)["duration_ms"] == "0"
    assert [metric.value for metric in metrics_of(scratch, id_)] == [0]


def test_a_clock_that_jumped_back_gives_no_negative_time(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    fact(scratch, id_, after="-3600")
    lifecycle.record_batch(scratch, token.batch_id)
    run = run_of(scratch, id_)
    assert (run["completed_at"], run["duration_ms"]) == (run["started_at"], "0")


def test_an_event_accepted_by_a_clock_ahead_of_ours_starts_no_earlier_than_it_was_accepted(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    sql = "update lightfast_workspace_workflow_runs set created_at = now() + interval '1 hour' where event_id = :id"
    scratch.execute(text(sql), {"id": id_})
    token = begun_batch(scratch, [id_])
    fact(scratch, id_)
    lifecycle.record_batch(scratch, token.batch_id)
    run = run_of(scratch, id_)
    assert run["created_at"] == run["started_at"] == run["completed_at"]


def test_a_run_longer_than_an_integer_of_milliseconds_is_recorded_all_the_same(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    fact(scratch, id_, after=str(40 * 86_400))
    lifecycle.record_batch(scratch, token.batch_id)
    assert column(
        scratch, "select duration_ms::int from lightfast_workspace_workflow_runs where event_id = :id", id=id_
    ) == [2**31 - 1]


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
def test_a_finished_run_is_measured_once_with_how_it_ended(scratch: Connection, outcome: str) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    fact(scratch, id_, outcome, after="0.25", **({"output": None} if outcome == "cancelled" else {}))
    lifecycle.record_batch(scratch, token.batch_id)
    duration, *errors = sorted(metrics_of(scratch, id_), key=lambda metric: isinstance(metric, Errors))
    assert isinstance(duration, JobDuration)
    assert (duration.value, duration.tags.outcome, duration.tags.trigger) == (250, outcome, "manual")
    assert duration.tags.job_type == "neural.observation.capture"
    assert [error.tags.cause for error in errors] == (["code_error"] if outcome == "failed" else [])
    [timestamp] = column(
        scratch, "select distinct timestamp from lightfast_workspace_operations_metrics where event_id = :id", id=id_
    )
    assert timestamp == run_of(scratch, id_)["completed_at"]


def test_every_metric_of_a_capture_is_valid(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])
    capture(engine, token)
    with engine.begin() as connection:
        end_run(connection, token)
        kinds = [metric.type for metric in metrics_of(connection, id_)]
    assert kinds == sorted(
        {
            "actor_resolution",
            "cluster_affinity",
            "cluster_assigned",
            "entities_extracted",
            "job_duration",
            "observation_captured",
        }
    )


def test_a_failed_row_says_why_and_at_which_step(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    fact(scratch, id_, "failed")
    lifecycle.record_batch(scratch, token.batch_id)
    run = run_of(scratch, id_)
    assert (run["status"], run["error_message"], run["cause"], run["output"]["step"]) == (
        "failed",
        "no",
        "code_error",
        "gate",
    )


def test_a_superseded_event_completes_its_row_and_links_the_survivor(scratch: Connection) -> None:
    old, new = waiting(scratch, 2)
    fact(scratch, old, "superseded", superseded_by=new)
    assert lifecycle.record_events(scratch, [old]) == 1
    run = run_of(scratch, old)
    assert (run["status"], run["superseded_by"]) == ("completed", run_of(scratch, new)["id"])


def test_an_event_that_ended_while_it_waited_has_no_start_and_is_measured_as_one_that_never_began(
    scratch: Connection,
) -> None:
    [id_] = waiting(scratch, 1)
    fact(scratch, id_, "superseded")
    lifecycle.record_events(scratch, [id_])
    run = run_of(scratch, id_)
    assert (run["started_at"], run["duration_ms"]) == (None, "0")
    assert run["completed_at"] is not None
    [metric] = metrics_of(scratch, id_)
    assert (metric.value, metric.tags.begun, metric.tags.result) == (0, False, "superseded")
    assert metric.tags.queue_wait_ms is None


def test_recording_single_events_leaves_the_others_of_their_batch_alone(scratch: Connection) -> None:
    one, other = waiting(scratch, 2)
    begun_batch(scratch, [one, other])
    assert lifecycle.record_events(scratch, [one]) == 1
    assert [run_of(scratch, id_)["status"] for id_ in (one, other)] == ["running", "queued"]


def test_only_rows_that_wait_again_return_to_the_queue(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    begun_batch(scratch, [id_])
    settlement.record_run(scratch, "run-1")
    assert lifecycle.return_to_queue(scratch, [id_]) == 0
    assert run_of(scratch, id_)["status"] == "running"


def test_recorders_at_work_at_once_move_and_measure_each_row_once(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        ids = waiting(connection, 300)
        token = begun_batch(connection, ids)
        for id_ in ids:
            fact(connection, id_)

    def record(_: int) -> int:
        with engine.begin() as connection:
            return lifecycle.record_batch(connection, token.batch_id)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(record, range(4))) == 300
    with engine.begin() as connection:
        assert column(connection, "select count(*) from lightfast_workspace_operations_metrics") == [300]


def test_a_recorder_with_old_facts_does_not_stumble_over_a_row_that_finished_meanwhile(
    engine: Engine, workspace: str
) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])

    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            fact(connection, id_)
            lifecycle.record_events(connection, [id_])
            other = pool.submit(
                in_transaction, engine, lambda connection: lifecycle.record_batch(connection, token.batch_id)
            )
            assert waits_for_a_lock(other)
        assert other.result() == 0
    with engine.begin() as connection:
        assert run_of(connection, id_)["status"] == "completed"


def test_a_recorder_waits_for_whoever_settles_the_batch(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        token = begun_batch(connection, [id_])

    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            end_run(connection, token, settlement.RunEnd.FAILURE)
            other = pool.submit(
                in_transaction, engine, lambda connection: lifecycle.record_batch(connection, token.batch_id)
            )
            assert waits_for_a_lock(other)
        assert other.result() == 0
    with engine.begin() as connection:
        assert run_of(connection, id_)["status"] == "queued"
