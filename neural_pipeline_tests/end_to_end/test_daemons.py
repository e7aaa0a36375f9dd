"""Dagster's daemon as a process: one, two on one database, one beside a manual launch, and one killed in the middle."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import psutil
import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from neural_pipeline.automation.reconciler import reconcile
from neural_pipeline.cli.ingest import Desk, Intake, take_in
from neural_pipeline.cli.reading import read_files
from neural_pipeline.cli.tally import Tally
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.resources import Pipeline
from neural_pipeline.settings import Settings
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.sql import rows, run, scalar
from neural_pipeline.store.summaries import unexplained
from neural_pipeline.store.workspaces import create_workspace
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.conftest import SETTINGS
from neural_pipeline_tests.end_to_end.processes import (
    daemon,
    environment_of,
    no_capture_is_unfinished,
    wait_until,
)

pytestmark = [pytest.mark.daemons, pytest.mark.slow]
WORKSPACES = ("ws_one", "ws_two", "ws_three")
SAMPLE = Path(str(files("neural_pipeline") / "sample_data" / "two_weeks.json"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def loaded(engine: Engine) -> Engine:
    """Three workspaces with the sample webhooks in their inboxes."""
    return fill(engine)


def fill(engine: Engine) -> Engine:
    for name in WORKSPACES:
        with engine.begin() as connection:
            create_workspace(connection, name, organisation="org_test", name=name, settings=SETTINGS)
        hand_in(engine, name)
    return engine


def hand_in(engine: Engine, workspace: str) -> None:
    desk = Desk.of(Settings.load(), workspace=workspace)
    take_in(engine, Intake(read_files([SAMPLE], given=None), "cli"), desk, tally=Tally(), quiet=True)


def tables(engine: Engine) -> dict[str, Any]:
    """What is in the memory and in the record, without ids and times."""
    queries = {
        "observations": """
          select o.workspace_id, o.external_id, o.source_id, o.canonical_actor_id, o.significance_score, o.topics,
            c.external_id as cluster from lightfast_workspace_neural_observations o
          join lightfast_workspace_observation_clusters c on c.id = o.cluster_id order by 1, 2""",
        "clusters": """
          select workspace_id, external_id, topic_label, observation_count, primary_entities, primary_actors,
            md5(centroid::text) as centroid from lightfast_workspace_observation_clusters order by 1, 2""",
        "entities": """
          select workspace_id, category, key, occurrence_count
          from lightfast_workspace_neural_entities order by 1, 2, 3""",
        "runs": """
          select workspace_id, inngest_function_id, status, trigger, output ->> 'status' as result,
            output ->> 'reason' as reason, count(*) from lightfast_workspace_workflow_runs
          group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6""",
        "metrics": """
          select workspace_id, type, count(*)
          from lightfast_workspace_operations_metrics group by 1, 2 order by 1, 2""",
    }
    with engine.begin() as connection:
        return {name: [dict(row) for row in rows(connection, sql)] for name, sql in queries.items()}


@pytest.fixture
def expected(server: Path, template: str, database: URL, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What one run in this process makes of the same input, in a database of its own."""
    name = f"expected_{uuid4().hex}"
    create_database(server_url(server, "postgres"), name, template=template)
    own = server_url(server, name)
    monkeypatch.setenv("DATABASE_URL", own.render_as_string(hide_password=False))
    engine = fill(engine_for(own))
    with dg.DagsterInstance.ephemeral() as instance:
        assert observation_capture.execute_in_process(instance=instance).success
        reconcile(Pipeline(), instance)
    made = tables(engine)
    engine.dispose()
    drop_database(server_url(server, "postgres"), name)
    monkeypatch.setenv("DATABASE_URL", database.render_as_string(hide_password=False))
    return made


def test_one_daemon_works_off_the_inbox_through_its_sensor(
    loaded: Engine, database: URL, home: Path, expected: dict[str, Any]
) -> None:
    with daemon(environment_of(loaded, database, home), home):
        wait_until(loaded, no_capture_is_unfinished, what="all captures to end")
        wait_until(loaded, no_batch_of_captures_is_held, what="the captures' batches to be closed")
    assert tables(loaded) == expected
    with loaded.begin() as connection:
        assert unexplained(connection) == 0
        assert scalar(connection, "select count(*) from lightfast_workspace_neural_observations") == 3 * 45
        assert scalar(connection, "select bool_and(trigger = 'automatic') from event_batches")


def test_two_daemons_on_one_inbox_make_the_same_tables_as_one(
    loaded: Engine, database: URL, home: Path, expected: dict[str, Any]
) -> None:
    environment = environment_of(loaded, database, home)
    with daemon(environment, home), daemon(environment, home, name="second"):
        wait_until(loaded, no_capture_is_unfinished, what="all captures to end")
    assert tables(loaded) == expected
    with loaded.begin() as connection:
        assert unexplained(connection) == 0


