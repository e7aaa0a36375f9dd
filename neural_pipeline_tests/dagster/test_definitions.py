"""Everything the code location defines, by name, and that loading it touches nothing."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from neural_pipeline.cli.environment import deployment_file
from neural_pipeline.definitions import defs
from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.setting_groups import MetricSettings

WORKFLOWS = {
    "cluster_summary": "neural.cluster.summary",
    "llm_entity_extraction": "neural.llm-entity-extraction",
    "observation_capture": "neural.observation.capture",
    "profile_update": "neural.profile.update",
}
JOBS = (*WORKFLOWS, "day_metrics", "retention", "vector_indexing")
"""All but `metrics`, whose assets keep their values."""
LIFECYCLE = ("canceled", "failure", "queued", "started", "success")
NOWHERE = "postgresql+psycopg2://nobody:nothing@127.0.0.1:1/nowhere"


def sensors() -> dict[str, dg.SensorDefinition]:
    return {sensor.name: sensor for sensor in defs.sensors or [] if isinstance(sensor, dg.SensorDefinition)}


def test_the_code_location_defines_this_and_nothing_else():
    repository = defs.get_repository_def()
    assert {
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "sensors": sorted(sensors()),
        "schedules": sorted(schedule.name for schedule in repository.schedule_defs),
        "assets": sorted(key.to_user_string() for key in repository.asset_graph.materializable_asset_keys),
        "checks": sorted(key.name for key in repository.asset_graph.asset_check_keys),
        "resources": sorted(repository.get_top_level_resources()),
    } == {
        "jobs": sorted([*JOBS, "metrics"]),
        "sensors": sorted(
            [*(f"{name}_inbox" for name in WORKFLOWS), *(f"lifecycle_{status}" for status in LIFECYCLE), "reconciler"]
        ),
        "schedules": ["day_metrics_daily", "metrics_hourly", "retention_daily", "vector_indexing_often"],
        "assets": sorted(["metric_rollups", "neural_report", *(view.name for view in VIEWS)]),
        "checks": [
            "accounting_exact",
            "every_end_is_measured",
            "failure_rate",
            "inbox_lag_within_bound",
            "metrics_fresh",
            "no_duplicate_observation",
            "nothing_stuck",
            "resolution_rate",
        ],
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


def test_everything_is_measured_every_hour_unless_somebody_stops_that():
    hourly = schedule("metrics_hourly")
    assert (hourly.job_name, hourly.default_status) == ("metrics", dg.DefaultScheduleStatus.RUNNING)
    assert hourly.cron_schedule == "7 * * * *"
    assert hourly.description
    job = defs.resolve_job_def("metrics")
    graph = defs.resolve_asset_graph()
    assert job.asset_layer.selected_asset_keys == graph.materializable_asset_keys
    checks = {f"{key.asset_key.to_user_string()}_{key.name}" for key in graph.asset_check_keys}
    assert {node.name for node in job.nodes} >= checks


def test_each_day_is_told_shortly_after_midnight_unless_somebody_stops_that():
    daily = schedule("day_metrics_daily")
    assert (daily.job_name, daily.default_status) == ("day_metrics", dg.DefaultScheduleStatus.RUNNING)
    assert daily.cron_schedule == "20 0 * * *"
    assert daily.execution_timezone in {None, "UTC"}
    assert daily.description


@pytest.mark.parametrize("name", ["metrics", "__ASSET_JOB"])
def test_assets_are_made_in_one_process_and_keep_their_values(name: str):
    job = defs.get_repository_def().get_job(name)
    assert job.executor_def.name == dg.in_process_executor.name
    assert job.resource_defs["io_manager"] is not dg.mem_io_manager


@pytest.mark.parametrize("name", ["metric_rollups", "neural_report"])
def test_dagster_watches_whether_metrics_are_fresh(name: str):
    spec = defs.resolve_asset_graph().get(dg.AssetKey(name)).assets_def.get_asset_spec(dg.AssetKey(name))
    hours = MetricSettings.model_fields["metrics_fresh_hours"].default
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))
    with dg.instance_for_test(overrides=settings_of_dagster("freshness")) as instance:
        assert instance.freshness_enabled


def settings_of_dagster(name: str) -> dict[str, object]:
    settings = yaml.safe_load(deployment_file("dagster.yaml").read_text(encoding="utf-8"))
    return {name: settings[name]} if name in settings else {}


@pytest.mark.parametrize("name", ["metrics", "day_metrics"])
def test_a_run_of_the_metrics_whose_worker_dies_gives_its_place_back(name: str):
    assert 300 <= int(defs.resolve_job_def(name).tags["dagster/max_runtime"]) <= 1800


@pytest.mark.parametrize("name", ["metrics", "day_metrics"])
def test_one_run_of_the_metrics_goes_on_at_a_time(name: str):
    limits = yaml.safe_load(deployment_file("dagster.yaml").read_text(encoding="utf-8"))["run_coordinator"]["config"]
    [limit] = [one for one in limits["tag_concurrency_limits"] if one["key"] in defs.resolve_job_def(name).tags]
    assert limit == {"key": "neural/metrics", "value": "true", "limit": 1}
    assert defs.resolve_job_def(name).tags[limit["key"]] == limit["value"]


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
names = "pandas matplotlib jinja2 sklearn scipy alembic typer rich pydantic_ai openai anthropic fastembed".split()
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
