"""Everything the code location defines, by name, and that loading it touches nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from neural_pipeline.definitions import defs

WORKFLOWS = {
    "cluster_summary": "neural.cluster.summary",
    "llm_entity_extraction": "neural.llm-entity-extraction",
    "observation_capture": "neural.observation.capture",
    "profile_update": "neural.profile.update",
}
JOBS = (*WORKFLOWS, "retention", "vector_indexing")
LIFECYCLE = ("canceled", "failure", "queued", "started", "success")
NOWHERE = "postgresql+psycopg2://nobody:nothing@127.0.0.1:1/nowhere"


def sensors() -> dict[str, dg.SensorDefinition]:
    return {sensor.name: sensor for sensor in defs.sensors or [] if isinstance(sensor, dg.SensorDefinition)}


def test_the_code_location_defines_this_and_nothing_else():
    repository = defs.get_repository_def()
    assert {
        "jobs": sorted(job.name for job in repository.get_all_jobs()),
        "sensors": sorted(sensors()),
        "schedules": sorted(schedule.name for schedule in repository.schedule_defs),
        "assets": sorted(key.to_user_string() for key in repository.assets_defs_by_key),
        "resources": sorted(repository.get_top_level_resources()),
    } == {
        "jobs": [*JOBS],
        "sensors": sorted(
            [*(f"{name}_inbox" for name in WORKFLOWS), *(f"lifecycle_{status}" for status in LIFECYCLE), "reconciler"]
        ),
        "schedules": ["retention_daily", "vector_indexing_often"],
        "assets": [],
        "resources": ["pipeline"],
    }


@pytest.mark.parametrize("name", sorted(sensors()))
def test_every_sensor_runs_unless_somebody_stops_it_and_says_what_it_is_for(name: str):
    sensor = sensors()[name]
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.description


def test_sensors_are_evaluated_as_often_as_the_daemon_can_but_for_the_reconciler():
    intervals = {name: sensor.minimum_interval_seconds for name, sensor in sensors().items()}
    assert intervals.pop("reconciler") == 5
    assert set(intervals.values()) == {1}, "0 would mean 30 seconds"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_an_inbox_sensor_starts_the_job_it_is_named_after(name: str):
    assert sensors()[f"{name}_inbox"].job_name == name


@pytest.mark.parametrize("name", JOBS)
def test_a_job_runs_in_one_process_and_stores_nothing_between_its_ops(name: str):
    job = defs.resolve_job_def(name)
    assert job.executor_def.name == dg.in_process_executor.name
    assert job.resource_defs["io_manager"] is dg.mem_io_manager


@pytest.mark.parametrize(("name", "function_id"), WORKFLOWS.items())
def test_the_job_of_a_workflow_names_its_function(name: str, function_id: str):
    child = {} if name == "observation_capture" else {"neural/child": "true"}
    assert defs.resolve_job_def(name).tags == {"neural/function": function_id, **child}


def schedule(name: str) -> dg.ScheduleDefinition:
    return next(one for one in defs.get_repository_def().schedule_defs if one.name == name)


def test_what_is_old_is_removed_once_a_day_unless_somebody_stops_that():
    daily = schedule("retention_daily")
    assert (daily.job_name, daily.default_status) == ("retention", dg.DefaultScheduleStatus.RUNNING)
    minute, hour, *days = str(daily.cron_schedule).split()
    assert minute.isdigit()
    assert hour.isdigit()
    assert days == ["*", "*", "*"]
    assert daily.description


def test_new_vectors_are_indexed_every_few_minutes_unless_somebody_stops_that():
    often = schedule("vector_indexing_often")
    assert (often.job_name, often.default_status) == ("vector_indexing", dg.DefaultScheduleStatus.RUNNING)
    assert often.cron_schedule == "*/5 * * * *"
    assert often.description


@pytest.mark.parametrize("name", JOBS)
def test_every_op_says_what_it_does(name: str):
    job = defs.resolve_job_def(name)
    assert all(node.definition.description for node in job.nodes)
    assert job.description


def imported(tmp_path: Path) -> dict[str, object]:
    program = """
import json, socket, sys

def refuse(*_):
    raise AssertionError("a connection was opened at import")

socket.socket.connect = refuse
import neural_pipeline.definitions
import psycopg2
names = "pandas sklearn scipy alembic typer rich pydantic_ai openai anthropic fastembed".split()
heavy = [name for name in names if name in sys.modules]
engines = neural_pipeline.store.database._engine.cache_info().currsize
print(json.dumps({"heavy": heavy, "engines": engines}))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEURAL_")}
    environment |= {"DATABASE_URL": NOWHERE, "NEURAL_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "nothing is logged at import"
    return json.loads(done.stdout)


def test_loading_the_definitions_connects_to_nothing_writes_nothing_and_imports_nothing_heavy(tmp_path: Path):
    assert imported(tmp_path) == {"heavy": [], "engines": 0}
    assert list(tmp_path.iterdir()) == []
