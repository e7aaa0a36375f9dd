"""What the database itself refuses to have done to a lifecycle row, whoever asks."""

from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from neural_pipeline.contracts.lifecycle import TERMINAL, RunStatus, is_legal
from neural_pipeline_tests.building import one

RUNS = "lightfast_workspace_workflow_runs"
OUTPUT = {
    RunStatus.COMPLETED: '{"inngestFunctionId": "neural.profile.update", "status": "success"}',
    RunStatus.FAILED: '{"inngestFunctionId": "neural.profile.update", "status": "failure", "error": "no"}',
}


def born(connection: Connection, run_id: str = "run", **values: Any) -> int:
    row = {"function": "neural.profile.update", "status": "queued", "workspace": "ws_test"} | values
    sql = f"""
    insert into {RUNS} (clerk_org_id, workspace_id, inngest_run_id, inngest_function_id, name, status, trigger)
    values ('org_test', :workspace, :run_id, :function, 'a run', :status, 'webhook') returning id
    """
    return int(connection.execute(text(sql), {"run_id": run_id, **row}).scalar_one())


def change(connection: Connection, id_: int, **values: Any) -> None:
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    with connection.begin_nested():
        connection.execute(text(f"update {RUNS} set {assignments} where id = :id"), {"id": id_, **values})


def move(connection: Connection, id_: int, status: RunStatus) -> None:
    end = {"completed_at": "2026-03-02T12:00:00Z"} if status in TERMINAL else {}
    reason = {"error_message": "no"} if status is RunStatus.FAILED else {}
    output = {"output": OUTPUT[status]} if status in OUTPUT else {}
    change(connection, id_, status=status.value, **end, **reason, **output)


def in_state(connection: Connection, status: RunStatus) -> int:
    id_ = born(connection, run_id=status)
    if status is not RunStatus.QUEUED:
        move(connection, id_, status)
    return id_


def status_of(connection: Connection, id_: int) -> str:
    return one(connection, f"select status from {RUNS} where id = :id", id=id_)["status"]


@pytest.mark.parametrize("status", [status for status in RunStatus if status is not RunStatus.QUEUED])
def test_a_run_can_only_be_born_queued(scratch: Connection, status: RunStatus) -> None:
    with pytest.raises(IntegrityError, match="begins as queued"), scratch.begin_nested():
        born(scratch, status=status.value)


@pytest.mark.parametrize(("old", "new"), list(product(RunStatus, RunStatus)))
def test_the_database_allows_exactly_the_legal_moves(scratch: Connection, old: RunStatus, new: RunStatus) -> None:
    id_ = in_state(scratch, old)
    if is_legal(old, new):
        move(scratch, id_, new)
        assert status_of(scratch, id_) == new
    elif old is not new:
        with pytest.raises(IntegrityError, match="does not change"):
            move(scratch, id_, new)
        assert status_of(scratch, id_) == old


@pytest.mark.parametrize("status", sorted(TERMINAL))
@pytest.mark.parametrize(
    "values",
    [
        {"error_message": "rewritten"},
        {"output": '{"inngestFunctionId": "neural.profile.update", "status": "rewritten"}'},
        {"started_at": "2020-01-01T00:00:00Z"},
        {"completed_at": "2020-01-01T00:00:00Z"},
        {"duration_ms": "1"},
        {"name": "rewritten"},
        {"input": '{"rewritten": true}'},
        {"attempt": 9},
        {"dagster_run_id": "rewritten"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_finished_run_does_not_change(scratch: Connection, status: RunStatus, values: dict[str, Any]) -> None:
    id_ = in_state(scratch, status)
    with pytest.raises(IntegrityError, match="does not change"):
        change(scratch, id_, **values)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_finished_run_can_still_be_linked_to_the_one_that_followed_it(scratch: Connection, status: RunStatus) -> None:
    id_ = in_state(scratch, status)
    change(scratch, id_, superseded_by=77, updated_at="2030-01-01T00:00:00Z")
    assert one(scratch, f"select superseded_by from {RUNS} where id = :id", id=id_)["superseded_by"] == 77


@pytest.mark.parametrize("missing", ["error_message", "output"])
def test_a_run_cannot_fail_without_saying_why(scratch: Connection, missing: str) -> None:
    id_ = born(scratch)
    values: dict[str, Any] = {"error_message": "no", "output": OUTPUT[RunStatus.FAILED]} | {missing: None}
    with pytest.raises(IntegrityError, match="run_failure_has_reason"):
        change(scratch, id_, status="failed", completed_at="2026-03-02T12:00:00Z", **values)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_run_cannot_end_without_an_end(scratch: Connection, status: RunStatus) -> None:
    values = {"error_message": "no", "output": OUTPUT[RunStatus.FAILED]} if status is RunStatus.FAILED else {}
    with pytest.raises(IntegrityError, match="run_terminal_has_end"):
        change(scratch, born(scratch), status=status.value, **values)


@pytest.mark.parametrize(
    "output",
    ['{"inngestFunctionId": "neural.cluster.summary"}', '{"status": "success"}', "{}", '"text"', "null"],
)
def test_an_output_must_name_the_function_of_its_run(scratch: Connection, output: str) -> None:
    with pytest.raises(IntegrityError, match="run_output_of_its_function"):
        change(scratch, born(scratch), output=output)


@pytest.mark.parametrize("values", [{"status": "paused"}, {"trigger": "telepathy"}])
def test_unknown_words_are_refused(scratch: Connection, values: dict[str, str]) -> None:
    with pytest.raises(DBAPIError, match="known"):
        change(scratch, born(scratch), **values)


def test_an_execution_of_a_function_is_recorded_once_per_workspace(scratch: Connection) -> None:
    born(scratch)
    with pytest.raises(IntegrityError, match="job_execution_idx"), scratch.begin_nested():
        born(scratch)


def test_two_functions_may_use_the_same_run_id(scratch: Connection) -> None:
    assert born(scratch) != born(scratch, function="neural.cluster.summary")
