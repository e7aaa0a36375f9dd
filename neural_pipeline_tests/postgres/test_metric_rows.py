"""Metric rows of executions: once for each that ended, whatever happened before, in the transaction of its end."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.store import settlement
from neural_pipeline.store.batches import BatchLost, Token
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.work import Filtered
from neural_pipeline_tests.building import (
    begun_batch,
    capture,
    decided,
    end_run,
    examined,
    open_batch,
    persistence,
    receipt,
    run_of,
    take_in,
    waiting,
)
from neural_pipeline_tests.measuring import complaints, duration_of, types_of
from neural_pipeline_tests.replaying import replay_event

STUMBLED = Failure("embed", "the model said no", "RuntimeError")
CAPTURED = [
    "actor_resolution",
    "cluster_affinity",
    "cluster_assigned",
    "entities_extracted",
    "job_duration",
    "observation_captured",
]


def worked_off(engine: Engine, event_ids: list[int], *, run_id: str = "run-1", **how: Any) -> Token:
    """Have a run work on captures and record its end."""
    with engine.begin() as connection:
        token = begun_batch(connection, event_ids, run_id=run_id)
    capture(engine, token, **how)
    with engine.begin() as connection:
        end_run(connection, token)
    return token


@pytest.mark.parametrize("state", ["waits", "is on a batch"])
def test_what_is_cancelled_before_its_turn_is_measured_as_one_that_never_began(scratch: Connection, state: str) -> None:
    [id_] = waiting(scratch, 1)
    if state == "is on a batch":
        open_batch(scratch, [id_])
    for _ in range(2):
        cancel_event(scratch, id_, by="ada")
    duration = duration_of(scratch, id_)
    assert (duration.value, duration.tags.begun, duration.tags.outcome) == (0, False, "cancelled")
    assert duration.tags.queue_wait_ms is None
    assert types_of(scratch, id_) == ["job_duration"]


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_cancelled_run_is_measured_for_each_execution_that_it_had_not_finished(
    scratch: Connection, is_taken: bool
) -> None:
    ids = waiting(scratch, 3)
    if is_taken:
        end_run(scratch, begun_batch(scratch, ids), RunEnd.CANCELED)
    else:
        settlement.settle(scratch, open_batch(scratch, ids), run_id="run-1", end=RunEnd.CANCELED, isolating_losses=3)
    found = [duration_of(scratch, id_).tags for id_ in ids]
    assert [(tags.outcome, tags.begun, tags.result) for tags in found] == [("cancelled", is_taken, None)] * 3
    assert complaints(scratch) == []


@pytest.mark.parametrize(("end", "cause"), [(RunEnd.LOST, Cause.WORKER_LOST), (RunEnd.TIMEOUT, Cause.TIMEOUT)])
def test_losses_leave_nothing_until_the_event_is_given_up_with_its_cause(
    scratch: Connection, end: RunEnd, cause: Cause
) -> None:
    [id_] = waiting(scratch, 1)
    for n in range(4):
        assert types_of(scratch, id_) == []
        end_run(scratch, begun_batch(scratch, [id_], run_id=f"run-{n}"), end)
    assert (run_of(scratch, id_)["cause"], types_of(scratch, id_)) == (cause, ["errors", "job_duration"])
    assert complaints(scratch) == []


def test_an_attempt_that_is_made_again_leaves_nothing_and_the_last_one_leaves_one_error(
    engine: Engine, workspace: str
) -> None:
    with engine.begin() as connection:
        fails, recovers = waiting(connection, 2)
        token = begun_batch(connection, [fails, recovers])
        seen = examined(connection, token)
    stumbling = [replace(one, result=STUMBLED) for one in seen]
    persistence(engine, token, extra_attempts=1).keep(stumbling, decided(stumbling))
    with engine.begin() as connection:
        end_run(connection, token)
        assert types_of(connection, fails) == types_of(connection, recovers) == []
        connection.execute(text("update incoming_events set due_at = clock_timestamp()"))
        token = begun_batch(connection, [fails, recovers], run_id="run-2")
        seen = [replace(one, result=STUMBLED) if one.event.id == fails else one for one in examined(connection, token)]
    persistence(engine, token, extra_attempts=1).keep(seen, decided(seen))
    with engine.begin() as connection:
        end_run(connection, token)
        assert types_of(connection, fails) == ["errors", "job_duration"]
        assert types_of(connection, recovers) == CAPTURED
        assert complaints(connection) == []


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (Filtered("duplicate"), "observation_duplicate"),
        (Filtered("event_not_allowed"), "observation_filtered"),
        (Filtered("below_threshold", 12), "observation_below_threshold"),
        (STUMBLED, "errors"),
        (replace(STUMBLED, rejected=True), "errors"),
    ],
)
def test_a_capture_that_comes_to_nothing_says_which_way_once(
    engine: Engine, workspace: str, ending: Filtered | Failure, kind: str
) -> None:
    with engine.begin() as connection:
        ids = waiting(connection, 3)
    worked_off(engine, ids, but={ids[1]: ending})
    with engine.begin() as connection:
        assert types_of(connection, ids[1]) == sorted([kind, "job_duration"])
        assert types_of(connection, ids[0]) == types_of(connection, ids[2]) == CAPTURED
        assert complaints(connection) == []


def test_a_replay_is_measured_for_itself_and_adds_nothing_to_the_old_one(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
    worked_off(engine, [id_])
    with engine.begin() as connection:
        again = replay_event(connection, id_)
    worked_off(engine, [again], run_id="run-2")
    with engine.begin() as connection:
        assert types_of(connection, id_) == CAPTURED
        assert types_of(connection, again) == ["job_duration", "observation_duplicate"]
        assert duration_of(connection, again).tags.trigger == "manual"
        assert complaints(connection) == []


def test_an_event_without_an_actor_is_no_attempt_to_find_one(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        nobody = receipt("d-1")
        assert nobody.judgement.event is not None
        event = nobody.judgement.event.model_copy(update={"actor": None})
        [admission] = take_in(connection, replace(nobody, judgement=replace(nobody.judgement, event=event)))
    assert admission.event_id is not None
    worked_off(engine, [admission.event_id])
    with engine.begin() as connection:
        assert types_of(connection, admission.event_id) == [kind for kind in CAPTURED if kind != "actor_resolution"]
        assert complaints(connection) == []


def test_metrics_are_written_with_the_outcome_and_durations_with_the_state(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        good, bad = waiting(connection, 2)
    worked_off(engine, [good, bad], but={bad: STUMBLED}, chunk=1)
    with engine.begin() as connection:
        sql = """
        select m.type in ('job_duration', 'errors') as is_of_the_state, m.xmin::text = e.xmin::text as with_the_outcome,
          m.xmin::text = r.xmin::text as with_the_state
        from lightfast_workspace_operations_metrics m
        join incoming_events e on e.id = m.event_id
        join lightfast_workspace_workflow_runs r on r.event_id = e.id
        """
        found = {tuple(row) for row in connection.execute(text(sql))}
    assert found == {(False, True, False), (True, False, True)}


def test_what_is_taken_back_with_its_batch_leaves_no_metric(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [id_] = waiting(connection, 1)
        late = begun_batch(connection, [id_])
        seen = examined(connection, late)
        end_run(connection, late, RunEnd.LOST)
    with pytest.raises(BatchLost):
        persistence(engine, late).keep(seen, decided(seen))
    worked_off(engine, [id_], run_id="run-2")
    with engine.begin() as connection:
        assert types_of(connection, id_) == CAPTURED
        assert complaints(connection) == []
