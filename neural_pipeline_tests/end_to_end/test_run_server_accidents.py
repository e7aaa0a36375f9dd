"""Run servers that are killed, silent, given other code, or left alone; and paths that are too long for a socket."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

from neural_pipeline.automation import run_server_socket
from neural_pipeline.automation.dispatcher_runs import unlaunched
from neural_pipeline.automation.launcher import NoWayToLaunch
from neural_pipeline.automation.run_server_process import LAUNCHING_TAG
from neural_pipeline.automation.run_server_socket import FolderNotPrivate, Line, line_to, listen, place
from neural_pipeline.cli.companions import ONE_THREAD, RUN_SERVER
from neural_pipeline.cli.environment import deployment_file
from neural_pipeline_tests.end_to_end.run_servers import Yard, await_, is_going, origin_of, own_yard

pytestmark = [pytest.mark.daemons, pytest.mark.slow]
Status = dg.DagsterRunStatus

CODE = """
import os, time
from pathlib import Path
import dagster as dg
from {package} import word

@dg.op
def note(context):
    Path(os.environ["NEURAL_HOME"], "noted").write_text(word.WORD)
    while Path(os.environ["NEURAL_HOME"], "pause", word.WORD).exists():
        time.sleep(0.05)

@dg.job(executor_def=dg.in_process_executor)
def noting():
    note()

defs = dg.Definitions(jobs=[noting])
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package of definitions that can be changed, in this process's path and that of its children."""
    folder = tmp_path_factory.mktemp("code") / "noting_code"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "definitions.py").write_text(CODE.format(package=folder.name))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder.parent))
        patch.setenv("PYTHONPATH", str(folder.parent), prepend=os.pathsep)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        say(folder, "first")
        yield folder


