"""Runs forked by a run server: executed, watched, cancelled as ever; what is lost on the way can be launched anew."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.launcher import WorkerStatus
from sqlalchemy import Engine

from neural_pipeline.automation.launcher import NoWayToLaunch
from neural_pipeline.automation.run_server_process import WORKER_TAG
from neural_pipeline.automation.run_server_socket import listen
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store.intake import Channel, admit
from neural_pipeline.store.sql import scalar
from neural_pipeline_tests.building import receipt, source_event
from neural_pipeline_tests.end_to_end.run_servers import Yard, await_, is_going, own_yard

pytestmark = [pytest.mark.daemons, pytest.mark.slow]
Status = dg.DagsterRunStatus


@pytest.fixture(scope="module")
def yard(server: Path, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with own_yard(server, template, tmp_path_factory.mktemp("forked")) as yard:
        yield yard


@pytest.fixture(scope="module")
def shared(yard: Yard) -> Iterator[Yard]:
    """The yard with a run server that these tests leave alive."""
    with yard.serving():
        yield yard


_numbers = iter(range(10_000))


def hand_in(engine: Engine) -> None:
    """Put one event into the inbox."""
    number = next(_numbers)
    judgement = Judgement("accepted", event=source_event(f"event-{number}"))
    with engine.begin() as connection:
        receipts = [receipt(f"d-{number}", workspace_id="ws_test", judgement=judgement)]
        admit(connection, receipts, channel=Channel("ingest", Trigger.MANUAL, "tests"))


def observations(engine: Engine) -> int:
    with engine.begin() as connection:
        return scalar(connection, "select count(*) from lightfast_workspace_neural_observations")


def test_what_is_forked_from_has_one_thread_and_no_connection_to_the_database(shared: Yard):
    assert shared.server is not None
    process = psutil.Process(shared.server.pid)
    assert "could not be rehearsed" not in shared.log()
    assert process.num_threads() == 1
    sockets = process.net_connections("all")
    assert {socket.laddr for socket in sockets} == {str(shared.socket)}


def test_a_run_is_executed_by_a_process_that_the_server_forks(shared: Yard):
    hand_in(shared.engine)
    before = observations(shared.engine)
    run = shared.run()
    pid = shared.launch(run)
    assert shared.await_end(run) is Status.SUCCESS
    assert observations(shared.engine) == before + 1
    messages = shared.messages(run)
    assert f"Started process for run (pid: {pid})." in messages
    assert any(f"Executing steps in process (pid: {pid})" in message for message in messages)
    await_(lambda: f"Process for run exited (pid: {pid})." in shared.messages(run), "the last word")
    assert shared.server is not None
    assert pid != shared.server.pid
    await_(lambda: not is_going(pid), "the process to end")


def test_what_is_forked_has_one_thread_and_no_connection(shared: Yard):
    assert shared.server is not None
    process = psutil.Process(shared.server.pid)
    assert process.num_threads() == 1
    assert [one.laddr for one in process.net_connections(kind="all")] == [str(shared.socket)]


def test_only_the_same_user_may_connect(shared: Yard):
    assert shared.socket.stat().st_mode & 0o777 == 0o600
    assert shared.socket.stat().st_uid == os.geteuid()


def test_a_run_that_is_terminated_ends_canceled(shared: Yard):
    hand_in(shared.engine)
    run = shared.run()
    shared.stopped_in("classify", run)
    assert shared.launcher.terminate(run.run_id) is True
    assert shared.await_end(run) is Status.CANCELED
    assert shared.launcher.terminate(run.run_id) is False
    shared.go_on("classify")


def test_a_run_whose_process_is_killed_is_reported_as_failed_at_once(shared: Yard):
    hand_in(shared.engine)
    run = shared.run()
    pid = shared.stopped_in("classify", run)
    assert shared.launcher.check_run_worker_health(shared.again(run)).status is WorkerStatus.RUNNING
    os.kill(pid, signal.SIGKILL)
    assert shared.await_end(run, seconds=4) is Status.FAILURE
    assert any("terminated by signal 9 (SIGKILL)" in message for message in shared.messages(run))
    shared.go_on("classify")


def test_a_run_is_not_launched_twice(shared: Yard):
    hand_in(shared.engine)
    run = shared.run()
    pid = shared.stopped_in("classify", run)
    shared.instance.launch_run(run.run_id, workspace=None)  # pyright: ignore[reportArgumentType]
    assert shared.worker(run)["pid"] == pid
    assert any(f"Not launched again: process {pid} works on it." in message for message in shared.messages(run))
    shared.go_on("classify")
    assert shared.await_end(run) is Status.SUCCESS
    assert sum("Started process for run" in message for message in shared.messages(run)) == 1


def test_a_run_whose_launcher_hangs_up_after_the_fork_is_not_begun_and_can_be_launched_again(shared: Yard):
    run = shared.run()
    answer = shared.ask({"launch": run.run_id, "module": shared.module})
    await_(lambda: not is_going(answer["pid"]), "the process to go")
    await_(lambda: "is not wanted from here any more" in shared.log(), "the server to say so")
    assert shared.status(run) is Status.NOT_STARTED
    assert shared.launch(run) != answer["pid"]
    assert shared.await_end(run) is Status.SUCCESS
    assert sum("Started process for run" in message for message in shared.messages(run)) == 1


def test_the_death_of_a_process_that_had_not_begun_is_not_the_end_of_its_run(shared: Yard):
    from neural_pipeline.automation.run_server_socket import line_to

    run = shared.run()
    with line_to(shared.socket, seconds=30) as line:
        line.send({"launch": run.run_id, "module": shared.module})
        pid = line.receive()["pid"]
        os.kill(pid, signal.SIGKILL)
        await_(lambda: f"process {pid} of run {run.run_id} ended with code -9" in shared.log(), "the server to see it")
    shared.launch(run)
    assert shared.await_end(run) is Status.SUCCESS


def test_a_re_execution_has_the_tags_of_the_first_run_but_not_its_process(shared: Yard):
    first = shared.run()
    shared.launch(first)
    shared.await_end(first)
    second = shared.run(tags={WORKER_TAG: shared.again(first).tags[WORKER_TAG]})
    assert shared.launcher.check_run_worker_health(second).status is WorkerStatus.RUNNING


def test_runs_of_other_definitions_are_refused(shared: Yard):
    run = shared.run(module="neural_pipeline.definitions")
    with pytest.raises(NoWayToLaunch, match=r"not of neural_pipeline\.definitions"):
        shared.instance.launch_run(run.run_id, workspace=None)  # pyright: ignore[reportArgumentType]
    assert shared.status(run) is Status.FAILURE


def test_a_second_server_does_not_push_the_first_one_aside(shared: Yard):
    with pytest.raises(Exception, match="run_server"):
        listen(shared.socket)
    assert shared.launcher.is_warm()


def test_with_the_setting_for_dagsters_own_way_nothing_is_forked(shared: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_RUN_LAUNCHER", "stock")
    assert not shared.launcher.is_warm()
    run = shared.run()
    with pytest.raises(dg.DagsterInvariantViolationError, match="requires a workspace"):
        shared.instance.launch_run(run.run_id, workspace=None)  # pyright: ignore[reportArgumentType]
    assert WORKER_TAG not in shared.again(run).tags
