"""Metrics as assets: everything is materialised once over what real runs have left, and each asset says what it is."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from sqlalchemy.engine import URL

from neural_pipeline.definitions import defs
from neural_pipeline.metrics.assets import ROLLUPS
from neural_pipeline.metrics.catalogue import BY_NAME, VIEWS
from neural_pipeline.metrics.definition import View
from neural_pipeline.metrics.frames import frame_of, last_days
from neural_pipeline.metrics.preview import preview
from neural_pipeline.metrics.tables import METRICS
from neural_pipeline_tests.dagster.launching import Site
from neural_pipeline_tests.dagster.measuring import HOSTILE, materialised, metadata, site_of, worked_off
from neural_pipeline_tests.end_to_end.processes import environment_of

EACH_VIEW = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
PROFILE = """
insert into lightfast_workspace_actor_profiles (workspace_id, actor_id, display_name, observation_count, last_active_at)
values ('ws_test', 'github:1', :name, 3, now())
"""


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture(scope="module")
def measured(
    run_database: URL, instance: dg.DagsterInstance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with site_of(run_database, instance, tmp_path_factory.mktemp("home")) as site:
        worked_off(site).execute(PROFILE, name=HOSTILE)
        yield site


@pytest.fixture(scope="module")
def result(measured: Site) -> dg.ExecuteInProcessResult:
    return materialised(measured)


def graph() -> AssetGraph:
    return defs.resolve_asset_graph()


def test_everything_is_materialised_at_once_and_every_check_passes(result: dg.ExecuteInProcessResult) -> None:
    assert result.success
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}
    assert made == {ROLLUPS, *(view.name for view in VIEWS), "neural_report"}
    checks = result.get_asset_check_evaluations()
    assert {(one.check_name, one.passed) for one in checks} == {(key.name, True) for key in graph().asset_check_keys}, [
        one.description for one in checks if not one.passed
    ]


@EACH_VIEW
def test_a_views_numbers_are_its_metadata_under_their_names(result: dg.ExecuteInProcessResult, view: View) -> None:
    found = metadata(result, view.name)
    units = {number.name: number.unit for number in view.numbers}
    numbers = {name: value for name, value in found.items() if name in units}
    plotted = {name for name, value in found.items() if isinstance(value, int | float) and name != "dagster/row_count"}
    assert plotted == numbers.keys()
    assert {name for name, unit in units.items() if unit == "count"} <= numbers.keys()
    assert all(type(value) is (int if units[name] == "count" else float) for name, value in numbers.items())


@EACH_VIEW
def test_a_views_value_is_a_frame_with_the_declared_columns(
    measured: Site, result: dg.ExecuteInProcessResult, view: View
) -> None:
    value = result.output_for_node(view.name)
    assert isinstance(value, pd.DataFrame)
    assert list(value.columns) == [column.name for column in view.columns]
    assert metadata(result, view.name)["dagster/row_count"] == len(value)
    with measured.engine.begin() as connection:
        assert len(value) == len(frame_of(connection, view, last_days(7, now=datetime.now(UTC))))


@EACH_VIEW
def test_a_view_says_what_it_is_and_where_its_rows_are(result: dg.ExecuteInProcessResult, view: View) -> None:
    spec = graph().get(dg.AssetKey(view.name)).assets_def.get_asset_spec(dg.AssetKey(view.name))
    assert (spec.group_name, spec.owners, spec.kinds) == (
        view.area.value, ["team:neural-pipeline"], {"postgres", "view"}
    )  # fmt: skip
    assert spec.description == view.description
    schema = spec.metadata["dagster/column_schema"]
    assert [(column.name, column.type) for column in schema.columns] == [(one.name, one.type) for one in view.columns]
    assert all(column.description for column in schema.columns)
    behind = metadata(result, view.name)["rows_behind"]
    assert "{since}" not in behind
    assert view.rows_behind.split("{since}")[0] in behind


def test_what_ended_is_counted(result: dg.ExecuteInProcessResult) -> None:
    assert metadata(result, "job_statistics")["executions_failed"] == 1
    assert metadata(result, "observation_funnel")["dagster/row_count"] == 1
    [row] = result.output_for_node("observation_funnel").to_dict("records")
    assert (row["captured"], row["duplicate"], row["failed"]) == (3, 1, 1)
    assert metadata(result, ROLLUPS)["metrics_added"] > 10


def test_rows_that_are_not_kept_are_counted_all_the_same(
    measured: Site, result: dg.ExecuteInProcessResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = metadata(result, "duration_percentiles")["dagster/row_count"]
    monkeypatch.setattr("neural_pipeline.metrics.assets.MOST_ROWS", 2)
    again = materialised(measured, "duration_percentiles")
    assert len(again.output_for_node("duration_percentiles")) == 2
    assert metadata(again, "duration_percentiles")["dagster/row_count"] == whole > 2


def test_text_from_outside_stays_text_in_a_preview(result: dg.ExecuteInProcessResult) -> None:
    shown = metadata(result, "actor_activity")["preview"]
    head, _, *rows = shown.splitlines()
    [row] = [row for row in rows if "alert" in row]
    assert re.search(r"a\\\|b \\<script\\>alert\\\(1\\\)\\</script\\>", row)
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", head))
    assert not re.search(r"(?<!\\)[<\[`!]", row)
    assert {character for character in shown if not character.isprintable()} == {"\n"}


def test_a_preview_ends_after_twenty_rows_and_shows_what_is_missing(measured: Site) -> None:
    view = BY_NAME["job_statistics"]
    frame = pd.DataFrame({column.name: [None] * 21 for column in view.columns}, dtype=object)
    lines = preview(view, frame).splitlines()
    assert len(lines) == 2 + 20
    assert "\u2013" in lines[-1]
    assert "nan" not in lines[-1].lower()
    assert preview(view, frame.head(0)) == "No rows."


def test_lineage_goes_from_the_tables_through_the_views_to_the_report() -> None:
    nodes = {key.to_user_string(): graph().get(key) for key in graph().get_all_asset_keys()}
    parents = {name: {one.to_user_string() for one in node.parent_keys} for name, node in nodes.items()}
    assert parents[ROLLUPS] == {METRICS}
    for view in VIEWS:
        expected = {ROLLUPS} | (set(view.tables) - {METRICS}) if view.metrics else set(view.tables)
        assert parents[view.name] == expected, view.name
    assert parents["neural_report"] == {view.name for view in VIEWS}
    assert parents["daily_metrics"] == {view.name for view in VIEWS if view.by_day}
    tables = {table for view in VIEWS for table in view.tables} | {METRICS}
    assert {name for name, above in parents.items() if not above} == tables
    external = {name for name, node in nodes.items() if not node.is_materializable}
    assert external == tables | {"daily_metrics"}
    assert all(node.description for node in nodes.values())


def test_the_report_is_written_and_linked(result: dg.ExecuteInProcessResult) -> None:
    found = metadata(result, "neural_report")
    page = Path(found["path"])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert page.is_absolute(), "to be copied into a browser"
    assert "url" not in found, "no browser follows a page of the web to a file"
    assert found["report"] == Path(found["markdown_path"]).read_text(encoding="utf-8")
    today = datetime.now(UTC).date()
    assert found["period"] == f"{today - timedelta(days=6)} to {today}"


@pytest.mark.parametrize(("days", "works"), [(1, True), (0, False), (367, False)])
def test_a_report_tells_of_as_many_days_as_it_is_asked_for(measured: Site, days: int, works: bool) -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    config = {"ops": {"neural_report": {"config": {"days": days}}}}

    def launched() -> dg.ExecuteInProcessResult:
        wanted = [dg.AssetKey("neural_report")]
        return job.execute_in_process(instance=measured.instance, asset_selection=wanted, run_config=config)

    if works:
        assert metadata(launched(), "neural_report")["period"] == str(datetime.now(UTC).date())
    else:
        with pytest.raises(Exception, match="days"):
            launched()


@pytest.mark.slow
def test_one_command_materialises_everything(measured: Site, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = environment_of(measured.engine, measured.engine.url, home)
    program = Path(sys.executable).with_name("dagster")
    command = [str(program), "asset", "materialize", "-m", "neural_pipeline.definitions", "--select", "*"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "STEP_FAILURE" not in done.stderr
    [page] = (home / "reports").glob("*.html")
    assert page.stat().st_size > 10_000
    kept = {path.name for path in (home / "dagster" / "storage").iterdir()}
    assert {view.name for view in VIEWS} <= kept
