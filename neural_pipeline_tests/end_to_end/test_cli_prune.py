"""`neural prune`, in this process: what it shows, what it removes, and when it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from neural_pipeline.cli.instance import dagster_instance
from neural_pipeline.cli.main import run
from neural_pipeline.postgres.target import DAGSTER_SCHEMA, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.retention import Removed
from neural_pipeline.workflows.batch_work.tags import batch_named
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline.workflows.retention.dagster_records import DagsterRecords, Unfinished
from neural_pipeline.workflows.retention.pruning import Retention
from neural_pipeline_tests.building import waiting
from neural_pipeline_tests.retention_world import age_everything, captured, contents, failed, refused

Neural = Callable[..., tuple[int, str, str]]

EXPECTED = [
    {"kind": "payload", "state": "completed", "count": 2},
    {"kind": "raw payload", "state": "accepted", "count": 2},
]


@pytest.fixture
def neural(
    engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Neural:
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path))

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def old(engine: Engine, workspace: str) -> Engine:
    """A database with captures and a failure, all sixty days old."""
    captured(engine, 2)
    failed(engine)
    with engine.begin() as connection:
        refused(connection, "invalid")
        waiting(connection, 1, prefix="waits")
        connection.execute(text("update raw_payloads set received_at = now()"))
        age_everything(connection, 60)
    return engine


def stored(engine: Engine) -> dict[str, list[Any]]:
    with engine.begin() as connection:
        return contents(connection)


def test_a_dry_run_shows_what_would_go_and_writes_nothing(old: Engine, neural: Neural) -> None:
    before = stored(old)
    code, shown, _ = neural("prune", "--dry-run", "--json")
    assert (code, json.loads(shown)) == (0, {"dry_run": True, "removed": EXPECTED})
    code, shown, _ = neural("prune", "--dry-run")
    assert [line.split() for line in shown.splitlines()] == [
        ["kind", "state", "would", "go"],
        ["payload", "completed", "2"],
        ["raw", "payload", "accepted", "2"],
    ]
    assert stored(old) == before


def test_what_is_old_is_removed_and_shown_and_there_is_nothing_left_to_remove(old: Engine, neural: Neural) -> None:
    code, shown, _ = neural("prune", "--json")
    assert (code, json.loads(shown)) == (0, {"dry_run": False, "removed": EXPECTED})
    assert len(stored(old)["raw_payloads"]) == 3
    code, shown, told = neural("prune")
    assert (code, shown, told) == (0, "", "nothing is old enough to go\n")
    assert json.loads(neural("prune", "--json")[1])["removed"] == []


def test_the_settings_say_what_is_old(old: Engine, neural: Neural, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_KEEP_PAYLOAD_DAYS", "61")
    assert neural("prune")[2] == "nothing is old enough to go\n"
    monkeypatch.setenv("NEURAL_KEEP_PAYLOAD_DAYS", "59")
    monkeypatch.setenv("NEURAL_KEEP_FAILED_PAYLOAD_DAYS", "59")
    shown = neural("prune")[1].splitlines()
    assert [line.split()[-3:] for line in shown[1:]] == [
        ["payload", "completed", "2"],
        ["payload", "failed", "1"],
        ["payload", "accepted", "3"],
        ["payload", "invalid", "1"],
    ]


def test_payloads_do_not_outlive_their_records_and_any_number_of_days_can_be_kept(
    old: Engine, neural: Neural, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_KEEP_RUN_DAYS", "59")
    for name in ("PAYLOAD", "FAILED_PAYLOAD", "FAILED_RUN", "METRIC", "DAGSTER"):
        monkeypatch.setenv(f"NEURAL_KEEP_{name}_DAYS", "99999999999")
    shown = json.loads(neural("prune", "--json")[1])["removed"]
    assert {"kind": "execution", "state": "completed", "count": 2} in shown
    assert {"kind": "payload", "state": "completed", "count": 2} in shown
    assert all("failed" not in one.values() for one in shown)


@pytest.mark.parametrize("kind", ["PAYLOAD", "RUN"])
def test_failures_kept_shorter_than_the_rest_are_refused(
    old: Engine, neural: Neural, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    before = stored(old)
    monkeypatch.setenv(f"NEURAL_KEEP_FAILED_{kind}_DAYS", "1")
    code, shown, told = neural("prune")
    assert (code, shown, len(told.splitlines())) == (2, "", 1)
    assert f"NEURAL_KEEP_FAILED_{kind}_DAYS" in told
    assert f"NEURAL_KEEP_{kind}_DAYS" in told
    assert stored(old) == before


def test_the_runs_of_dagster_go_too_where_it_was_ever_used(old: Engine, neural: Neural) -> None:
    with old.begin() as connection:
        connection.execute(text(f"create schema {DAGSTER_SCHEMA}"))
    assert json.loads(neural("prune", "--dry-run", "--json")[1])["removed"] == EXPECTED
    with old.begin() as connection:
        assert connection.execute(text(f"select to_regclass('{DAGSTER_SCHEMA}.runs')")).scalar_one() is None
    with dagster_instance(resolve_database(Settings.load())) as instance:
        run_ = instance.create_run_for_job(observation_capture)
        instance.report_run_failed(run_)
        aged = f"""
        update {DAGSTER_SCHEMA}.runs set end_time = end_time - 15 * 86400,
          create_timestamp = create_timestamp - interval '15 days'
        """
        with old.begin() as connection:
            connection.execute(text(aged))
        mark = {"kind": "Dagster run", "state": "failure", "count": 1}
        assert json.loads(neural("prune", "--json")[1])["removed"] == [mark, *EXPECTED]
        assert instance.get_runs() == []


def test_a_second_prune_at_the_same_time_says_so_and_leaves(old: Engine, neural: Neural) -> None:
    answers: list[tuple[int, str, str]] = []

    class Meanwhile(DagsterRecords):
        def remove(self, before: object, unfinished: Unfinished) -> Removed:
            """In the middle of a prune, have somebody else try one."""
            answers.append(neural("prune"))
            return Removed()

    with old.begin() as connection:
        connection.execute(text(f"create schema {DAGSTER_SCHEMA}"))
    with dagster_instance(resolve_database(Settings.load())) as instance:
        Retention(old, Settings.load(), Meanwhile(instance, batch_named)).prune()
    [(code, shown, told)] = answers
    assert (code, shown) == (2, "")
    assert told == "neural: another prune is at work on this database: nothing was removed\n"


def test_without_a_database_the_command_says_what_to_do(neural: Neural, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    code, _, told = neural("prune")
    assert (code, "neural db start" in told) == (4, True)
