"""The README: its SQL is the plan's, and every command it shows is run, in its order, on data of this test's own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from neural_pipeline.cli.showcase import questions
from neural_pipeline.postgres import server

pytestmark = pytest.mark.daemons

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|sh until-ready|sql)\n(.*?)```", README, re.DOTALL)
PORT = 3000
"""Plain `dagster dev` serves here; `make up` is told so by the settings' default."""


def test_the_readme_shows_the_three_questions_of_the_plan_letter_for_letter() -> None:
    shown = [text.strip() + ";" for kind, block in BLOCKS if kind == "sql" for text in block.split(";") if text.strip()]
    assert shown == questions()
    assert len(shown) == 3


def test_the_first_success_is_on_the_first_screen() -> None:
    assert "make demo" in "\n".join(README.splitlines()[:15])


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that every account can enter, for all data of the commands."""
    with tempfile.TemporaryDirectory(prefix="neural-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        yield home
        server.stop(home, mode="immediate")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_readme_does_what_it_says(home: Path) -> None:
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("the README's commands use .venv, which `make test` makes")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT}, where the README's commands serve the user interface, is taken")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    environment |= {"NEURAL_HOME": str(home), "HOME": str(home.parent), "COLUMNS": "200"}
    outputs = {}
    for kind, block in BLOCKS:
        for line in block.strip().splitlines() if kind != "sql" else ():
            runner = run_until_ready if kind == "sh until-ready" else run_to_its_end
            outputs[line] = runner(line, environment)
    assert "event_accounting: 0 unexplained" in outputs["make demo"]
    assert_the_whole_cascade_was_done(home)
    assert "workspace settings have version 2" in outputs[".venv/bin/neural runs list --status failed --since 24h"]
    accounting = next(output for line, output in outputs.items() if "event_accounting" in line)
    assert set(re.findall(r"\|\s+(\d+)$", accounting, re.MULTILINE)) == {"0"}


def assert_the_whole_cascade_was_done(home: Path) -> None:
    """Through sensors, daemon and workers: observations, and the profiles, summaries and entities that follow."""
    engine = create_engine(server.server_url(home, "neural"))
    counted = """
    select p.actor_id, p.observation_count, p.last_active_at from lightfast_workspace_actor_profiles p
    where p.workspace_id = 'ws_xxx' and p.merged_into is null
    """
    stored = """
    select canonical_actor_id, count(*), max(occurred_at) from lightfast_workspace_neural_observations
    where workspace_id = 'ws_xxx' and canonical_actor_id is not null group by 1
    """
    summaries = "select summarized_by from lightfast_workspace_observation_clusters where summary is not null"
    entities = "select distinct extracted_by from observation_entities where extracted_by <> 'rules'"
    with engine.begin() as connection:
        rows_of = {sql: connection.execute(text(sql)).all() for sql in (counted, stored, summaries, entities)}
    engine.dispose()
    assert sorted(rows_of[counted]) == sorted(rows_of[stored])
    assert len(rows_of[stored]) > 5
    assert {by for (by,) in rows_of[summaries]} == {"offline:extractive"}
    assert {by for (by,) in rows_of[entities]} == {"offline:prose"}


def run_to_its_end(line: str, environment: dict[str, str]) -> str:
    finished = subprocess.run(
        [str(shutil.which("bash")), "-c", line],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
    )
    assert finished.returncode == 0, f"{line}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def run_until_ready(line: str, environment: dict[str, str]) -> str:
    """Run a command that serves the user interface, see it answer, and stop it as Ctrl-C does."""
    process = subprocess.Popen(
        [str(shutil.which("bash")), "-c", line], cwd=ROOT, env=environment, start_new_session=True
    )
    try:
        wait_for_the_user_interface(process)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=90)
    wait_for_silence()
    return ""


def wait_for_the_user_interface(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it served anything"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/server_info", timeout=2) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"nothing answers on port {PORT}")


def wait_for_silence() -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", PORT)) != 0:
                return
        time.sleep(0.2)
    pytest.fail(f"something still listens on port {PORT} after Ctrl-C")
