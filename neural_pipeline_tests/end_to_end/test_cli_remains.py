"""What is left behind: by a keeper whose command dies, and by the removal of all data."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from neural_pipeline.postgres import server

NEURAL = [sys.executable, "-c", "from neural_pipeline.cli.main import main; main()"]


def test_a_keeper_ends_what_its_command_started_when_the_command_is_killed() -> None:
    command = ["sh", "-c", "sleep 300 & sleep 300 & wait"]
    keeper = subprocess.Popen(
        [sys.executable, "-m", "neural_pipeline.cli.keeper", "5", *command], stdin=subprocess.PIPE
    )
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 20
    while len(family) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
        family = psutil.Process(keeper.pid).children(recursive=True)
    assert len(family) == 3
    time.sleep(1.5)  # the keeper looks every half second
    os.kill(family[0].pid, signal.SIGKILL)
    assert keeper.wait(timeout=20) != 0
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
def test_removing_all_data_leaves_what_is_not_the_programs_own() -> None:
    with tempfile.TemporaryDirectory(prefix="neural-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        here = os.environ | {"NEURAL_HOME": str(home)}
        home.mkdir()
        (home / "thesis.txt").write_text("years of work", encoding="utf-8")
        refused = subprocess.run([*NEURAL, "db", "remove", "--yes"], env=here, capture_output=True, check=False)
        assert refused.returncode != 0
        subprocess.run([*NEURAL, "db", "start"], env=here, capture_output=True, check=True)
        subprocess.run([*NEURAL, "db", "remove", "--yes"], env=here, capture_output=True, check=True)
        assert [path.name for path in home.iterdir()] == ["thesis.txt"]
        assert not server.status(home).running
