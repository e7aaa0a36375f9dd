"""`neural report`: what it prints, which files it makes, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from neural_pipeline.cli.main import run
from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline_tests.report_world import two_weeks

Neural = Callable[..., tuple[int, str, str]]
NEURAL = [sys.executable, "-c", "from neural_pipeline.cli.main import main; main()"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def neural(engine: Engine, home: Path, capsys: pytest.CaptureFixture[str]) -> Neural:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_the_path_of_the_page_is_the_last_line(neural: Neural, home: Path, engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        two_weeks(connection)
    code, shown, complaint = neural("report", "--since", "7d")
    *told, path = shown.splitlines()
    assert (code, complaint) == (0, "")
    assert Path(path).parent == home / "reports"
    assert Path(path).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert any(line.split() == ["Executions", "56", "▲", "28", "from", "28"] for line in told)
    [markdown] = [line.removeprefix("Markdown: ") for line in told if line.startswith("Markdown: ")]
    assert markdown == path.removesuffix(".html") + ".md"
    assert Path(markdown).exists()


def test_an_empty_database_has_a_report(neural: Neural) -> None:
    code, shown, complaint = neural("report", "--since", "1d")
    assert (code, complaint) == (0, "")
    assert "Nothing ended in this period." in Path(shown.splitlines()[-1]).read_text(encoding="utf-8")


def test_json_has_the_paths_and_every_number_of_the_catalogue(neural: Neural) -> None:
    code, shown, _ = neural("report", "--json")
    document = json.loads(shown)
    assert code == 0
    assert Path(document["html"]).exists()
    assert Path(document["markdown"]).exists()
    merged = {f"capture_{measure}_p95_of_period_ms" for measure in ("queue", "run", "total")}
    assert set(document["numbers"]) == {number.name for view in VIEWS for number in view.numbers} | merged
    assert document["numbers"]["executions_ended"] == {"value": 0, "before": 0, "unit": "count"}
    assert document["numbers"]["success_rate_percent"]["value"] is None


@pytest.mark.parametrize("since", ["24h", "soon", "2026-13-01", "0d", "2999-01-01", "9999w"])
def test_an_unusable_period_is_one_line_that_says_what_to_do(neural: Neural, home: Path, since: str) -> None:
    code, shown, complaint = neural("report", "--since", since)
    assert (code, shown) == (2, "")
    assert complaint.startswith(f"neural: --since {since}")
    assert len(complaint.splitlines()) == 1
    assert not home.exists()


def test_a_database_without_our_tables_is_refused_with_what_to_run(engine: Engine, neural: Neural) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop table neural_alembic_version cascade"))
    code, shown, complaint = neural("report")
    assert (code, shown) == (4, "")
    assert "run `neural db upgrade`" in complaint


def test_no_database_is_refused_with_what_to_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    refused = subprocess.run([*NEURAL, "report"], capture_output=True, text=True, check=False, timeout=100)
    assert refused.returncode == 4
    assert "neural db start" in refused.stderr


def test_a_folder_that_cannot_be_written_to_is_named(neural: Neural, home: Path) -> None:
    home.mkdir()
    (home / "reports").write_text("a file", encoding="utf-8")
    code, _, complaint = neural("report")
    assert code == 2
    assert complaint.startswith(f"neural: {home / 'reports'}: ")


@pytest.fixture
def no_browser() -> Iterator[dict[str, str]]:
    """Variables of a shell that finds no browser, only what tells root whether Postgres' account gets somewhere."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        Path(folder, "test").symlink_to(shutil.which("test") or "/bin/test")
        yield {"PATH": folder}


def open_report(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}}
    command = [*NEURAL, "report", "--open"]
    return subprocess.run(command, env=kept | variables, capture_output=True, text=True, check=True, timeout=200)


def test_open_shows_the_page_in_the_browser_and_still_prints_its_path(
    engine: Engine, home: Path, tmp_path: Path
) -> None:
    browser, asked = tmp_path / "browser", tmp_path / "asked"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{asked}"\n', encoding="utf-8")
    browser.chmod(0o755)
    path = Path(open_report({"BROWSER": f"{browser} %s"}).stdout.splitlines()[-1])
    assert path.exists()
    assert asked.read_text(encoding="utf-8") == path.as_uri()


def test_open_without_a_browser_says_what_to_do_and_still_prints_the_path(
    engine: Engine, home: Path, no_browser: dict[str, str]
) -> None:
    shown = open_report(no_browser)
    assert Path(shown.stdout.splitlines()[-1]).exists()
    assert "open the file yourself" in shown.stderr


def report_in(folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL", "PYTHON"))}
    here = {"HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])} | variables
    return subprocess.run(
        [*NEURAL, "report"], cwd=folder, env=kept | here, capture_output=True, check=True, timeout=200
    )


def test_a_report_writes_below_the_data_folder_and_nowhere_else(
    engine: Engine, home: Path, workspace: str, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        two_weeks(connection)
    own = tmp_path / "own"
    own.mkdir()
    path = Path(report_in(own).stdout.decode().splitlines()[-1])
    assert "<svg" in path.read_text(encoding="utf-8")
    assert list(own.iterdir()) == []
    assert {one.name for one in home.iterdir()} == {"matplotlib", "reports"}


def test_a_terminal_that_lacks_characters_gets_the_rest_and_the_path(
    engine: Engine, home: Path, workspace: str, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        two_weeks(connection)
    shown = report_in(tmp_path, PYTHONIOENCODING="latin-1").stdout.decode("latin-1")
    assert any(line.split() == ["Executions", "56", "?", "28", "from", "28"] for line in shown.splitlines())
    assert Path(shown.splitlines()[-1]).exists()


def test_removing_all_data_removes_the_reports_and_what_drew_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with tempfile.TemporaryDirectory(prefix="neural-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        monkeypatch.setenv("NEURAL_HOME", str(home))
        for name in ("postgres", "reports", "matplotlib", "thesis"):
            (home / name).mkdir(parents=True)
            (home / name / "file").touch()
        assert run(["db", "remove", "--yes"]) == 0
        assert [path.name for path in home.iterdir()] == ["thesis"]


def test_nothing_that_draws_is_imported_before_there_is_something_to_draw(engine: Engine, home: Path) -> None:
    program = (
        "import sys; from neural_pipeline.cli.main import run; run(['report', '--help']);"
        " heavy = {'pandas', 'matplotlib', 'jinja2'} & set(sys.modules); sys.exit(f'{heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100, stdout=subprocess.DEVNULL)