@pytest.fixture(scope="module")
def yard(server: Path, template: str, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with own_yard(server, template, tmp_path_factory.mktemp("accidents"), module=f"{package.name}.definitions") as yard:
        yield yard


def say(package: Path, word: str) -> None:
    (package / "word.py").write_text(f'WORD = "{word}"\n')


def noting(yard: Yard, **given: Any) -> dg.DagsterRun:
    from noting_code.definitions import noting  # pyright: ignore[reportMissingImports]

    return yard.instance.create_run_for_job(noting, job_code_origin=origin_of(yard.module, "noting"), **given)


def remote_origin(workspace: Any) -> Any:
    [repository] = workspace.get_code_location("here").get_repositories().values()
    return repository.get_full_job("noting").get_remote_origin()


def started(yard: Yard, word: str) -> dg.DagsterRun:
    """A run that stays where it is as long as its code says this word."""
    (yard.home / "pause").mkdir(exist_ok=True)
    (yard.home / "pause" / word).touch()
    run = noting(yard)
    yard.launch(run)
    await_(lambda: yard.status(run) is Status.STARTED, "the run to start")
    return run


def noted(yard: Yard) -> str:
    run = noting(yard)
    yard.launch(run)
    assert yard.await_end(run) is Status.SUCCESS
    return (yard.home / "noted").read_text()


def test_a_run_executes_the_code_on_disk_and_its_server_watches_it_after_loading_other_code(yard: Yard, package: Path):
    with yard.serving() as process:
        old = started(yard, "first")
        say(package, "second")
        assert noted(yard) == "second"
        assert (yard.status(old), process.poll()) == (Status.STARTED, None)
        os.kill(yard.worker(old)["pid"], signal.SIGKILL)
        assert yard.await_end(old, seconds=10) is Status.FAILURE
        yard.go_on("first")

        (package / "word.py").write_text("WORD = (")
        await_(lambda: "SyntaxError" in str(yard.ask({"state": None})["trouble"]), "the server to see that")
        assert not yard.launcher.is_warm()
        with pytest.raises(NoWayToLaunch, match="the code cannot be loaded: SyntaxError"):
            yard.launch(noting(yard))

        say(package, "third")
        assert noted(yard) == "third"
        assert process.poll() is None


def test_a_killed_server_leaves_its_runs_going_and_those_that_died_are_known(yard: Yard):
    with yard.serving() as process:
        going, lost = started(yard, "third"), started(yard, "third")
        process.kill()
        process.wait()
    pid = yard.worker(lost)["pid"]
    os.kill(pid, signal.SIGKILL)
    await_(lambda: not is_going(pid), "the process to go")
    assert not yard.launcher.is_warm()
    assert yard.launcher.check_run_worker_health(yard.again(lost)).status is WorkerStatus.FAILED
    assert yard.launcher.check_run_worker_health(yard.again(going)).status is WorkerStatus.RUNNING
    yard.go_on("third")
    assert yard.await_end(going) is Status.SUCCESS


def test_without_a_server_a_run_is_launched_as_dagster_does_and_terminated_likewise(yard: Yard):
    file = yard.home / "workspace.yaml"
    file.write_text(f"load_from:\n  - python_module:\n      module_name: {yard.module}\n      location_name: here\n")
    (yard.home / "pause" / "third").touch()
    with WorkspaceProcessContext(yard.instance, WorkspaceFileTarget([str(file)])) as process:
        workspace = process.create_request_context()
        run = noting(yard, remote_job_origin=remote_origin(workspace))
        yard.instance.add_run_tags(run.run_id, {LAUNCHING_TAG: run.run_id})  # by a dispatcher that did not get to it
        yard.instance.launch_run(run.run_id, workspace)
        assert yard.again(run).tags[LAUNCHING_TAG] == ""
        await_(lambda: yard.status(run) is Status.STARTED, "the run to start")
        assert any("Launched through the code server, not forked: the run server does" in m for m in yard.messages(run))
        assert yard.launcher.check_run_worker_health(yard.again(run)).status is WorkerStatus.RUNNING
        assert yard.launcher.terminate(run.run_id) is True
        assert yard.await_end(run) is Status.CANCELED
    yard.go_on("third")


def test_a_server_that_takes_a_request_and_says_nothing_more_has_not_got_the_run(yard: Yard):
    run = noting(yard)
    listener = listen(yard.socket)

    def take_and_hang_up() -> None:
        connection, _ = listener.accept()
        Line(connection, seconds=5).receive()
        connection.close()

    thread = threading.Thread(target=take_and_hang_up)
    thread.start()
    with pytest.raises(NoWayToLaunch, match="does not answer"):
        yard.launch(run)
    thread.join()
    listener.close()
    assert yard.status(run) is Status.FAILURE


def test_a_server_whose_parent_has_ended_ends_too(yard: Yard):
    command = [*RUN_SERVER, "--module", yard.module]
    script = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"
    with (yard.home / "run_server.log").open("ab") as log:
        parent = subprocess.Popen(
            [sys.executable, "-c", script, *command],
            env=os.environ | yard.environment | ONE_THREAD, stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
    await_(yard.launcher.is_warm, "the run server to answer")
    pid = yard.ask({"state": None})["pid"]
    parent.kill()
    parent.wait()
    await_(lambda: not is_going(pid), "it to end", seconds=10)


def test_a_keeper_starts_again_what_ended_says_so_and_keeps_what_it_left(tmp_path: Path):
    script = (
        "import os, subprocess, sys; child = subprocess.Popen(['sleep', '600']);"
        "open(sys.argv[1], 'a').write(f'{child.pid}\\n'); import time; time.sleep(1.2); os._exit(7)"
    )
    noted = tmp_path / "pids"
    keeper = subprocess.Popen(
        [sys.executable, "-m", "neural_pipeline.cli.keeper", "5", "--again", "thing", sys.executable, "-c", script,
         str(noted)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert keeper.stdin
    assert keeper.stdout
    assert keeper.stdout.readline() == b"the thing ended with code 7; it is started again in 1 s\n"
    await_(lambda: len(noted.read_text().splitlines()) == 2, "the second start")
    pids = [int(line) for line in noted.read_text().splitlines()]
    assert all(is_going(pid) for pid in pids)
    keeper.stdin.close()
    keeper.wait(timeout=20)
    assert not any(is_going(pid) for pid in pids)


DYING = """
import sys
import dagster as dg
with dg.DagsterInstance.get() as instance:
    instance.launch_run(sys.argv[1], None)
"""


def test_a_dispatcher_killed_over_a_launch_leaves_a_run_that_nobody_works_on(yard: Yard):
    with yard.serving() as process:
        run = noting(yard)
        yard.instance.add_run_tags(run.run_id, {LAUNCHING_TAG: run.run_id})
        process.send_signal(signal.SIGSTOP)
        dispatcher = subprocess.Popen([sys.executable, "-c", DYING, run.run_id], env=yard.environment)
        await_(lambda: yard.status(run) is Status.STARTING, "the launch to begin")
        time.sleep(0.5)
        dispatcher.kill()
        dispatcher.wait()
        process.send_signal(signal.SIGCONT)
        await_(lambda: "is not wanted from here any more" in yard.log(), "the fork to notice")
        assert [one.run_id for one in unlaunched(yard.instance)] == [run.run_id]
        yard.instance.report_run_failed(yard.again(run))
        assert unlaunched(yard.instance) == []
        assert noted(yard)


def test_a_path_too_long_for_a_socket_is_replaced_by_one_that_only_this_user_can_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with tempfile.TemporaryDirectory(prefix="neural-") as short:
        monkeypatch.setattr(run_server_socket, "SHORT_FOLDER", Path(short))
        path = place(tmp_path / ("long" * 30), "postgresql://host/database")
        assert path.is_relative_to(short)
        assert len(str(path)) <= 100
        listener = listen(path)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with line_to(path, seconds=1) as line:
            assert isinstance(line.connection, socket.socket)
        path.parent.chmod(0o777)
        with pytest.raises(FolderNotPrivate), line_to(path, seconds=1):
            pass
        listener.close()


def test_each_home_and_each_database_has_a_socket_of_its_own(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    places = {place(home, database) for home in (one, other) for database in ("a", "b")}
    assert len(places) == 4


def test_plain_dagster_takes_the_launcher_from_the_deployed_configuration():
    assert "class: WarmRunLauncher" in deployment_file("dagster.yaml").read_text()
