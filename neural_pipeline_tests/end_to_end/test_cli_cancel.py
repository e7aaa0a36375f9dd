"""`neural runs cancel` from the command line down to the rows, in this process."""

import json
from collections.abc import Callable

import dagster as dg
import pytest
from sqlalchemy import Engine

from neural_pipeline.cli.account import login_name
from neural_pipeline.cli.instance import dagster_instance
from neural_pipeline.cli.main import run
from neural_pipeline.postgres.target import DAGSTER_SCHEMA, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store import batches
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import open_batch, run_of, waiting
from neural_pipeline_tests.replaying import ended

Neural = Callable[..., tuple[int, str, str]]


@pytest.fixture
def neural(
    workspace: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Neural:
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path))

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["runs", "cancel", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def queued(engine: Engine, count: int) -> list[int]:
    with engine.begin() as connection:
        return [run_of(connection, id_)["id"] for id_ in waiting(connection, count)]


def at_work(engine: Engine, run_id: str) -> int:
    """Return the run of the one event that a Dagster run works on."""
    with engine.begin() as connection:
        [event_id] = waiting(connection, 1, prefix=run_id)
        batch_id = open_batch(connection, [event_id])
        token = batches.take(connection, batch_id, run_id=run_id, seconds=600, lease=60)
        assert token is not None
        batches.begin(connection, token)
        return run_of(connection, event_id)["id"]


def state_of(engine: Engine, number: int) -> tuple[str, str]:
    with engine.begin() as connection:
        sql = "select status, error_message from lightfast_workspace_workflow_runs where id = :id"
        row = connection.exec_driver_sql(sql.replace(":id", "%(id)s"), {"id": number}).mappings().one()
        return row["status"], row["error_message"]


def test_runs_that_wait_are_cancelled_on_behalf_of_whoever_asks(engine: Engine, neural: Neural) -> None:
    first, second, third = queued(engine, 3)
    with engine.begin() as connection:
        execution = connection.exec_driver_sql(
            "select inngest_run_id from lightfast_workspace_workflow_runs where id = %(id)s", {"id": second}
        ).scalar_one()
    assert neural(first, execution) == (0, f"run {first}: cancelled\nrun {execution}: cancelled\n", "")
    assert state_of(engine, first) == state_of(engine, second) == ("cancelled", f"cancelled by {login_name()}")
    assert state_of(engine, third)[0] == "queued"
    assert neural(first) == (0, f"run {first}: was cancelled before\n", "")


def test_what_has_ended_and_what_is_not_there_is_told_and_the_rest_is_cancelled(engine: Engine, neural: Neural) -> None:
    [waits] = queued(engine, 1)
    with engine.begin() as connection:
        done = ended(connection, "done")
    code, out, err = neural(done, 10**20 + waits, waits, "no\x1bsuch")
    assert (code, out) == (1, f"run {waits}: cancelled\n")
    assert f"run {done} has ended already: completed" in err
    assert f"there is no run {10**20 + waits}" in err
    assert "\x1b" not in err
    assert state_of(engine, done)[0] == "completed"


def test_the_answer_can_be_read_by_machines(engine: Engine, neural: Neural) -> None:
    [waits] = queued(engine, 1)
    code, out, _ = neural(waits, "nobody", "--json")
    assert (code, json.loads(out)) == (
        1,
        [{"run": str(waits), "status": "cancelled"}, {"run": "nobody", "status": None}],
    )


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (dg.DagsterRunStatus.STARTED, "could not be stopped: it has nothing left to do"),
        (dg.DagsterRunStatus.SUCCESS, ""),
    ],
)
def test_a_dagster_run_with_nothing_left_to_do_is_stopped_unless_it_has_ended(
    engine: Engine, neural: Neural, status: dg.DagsterRunStatus, told: str
) -> None:
    """The run has no process here: that it cannot be stopped is told."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"create schema {DAGSTER_SCHEMA}")
    with dagster_instance(resolve_database(Settings.load())) as instance:
        dagster_run = instance.create_run_for_job(observation_capture, status=status)
        number = at_work(engine, dagster_run.run_id)
        code, out, err = neural(number)
    assert (code, out) == (0, f"run {number}: cancelled\n")
    assert (told in err, bool(err)) == (True, bool(told))


def test_a_cancellation_stands_and_is_told_though_dagster_cannot_be_reached(
    engine: Engine, neural: Neural, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = at_work(engine, "run-1")
    monkeypatch.setenv("NEURAL_DAGSTER_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    code, out, err = neural(number)
    assert (code, out) == (0, f"run {number}: cancelled\n")
    assert "Dagster's run run-1 could not be stopped" in err
    assert state_of(engine, number)[0] == "cancelled"