def test_a_manual_launch_beside_the_sensor_makes_the_same_tables(
    loaded: Engine, database: URL, home: Path, expected: dict[str, Any]
) -> None:
    environment = environment_of(loaded, database, home)
    with ExitStack() as stack:
        stack.enter_context(daemon(environment, home))
        launch = subprocess.Popen(
            [str(Path(sys.executable).with_name("dagster")), "job", "execute", "-m", "neural_pipeline.definitions",
             "-j", "observation_capture"],
            env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert launch.wait(timeout=100) == 0
        wait_until(loaded, no_capture_is_unfinished, what="all captures to end")
    assert tables(loaded) == expected
    with loaded.begin() as connection:
        assert unexplained(connection) == 0


def test_an_open_batch_whose_daemon_was_killed_before_the_launch_is_done_by_the_next(
    loaded: Engine, database: URL, home: Path, expected: dict[str, Any]
) -> None:
    environment = environment_of(loaded, database, home)
    with daemon(environment, home) as process:
        wait_until(loaded, some_batch_exists, what="a batch to be assigned")
        kill_below(process.pid)
    with daemon(environment, home):
        wait_until(loaded, no_capture_is_unfinished, what="all captures to end")
    assert tables(loaded) == expected
    with loaded.begin() as connection:
        assert unexplained(connection) == 0


def no_batch_of_captures_is_held(connection: Connection) -> bool:
    sql = """
    select count(*) from event_batches
    where function_id = 'neural.observation.capture' and state <> 'closed'
    """
    return scalar(connection, sql) == 0


def some_batch_exists(connection: Connection) -> bool:
    return scalar(connection, "select count(*) from event_batches") > 0


def kill_below(pid: int) -> None:
    """kill -9 of everything a keeper has started: daemon, code server and run workers."""
    for process in psutil.Process(pid).children(recursive=True):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_a_run_cancelled_in_dagster_ends_what_it_had_not_done_as_cancelled_and_writes_no_more(
    engine: Engine, database: URL, home: Path
) -> None:
    with engine.begin() as connection:
        create_workspace(connection, "ws_one", organisation="org_test", name="one", settings=SETTINGS)
        run(connection, SLOW_STORE)
    hand_in(engine, "ws_one")
    environment = environment_of(engine, database, home) | {"NEURAL_CAPTURE_CHUNK": "1"}
    with daemon(environment, home):
        wait_until(engine, something_is_captured, what="a run at work")
        with engine.begin() as connection:
            run_id = scalar(connection, "select run_id from event_batches")
        # The worker is not told: like one that hangs and comes back after its run was given up.
        script = (
            f"import dagster as dg; i = dg.DagsterInstance.get(); i.report_run_canceled(i.get_run_by_id('{run_id}'))"
        )
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
        wait_until(engine, no_capture_is_unfinished, what="the cancelled run to be recorded")
        wait_until(engine, a_stale_write_was_counted, what="the worker to meet the fence")
    with engine.begin() as connection:
        states = rows(connection, CAPTURES_BY_STATE)
        counts = {(row["status"], row["error_message"]): row["count"] for row in states}
        assert set(counts) == {("completed", None), ("cancelled", "the Dagster run was cancelled")}
        assert sum(counts.values()) == 51
        captured = "select count(*) from incoming_events where output ->> 'status' = 'success'"
        observations = "select count(*) from lightfast_workspace_neural_observations"
        assert scalar(connection, observations) == scalar(connection, captured)
        assert unexplained(connection) == 0


SLOW_STORE = """
create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.7); return new; end $$;
create trigger dawdle before insert on lightfast_workspace_neural_observations
  for each statement execute function dawdle()
"""
CAPTURES_BY_STATE = """
select status, error_message, count(*) from lightfast_workspace_workflow_runs
where inngest_function_id = 'neural.observation.capture' group by 1, 2
"""


def something_is_captured(connection: Connection) -> bool:
    return scalar(connection, "select count(*) from lightfast_workspace_neural_observations") > 0


def a_stale_write_was_counted(connection: Connection) -> bool:
    return scalar(connection, "select max(stale_writes) from event_batches") == 1


def test_the_payloads_of_the_sample_are_kept_as_they_came(loaded: Engine) -> None:
    webhooks = json.loads(SAMPLE.read_text(encoding="utf-8"))["webhooks"]
    with loaded.begin() as connection:
        kept = rows(connection, "select body from raw_payloads where workspace_id = 'ws_one' order by id")
    assert [json.loads(bytes(row["body"])) for row in kept] == [webhook["payload"] for webhook in webhooks]
