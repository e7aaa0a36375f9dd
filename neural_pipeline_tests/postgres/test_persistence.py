"""The store step of a capture run against a real Postgres: a guilty event fails alone, whatever is wrong with it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.contracts.workflows import CaptureFiltered
from neural_pipeline.store.outcomes import Outcome, keep_outcomes
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Findings
from neural_pipeline.workflows.observation_capture.work import Filtered
from neural_pipeline_tests.building import (
    accepted,
    begun_batch,
    belongings,
    capture,
    column,
    end_run,
    event_of,
    keep,
    kept,
    one,
    ready,
    receipt,
    run_of,
    take_in,
    waiting,
)

OBSERVATIONS = "lightfast_workspace_neural_observations"
Spoil = Callable[[Connection, list[Examined]], None]


def with_title(seen: list[Examined], place: int, title: str) -> None:
    """Slip in a title that no validation has seen."""
    old = seen[place].event
    fields = {**dict(old.source_event), "title": title}
    seen[place] = Examined(replace(old, source_event=SourceEvent.model_construct(**fields)), seen[place].result)


def refused_by_a_constraint(connection: Connection, _seen: list[Examined]) -> None:
    connection.execute(text(f"alter table {OBSERVATIONS} add check (source_id <> 'e-3')"))


def holding_a_nul(_connection: Connection, seen: list[Examined]) -> None:
    with_title(seen, 3, "a\x00b")


def holding_a_lone_surrogate(_connection: Connection, seen: list[Examined]) -> None:
    with_title(seen, 3, "a\udc80b")


def with_an_embedding_that_is_no_number(_connection: Connection, seen: list[Examined]) -> None:
    found = seen[3].result
    assert isinstance(found, Findings)
    vectors = found.vectors.copy()
    vectors[0] = float("nan")
    seen[3] = Examined(seen[3].event, replace(found, vectors=vectors))


def with_a_reference_too_long(_connection: Connection, seen: list[Examined]) -> None:
    found = seen[3].result
    assert isinstance(found, Findings)
    long = replace(found.entities[0], key="k" * 501)
    seen[3] = Examined(seen[3].event, replace(found, entities=(long,)))


GUILTY: list[Spoil] = [
    refused_by_a_constraint,
    holding_a_nul,
    holding_a_lone_surrogate,
    with_an_embedding_that_is_no_number,
    with_a_reference_too_long,
]


@pytest.mark.parametrize("spoil", GUILTY)
def test_one_guilty_event_fails_at_step_store_and_all_others_are_captured(
    engine: Engine, workspace: str, spoil: Spoil
) -> None:
    token, seen = ready(engine, 10)
    guilty = seen[3].event.id
    with engine.begin() as connection:
        spoil(connection, seen)
    report = keep(engine, token, seen)
    assert report.outcomes == {"captured": 9, "failed": 1}
    assert [event_id for event_id, _failure in report.failures] == [guilty]
    with engine.begin() as connection:
        end_run(connection, token)
        assert column(connection, "select event_id from lightfast_workspace_workflow_runs where status = 'failed'") == [
            guilty
        ]
        run = run_of(connection, guilty)
        attempt = one(connection, "select * from workflow_run_attempts")
    assert (run["output"]["step"], run["output"]["error"], run["cause"]) == (
        "store",
        run["error_message"],
        # A constraint may look elsewhere the next time; data that Postgres cannot hold it never will.
        "code_error" if spoil is refused_by_a_constraint else "rejected",
    )
    assert (attempt["event_id"], attempt["step"], attempt["attempt"]) == (guilty, "store", 1)
    assert (attempt["message"], attempt["dagster_run_id"]) == (run["error_message"], "run-1")
    assert "Traceback" in attempt["stack"]
    assert kept(engine) == belongings(9, failed=1) | {"metrics": 9 * 5 + 11}


def test_guilty_first_and_last_events_are_found_too(engine: Engine, workspace: str) -> None:
    token, seen = ready(engine, 7)
    for place in (0, 6):
        with_title(seen, place, "\x00")
    report = keep(engine, token, seen, chunk=3)
    assert report.outcomes == {"captured": 5, "failed": 2}
    assert kept(engine) == belongings(5, failed=2)


def test_a_failure_whose_stack_cannot_be_stored_as_it_is_does_not_stop_the_batch(
    engine: Engine, workspace: str
) -> None:
    token, seen = ready(engine, 3)
    failure = Failure("classify", "no", "ValueError", stack="Traceback: \x00 and \udc80")
    report = capture(engine, token, but={seen[1].event.id: failure})
    assert report.outcomes == {"captured": 2, "failed": 1}
    with engine.begin() as connection:
        assert column(connection, "select stack from workflow_run_attempts") == ["Traceback: \ufffd and \ufffd"]


def test_an_observation_that_appeared_meanwhile_makes_the_event_a_duplicate(engine: Engine, workspace: str) -> None:
    first, _ = ready(engine, 1)
    capture(engine, first)
    with engine.begin() as connection:
        end_run(connection, first)
        [again] = take_in(connection, receipt("again", judgement=accepted("e-0")))
        token = begun_batch(connection, [again.event_id or 0])
    assert capture(engine, token).outcomes == {"duplicate": 1}


def test_a_fact_is_written_once(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    token = begun_batch(scratch, [id_])
    for reason in ("below_threshold", "event_not_allowed"):
        output = CaptureFiltered(reason=reason, source_id="e-0")
        outcome = Outcome(id_, "ws_test", "org_test", None, output, work_ms=1)
        keep_outcomes(scratch, [outcome], token=token)
    assert event_of(scratch, id_)["output"]["reason"] == "below_threshold"
    assert event_of(scratch, id_)["attempt"] == 1


def test_filtered_and_failed_events_get_their_facts_beside_the_captured(engine: Engine, workspace: str) -> None:
    token, seen = ready(engine, 3)
    ids = [item.event.id for item in seen]
    but = {ids[0]: Filtered("below_threshold", 12), ids[1]: Failure("gate", "no", "Refused", rejected=True)}
    capture(engine, token, but=but)
    with engine.begin() as connection:
        end_run(connection, token)
        filtered, failed, good = (run_of(connection, id_) for id_ in ids)
    assert (filtered["status"], filtered["output"]["reason"]) == ("completed", "below_threshold")
    assert filtered["output"]["significanceScore"] == 12
    assert (failed["status"], failed["cause"], failed["output"]["step"]) == ("failed", "rejected", "gate")
    assert (good["status"], good["output"]["status"]) == ("completed", "success")
