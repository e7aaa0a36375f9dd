"""`neural doctor` in this process: a healthy installation, each way of being ill, and that it waits for nobody."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster._core.scheduler.instigation import InstigatorStatus
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from neural_pipeline.cli.daemon import daemon_place
from neural_pipeline.cli.instance import dagster_instance
from neural_pipeline.cli.main import run
from neural_pipeline.contracts.events import Source
from neural_pipeline.contracts.incoming import SyncPayload
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.postgres import server as embedded
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.accounting import audit
from neural_pipeline.store.inbox import NewEvent, append
from neural_pipeline.store.revision import SCHEMA_REVISION
from neural_pipeline.store.rollups import refresh
from neural_pipeline.store.settlement import hand_back
from neural_pipeline_tests.building import begun_batch, column, open_batch, run_of, waiting
from neural_pipeline_tests.end_to_end.processes import daemon, environment_of, wait_until

pytestmark = pytest.mark.daemons

HIDDEN = "s3cr3t-w0rd"
OF_ROWS = ("runs", "waiting", "batches", "circles", "record", "accounting", "metrics")
ALL = ("models", "server", "schema", "daemon", "heartbeats", "sensors", "ticks", *OF_ROWS)
Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path / "home"))

    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = run(["doctor", "--json", *arguments])
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, {finding["check"]: finding for finding in json.loads(captured.out)}

    return call


def statuses(findings: dict[str, Any]) -> dict[str, str]:
    return {check: finding["status"] for check, finding in findings.items()}


def test_a_database_that_nobody_has_used_yet_is_no_fault_and_stays_as_it_is(
    engine: Engine, doctor: Doctor, tmp_path: Path
) -> None:
    tables = "select table_schema || '.' || table_name from information_schema.tables order by 1"
    with engine.begin() as connection:
        before = column(connection, tables)
    code, findings = doctor()
    assert code == 0
    assert tuple(findings) == ALL
    assert statuses(findings) == {
        "models": "ok", "server": "ok", "schema": "ok", "daemon": "warn", "heartbeats": "warn",
        **dict.fromkeys(("sensors", "ticks", "runs"), "skip"),
        **dict.fromkeys(("waiting", "batches", "circles", "record", "accounting", "metrics"), "ok"),
    }  # fmt: skip
    assert findings["heartbeats"]["found"] == "Dagster has not been started on this database"
    assert findings["heartbeats"]["todo"] == "`neural up`"
    with engine.begin() as connection:
        assert column(connection, tables) == before
    assert not (tmp_path / "home").exists()


def test_people_get_one_line_per_check(database: URL, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == list(ALL)
    assert lines[2] == f"ok    schema       revision {SCHEMA_REVISION}"
    assert lines[3].startswith("warn  daemon ")
    assert lines[3].endswith("; do: `neural up`")


def test_help_and_a_server_that_is_down_need_no_dagster() -> None:
    code = "import sys, neural_pipeline.cli.doctor; assert 'dagster' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_time_out_that_cannot_be_kept_is_wrong_usage(doctor: Doctor) -> None:
    assert run(["doctor", "--timeout", "0"]) == 2


def test_a_daemon_that_holds_its_place_is_seen(database: URL, doctor: Doctor) -> None:
    with daemon_place(database):
        assert doctor()[1]["daemon"]["status"] == "ok"


def age(engine: Engine, table: str, column_: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"update {table} set {column_} = {column_} - interval '2 hours'"))


@pytest.fixture
def waiting_events(engine: Engine, workspace: str) -> list[int]:
    with engine.begin() as connection:
        return waiting(connection, 2)


def test_an_event_that_waits_longer_than_the_setting_allows_fails_the_check(
    engine: Engine, doctor: Doctor, waiting_events: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, findings = doctor()
    assert (code, findings["waiting"]["found"]) == (1, "2 events due, and no daemon works on them")
    age(engine, "incoming_events", "due_at")
    code, findings = doctor()
    assert (code, findings["waiting"]["status"], findings["waiting"]["todo"]) == (1, "FAIL", "`neural up`")
    with engine.begin() as connection:
        numbers = [run_of(connection, event_id)["id"] for event_id in waiting_events]
    assert f"2 of 2 due neural.observation.capture (runs {numbers[0]}, {numbers[1]})" in findings["waiting"]["found"]
    monkeypatch.setenv("NEURAL_MAX_WAIT_SECONDS", "10000")
    assert "longer than" not in doctor()[1]["waiting"]["found"]


def test_what_waits_for_workflows_of_later_versions_is_no_fault(engine: Engine, doctor: Doctor, workspace: str) -> None:
    payloads = [SyncPayload(source_id=name, source_type=Source.GITHUB) for name in ("one", "two")]
    with engine.begin() as connection:
        for payload in payloads:
            event = NewEvent(workspace, "neural", payload.source_id, payload, Trigger.MANUAL)
            append(connection, [event])
    age(engine, "incoming_events", "due_at")
    code, findings = doctor()
    assert (code, findings["waiting"]["status"]) == (0, "ok")
    assert findings["waiting"]["found"] == "0 events due; 2 wait for workflows of later versions"


def test_a_batch_that_outlives_its_lease_fails_the_check(
    engine: Engine, doctor: Doctor, waiting_events: list[int]
) -> None:
    with engine.begin() as connection:
        begun_batch(connection, waiting_events)
    assert doctor()[0] == 0
    age(engine, "event_batches", "lease_until")
    code, findings = doctor()
    assert (code, findings["batches"]["status"]) == (1, "FAIL")


def test_a_batch_that_no_run_takes_fails_the_check(engine: Engine, doctor: Doctor, workspace: str) -> None:
    with engine.begin() as connection:
        open_batch(connection, waiting(connection, 1))
    age(engine, "event_batches", "assigned_at")
    assert doctor()[1]["batches"]["status"] == "FAIL"


def test_events_that_go_in_circles_fail_the_check_and_the_error_code_is_told(
    engine: Engine, doctor: Doctor, waiting_events: list[int]
) -> None:
    with engine.begin() as connection:
        for _ in range(3):
            hand_back(connection, begun_batch(connection, waiting_events), reason="handed_back: 42501")
    code, findings = doctor()
    assert (code, findings["circles"]["status"]) == (1, "FAIL")
    assert "SQLSTATE 42501" in findings["circles"]["found"]


def test_an_end_that_is_not_recorded_fails_the_check(engine: Engine, doctor: Doctor, waiting_events: list[int]) -> None:
    with engine.begin() as connection:
        begun_batch(connection, waiting_events)
        sql = "update incoming_events set outcome = 'completed', outcome_at = clock_timestamp() - interval '2 hours'"
        connection.execute(text(sql))
    code, findings = doctor()
    assert (code, findings["record"]["status"]) == (1, "FAIL")


def test_records_that_do_not_explain_each_other_fail_the_check(
    engine: Engine, doctor: Doctor, waiting_events: list[int]
) -> None:
    with engine.begin() as connection:
        connection.execute(text("delete from incoming_events where id = :id"), {"id": waiting_events[0]})
    code, findings = doctor()
    assert (code, findings["accounting"]["status"]) == (1, "FAIL")
    assert "1 against `an accepted payload has its execution`" in findings["accounting"]["found"]


def test_metrics_that_nobody_adds_up_and_audits_any_more_are_a_warning(
    engine: Engine, doctor: Doctor, waiting_events: list[int]
) -> None:
    metric = (
        "insert into lightfast_workspace_operations_metrics"
        " (clerk_org_id, workspace_id, type, value, unit, timestamp, created_at)"
        " select clerk_org_id, id, 'observation_captured', 1, 'count', now() - :age, now() - :age"
        " from lightfast_org_workspaces"
    )
    with engine.begin() as connection:
        connection.execute(text(metric), {"age": timedelta(hours=2)})
    assert doctor()[1]["metrics"]["status"] == "ok"
    with engine.begin() as connection:
        connection.execute(text(metric), {"age": timedelta(hours=4)})
    code, findings = doctor()
    assert (code, findings["metrics"]["status"]) == (code, "warn")
    assert "1 metric not added up" in findings["metrics"]["found"]
    assert "the last time was never" in findings["metrics"]["found"]
    assert "`metrics_hourly`" in findings["metrics"]["todo"]
    refresh(engine)
    with engine.begin() as connection:
        audit(connection)
    assert doctor()[1]["metrics"]["status"] == "ok"


@pytest.mark.parametrize(("revision", "todo"), [("0000", "`neural db upgrade`"), ("9999", "use the newer program")])
def test_a_schema_of_another_program_fails_the_check_and_rows_are_not_judged(
    engine: Engine, doctor: Doctor, revision: str, todo: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text("update neural_alembic_version set version_num = :r"), {"r": revision})
    code, findings = doctor()
    assert (code, findings["schema"]["status"], findings["schema"]["todo"]) == (1, "FAIL", todo)
    assert {findings[check]["status"] for check in OF_ROWS} == {"skip"}


def test_a_database_without_tables_fails_the_check(
    server: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_database(server_url(server, "postgres"), "bare")
    monkeypatch.setenv("DATABASE_URL", server_url(server, "bare").render_as_string(hide_password=False))
    try:
        code, findings = doctor()
        assert (code, findings["server"]["status"], findings["schema"]["status"]) == (1, "ok", "FAIL")
        with daemon_place(server_url(server, "bare")) as connection:
            assert column(connection, "select count(*) from pg_extension where extname = 'vector'") == [0]
    finally:
        drop_database(server_url(server, "postgres"), "bare")


def test_a_role_that_lacks_rights_fails_the_check_of_the_server(
    server: Path, engine: Engine, database: URL, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        connection.execute(text("create role mira_the_guest login"))
    monkeypatch.setenv("DATABASE_URL", database.set(username="mira_the_guest").render_as_string(hide_password=False))
    try:
        code, findings = doctor()
        assert (code, findings["server"]["status"]) == (1, "FAIL")
        assert "may not create schemas" in findings["server"]["found"]
        assert findings["server"]["todo"].startswith("run `grant create on database")
        assert findings["schema"]["status"] == "FAIL"
        assert "permission denied" in findings["schema"]["found"]
        assert findings["schema"]["todo"] == "give the role its rights on the tables"
    finally:
        with engine.begin() as connection:
            connection.execute(text("drop role mira_the_guest"))


def test_a_server_that_refuses_fails_the_check_hides_its_password_and_skips_the_rest(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://mira:{HIDDEN}@127.0.0.1:1/pipeline")
    code, findings = doctor()
    assert (code, tuple(findings)) == (1, ALL)
    assert findings["server"]["status"] == "FAIL"
    assert "127.0.0.1:1 as user mira" in findings["server"]["found"]
    assert findings["server"]["todo"]
    assert {findings[check]["status"] for check in ALL[2:]} == {"skip"}
    assert HIDDEN not in str(findings)


@contextmanager
def deaf_server() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_server_that_never_answers_is_given_up(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    with deaf_server() as port:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://mira:{HIDDEN}@127.0.0.1:{port}/pipeline")
        began = time.monotonic()
        code, findings = doctor("--timeout", "2")
        assert time.monotonic() - began < 20
    assert (code, findings["server"]["status"], findings["accounting"]["status"]) == (1, "FAIL", "skip")
    assert HIDDEN not in str(findings)


def test_a_locked_table_is_waited_for_no_longer_than_the_time_out(engine: Engine, doctor: Doctor) -> None:
    with engine.begin() as connection:
        connection.execute(text("lock table incoming_events"))
        code, findings = doctor("--timeout", "2")
    assert code == 1
    assert findings["waiting"]["found"] == "no answer within 2 s"
    assert "neural doctor --timeout 12" in findings["waiting"]["todo"]
    assert findings["batches"]["status"] == "ok"


def test_dagsters_storage_of_its_own_that_refuses_fails_its_check_only(
    database: URL, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_DAGSTER_URL", f"postgresql://mira:{HIDDEN}@127.0.0.1:1/dagster")
    code, findings = doctor()
    assert (code, findings["heartbeats"]["status"], findings["sensors"]["status"]) == (1, "FAIL", "skip")
    assert (findings["schema"]["status"], findings["accounting"]["status"]) == ("ok", "ok")
    assert HIDDEN not in str(findings)


def test_the_embedded_server_is_not_started_to_be_examined(doctor: Doctor, tmp_path: Path) -> None:
    code, findings = doctor()
    assert (code, findings["disk"]["status"], findings["server"]["status"]) == (1, "ok", "FAIL")
    assert findings["server"]["todo"] == "`neural db start`"
    assert not embedded.status(tmp_path / "home").running
    assert not (tmp_path / "home").exists()


def test_a_daemon_that_does_not_run_any_more_is_a_warning(
    engine: Engine, database: URL, tmp_path: Path, doctor: Doctor
) -> None:
    home = tmp_path / "before"
    home.mkdir()
    environment_of(engine, database, home)
    with dagster_instance(resolve_database(Settings.load())):
        pass
    code, findings = doctor()
    assert code == 0
    assert (findings["heartbeats"]["status"], findings["sensors"]["status"]) == ("warn", "warn")
    assert (findings["ticks"]["status"], findings["runs"]["status"]) == ("ok", "ok")
    assert "does not run" in findings["heartbeats"]["found"]


@pytest.mark.slow
def test_with_a_daemon_at_work_all_is_well_until_a_sensor_is_switched_off(
    engine: Engine, database: URL, tmp_path: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = environment_of(engine, database, home)
    monkeypatch.setenv("NEURAL_HOME", str(home))
    heard = "select count(distinct daemon_type) from neural_dagster.daemon_heartbeats"
    ticked = "select count(distinct selector_id) from neural_dagster.job_ticks"

    def works(connection: Any) -> bool:
        there = column(connection, "select to_regclass('neural_dagster.job_ticks')") != [None]
        return there and column(connection, heard)[0] >= 6 and column(connection, ticked)[0] >= 7

    with daemon(environment, home), daemon_place(database):
        wait_until(engine, works, what="heartbeats and ticks")
        code, findings = doctor()
        assert (code, {finding["status"] for finding in findings.values()}) == (0, {"ok"}), findings
        with dagster_instance(resolve_database(Settings.load())) as instance:
            [state] = [one for one in instance.all_instigator_state() if one.instigator_name == "reconciler"]
            instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
        code, findings = doctor()
    assert (code, findings["sensors"]["status"]) == (1, "FAIL")
    assert "switched off: reconciler" in findings["sensors"]["found"]
    assert "dagster sensor start -w" in findings["sensors"]["todo"]
