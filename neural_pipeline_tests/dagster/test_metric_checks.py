"""The checks of metrics: green on a healthy site; each turns red when its fact is broken, and names who breaks it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import text

from neural_pipeline.definitions import defs, workflows
from neural_pipeline.metrics.assets import ROLLUPS
from neural_pipeline.metrics.of_now import WORKED_ON
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store.database import engine_for
from neural_pipeline_tests.building import begun_batch, open_batch, waiting
from neural_pipeline_tests.dagster.launching import REFUSE_MARKED_TITLES, Site
from neural_pipeline_tests.dagster.measuring import at_site, evaluation, materialised, metadata, site_of, worked_off

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
CHECKS = {key.name: key.asset_key.to_user_string() for key in defs.resolve_asset_graph().asset_check_keys}
RUNS = "lightfast_workspace_workflow_runs"
OBSERVATIONS = "lightfast_workspace_neural_observations"
METRICS = "lightfast_workspace_operations_metrics"


@pytest.fixture(scope="module")
def healthy(server: Path, template: str, instance: dg.DagsterInstance, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that real runs have worked in, for cloning."""
    create_database(server_url(server, "postgres"), "healthy_site", template=template)
    url = server_url(server, "healthy_site")
    with engine_for(url).begin() as connection:
        connection.execute(text(REFUSE_MARKED_TITLES))
    with site_of(url, instance, tmp_path_factory.mktemp("home")) as site:
        worked_off(site)
    engine_for(url).dispose()
    return "healthy_site"


@pytest.fixture
def broken(server: Path, healthy: str, instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[Site]:
    """A healthy site, to be broken."""
    admin, name = server_url(server, "postgres"), f"broken_{uuid4().hex}"
    create_database(admin, name, template=healthy)
    url = server_url(server, name)
    with at_site(url, instance, tmp_path / "home") as site:
        yield site
    engine_for(url).dispose()
    drop_database(admin, name)


def found(site: Site, check: str) -> tuple[bool, Any, dict[str, Any]]:
    """Return what a check says: whether it passed, else how severe that is, and its metadata."""
    said = evaluation(site, check, CHECKS[check])
    values = {name: getattr(value, "value", value) for name, value in said.metadata.items()}
    return said.passed, None if said.passed else said.severity, values


def offenders(site: Site, sql: str) -> list[int]:
    """Return the ids that a check's SQL shows, as somebody would who copies it from the user interface."""
    return site.column(sql.removeprefix("```\n").removesuffix("\n```"))


def red(site: Site, check: str, offence: str, *, severity: dg.AssetCheckSeverity = ERROR) -> list[int]:
    """Require a check to be red for one reason; return the ids that it names and that its SQL shows as well."""
    passed, how, values = found(site, check)
    assert (passed, how) == (False, severity)
    counts = {name for name, value in values.items() if f"{name}_ids" in values and value}
    assert counts == {offence}
    ids = sorted(values[f"{offence}_ids"])
    assert sorted(offenders(site, values[f"{offence}_sql"])) == ids
    assert values[offence] == len(ids)
    return ids


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_every_check_says_what_it_is_about(check: str) -> None:
    spec = next(one for one in defs.resolve_asset_graph().asset_check_keys if one.name == check)
    node = defs.resolve_asset_graph().get(spec)
    assert node.description
    assert not node.blocking


def test_the_functions_that_must_not_wait_are_those_with_a_workflow() -> None:
    assert workflows.keys() == WORKED_ON


def test_a_healthy_site_passes_every_check(broken: Site) -> None:
    result = materialised(broken, *sorted(set(CHECKS.values())))
    assert {one.check_name: one.passed for one in result.get_asset_check_evaluations()} == dict.fromkeys(CHECKS, True)


def test_a_record_that_does_not_add_up_is_an_error_and_the_rule_is_named(broken: Site) -> None:
    broken.execute(f"delete from {OBSERVATIONS} where id = (select min(id) from {OBSERVATIONS})")
    passed, severity, values = found(broken, "accounting_exact")
    assert (passed, severity, values["unexplained"]) == (False, ERROR, 1)
    [rule] = values["broken_rules"]
    assert rule.startswith("a captured execution has its observation")
    assert len(offenders(broken, values["sql"])) == 1


def test_an_audit_that_fails_leaves_the_last_one_which_is_a_warning_once_it_is_old(broken: Site) -> None:
    assert found(broken, "accounting_exact")[0]
    broken.execute("alter table accounting_audits add constraint no_more check (rule = '') not valid")
    assert found(broken, "accounting_exact")[0]
    before = "audited_at = clock_timestamp() - interval '4 hours'"
    broken.execute("alter table accounting_audits drop constraint no_more")
    broken.execute(f"update accounting_audits set {before}")
    broken.execute("alter table accounting_audits add constraint no_more check (rule = '') not valid")
    result = materialised(broken, "accounting")
    assert metadata(result, "accounting")["accounting_audit_age_seconds"] == pytest.approx(4 * 3600, abs=60)
    assert found(broken, "accounting_exact")[:2] == (False, WARN)
    broken.execute("delete from accounting_audits")
    assert found(broken, "accounting_exact")[:2] == (False, WARN)


def test_a_batch_that_no_run_takes_is_an_error(broken: Site) -> None:
    with broken.engine.begin() as connection:
        batch_id = open_batch(connection, waiting(connection, 1, prefix="stuck"))
    assert found(broken, "nothing_stuck")[0]
    broken.execute("update event_batches set assigned_at = now() - interval '1 hour' where id = :id", id=batch_id)
    assert red(broken, "nothing_stuck", "batches_untaken") == [batch_id]


def test_a_batch_that_outlives_its_lease_is_an_error(broken: Site) -> None:
    with broken.engine.begin() as connection:
        token = begun_batch(connection, waiting(connection, 1, prefix="stuck"))
    broken.execute("update event_batches set lease_until = now() - interval '1 hour' where id = :id", id=token.batch_id)
    assert red(broken, "nothing_stuck", "batches_unsettled") == [token.batch_id]


def test_a_run_that_nobody_works_on_is_an_error(broken: Site) -> None:
    with broken.engine.begin() as connection:
        [event_id] = waiting(connection, 1, prefix="stuck")
    run_id = broken.run_of(event_id)["id"]
    broken.execute(f"update {RUNS} set status = 'running', started_at = now() where id = :id", id=run_id)
    assert red(broken, "nothing_stuck", "runs_without_batch") == [run_id]


def late(site: Site, seconds: int) -> list[int]:
    with site.engine.begin() as connection:
        events = waiting(connection, 2, prefix="late")
    site.execute(
        "update incoming_events set due_at = now() - make_interval(secs => :seconds) where id = any(:ids)",
        seconds=seconds, ids=events,
    )  # fmt: skip
    return [site.run_of(event_id)["id"] for event_id in events]


@pytest.mark.parametrize(("seconds", "severity"), [(800, ERROR), (500, WARN)])
def test_what_waits_beyond_the_bound_is_an_error_beyond_half_of_it_a_warning(
    broken: Site, monkeypatch: pytest.MonkeyPatch, seconds: int, severity: dg.AssetCheckSeverity
) -> None:
    monkeypatch.setenv("NEURAL_MAX_WAIT_SECONDS", "700")
    runs = late(broken, seconds)
    assert red(broken, "inbox_lag_within_bound", "runs_waiting", severity=severity) == runs
    monkeypatch.setenv("NEURAL_MAX_WAIT_SECONDS", "2000")
    assert found(broken, "inbox_lag_within_bound")[0]


def test_what_is_on_a_batch_and_has_not_begun_waits_as_well(broken: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_MAX_WAIT_SECONDS", "700")
    runs = late(broken, 800)
    with broken.engine.begin() as connection:
        batch_id = open_batch(connection, broken.column("select id from incoming_events where outcome is null"))
    assert red(broken, "inbox_lag_within_bound", "runs_waiting") == runs
    broken.execute("update incoming_events set begun_at = now() where batch_id = :id", id=batch_id)
    assert found(broken, "inbox_lag_within_bound")[0]


def test_events_of_functions_without_a_workflow_may_wait(broken: Site) -> None:
    late(broken, 5000)
    broken.execute("update incoming_events set function_id = 'source-sync' where delivery_id like 'late-%'")
    assert found(broken, "inbox_lag_within_bound")[0]
    numbers = metadata(materialised(broken, "inbox_lag"), "inbox_lag")
    assert (numbers["inbox_due"], numbers["inbox_oldest_due_seconds"]) == (0, 0)
    broken.execute("update incoming_events set function_id = 'neural.profile.update' where delivery_id = 'late-0'")
    numbers = metadata(materialised(broken, "inbox_lag"), "inbox_lag")
    assert (numbers["inbox_due"], numbers["inbox_oldest_due_seconds"]) == (1, pytest.approx(5000, abs=60))


def test_an_observation_captured_twice_is_an_error(broken: Site) -> None:
    assert found(broken, "no_duplicate_observation")[0]
    broken.execute("drop index obs_source_id_idx")
    ids = broken.column(f"select id from {OBSERVATIONS} order by id limit 2")
    broken.execute(f"update {OBSERVATIONS} set source_id = 'a' where id = any(:ids)", ids=ids)
    assert red(broken, "no_duplicate_observation", "duplicate_observations") == ids


def test_two_observations_of_one_execution_are_an_error(broken: Site) -> None:
    first, *_, last = broken.column(f"select id from {OBSERVATIONS} order by id")
    broken.execute(
        f"update {OBSERVATIONS} set event_id = (select event_id from {OBSERVATIONS} where id = :first) where id = :id",
        first=first, id=last,
    )  # fmt: skip
    assert red(broken, "no_duplicate_observation", "duplicate_observations") == [first, last]


def test_an_end_without_a_duration_and_one_with_two_are_errors(broken: Site) -> None:
    measured = broken.rows(f"select id, event_id from {METRICS} where type = 'job_duration' order by event_id")
    broken.execute(f"delete from {METRICS} where id = :id", id=measured[0]["id"])
    broken.execute(
        f"insert into {METRICS} (clerk_org_id, workspace_id, type, value, unit, tags, timestamp, event_id)"
        f" select clerk_org_id, workspace_id, type, value, unit, tags, timestamp, event_id from {METRICS}"
        " where id = :id", id=measured[1]["id"],
    )  # fmt: skip
    runs = [broken.run_of(one["event_id"])["id"] for one in measured[:2]]
    assert red(broken, "every_end_is_measured", "runs_unmeasured") == runs


def test_an_execution_without_its_row_is_an_error(broken: Site) -> None:
    with broken.engine.begin() as connection:
        [event_id] = waiting(connection, 1, prefix="gap")
    broken.execute(f"delete from {RUNS} where event_id = :id", id=event_id)
    assert red(broken, "every_end_is_measured", "events_without_run") == [event_id]


def test_an_end_that_does_not_reach_the_record_is_an_error(broken: Site) -> None:
    with broken.engine.begin() as connection:
        [event_id] = waiting(connection, 1, prefix="gap")
    end = "update incoming_events set outcome = 'cancelled', outcome_at = now() - make_interval(secs => :age)"
    broken.execute(f"{end} where id = :id", age=60, id=event_id)
    assert found(broken, "nothing_stuck")[0]
    broken.execute(f"{end} where id = :id", age=3600, id=event_id)
    assert red(broken, "nothing_stuck", "runs_unrecorded") == [broken.run_of(event_id)["id"]]
    assert found(broken, "every_end_is_measured")[0], "one fact turns one check red"


def test_a_function_that_fails_too_often_is_a_warning_or_an_error_once_there_is_enough_to_tell(
    broken: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the five captures has failed: 20 %."""
    failed = broken.column(f"select id from {RUNS} where status = 'failed'")
    assert found(broken, "failure_rate")[0], "five executions say nothing"
    monkeypatch.setenv("NEURAL_CHECK_MIN_EXECUTIONS", "5")
    assert red(broken, "failure_rate", "runs_failed", severity=WARN) == failed
    monkeypatch.setenv("NEURAL_FAILURE_RATE_ERROR_PERCENT", "19")
    assert red(broken, "failure_rate", "runs_failed", severity=ERROR) == failed
    monkeypatch.setenv("NEURAL_FAILURE_RATE_WARN_PERCENT", "21")
    monkeypatch.setenv("NEURAL_FAILURE_RATE_ERROR_PERCENT", "22")
    assert found(broken, "failure_rate")[0]


def test_failures_of_days_before_do_not_count(broken: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_CHECK_MIN_EXECUTIONS", "1")
    broken.execute(f"update {METRICS} set timestamp = timestamp - interval '2 days'")
    assert found(broken, "failure_rate")[0]
    monkeypatch.setenv("NEURAL_CHECK_DAYS", "3")
    assert not found(broken, "failure_rate")[0]


def test_what_fails_shortly_before_midnight_is_judged_after_it(broken: Site) -> None:
    broken.execute(
        f"insert into {METRICS} (clerk_org_id, workspace_id, type, value, unit, tags, timestamp, event_id)"
        " select clerk_org_id, workspace_id, type, value, unit, tags,"
        " date_trunc('day', now(), 'UTC') - interval '30 minutes', null"
        f" from {METRICS} cross join generate_series(1, 500)"
        " where type = 'job_duration' and tags ->> 'outcome' = 'failed'"
    )
    passed, severity, values = found(broken, "failure_rate")
    assert (passed, severity) == (False, ERROR)
    assert values["worst_failure_rate_percent"] > 98


def test_too_few_actors_resolved_to_persons_are_a_warning_once_there_are_enough_to_tell(
    broken: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.execute(
        f"update {METRICS} set tags = jsonb_set(tags, '{{resolved}}', to_jsonb(id % 2 = 0)) where type = :type",
        type="actor_resolution",
    )
    runs = broken.column(
        f"select r.id from {METRICS} m join {RUNS} r on r.event_id = m.event_id"
        " where m.type = 'actor_resolution' and m.id % 2 = 1 order by 1"
    )
    assert runs
    assert found(broken, "resolution_rate")[0], "so few events say nothing"
    monkeypatch.setenv("NEURAL_CHECK_MIN_EXECUTIONS", "1")
    monkeypatch.setenv("NEURAL_RESOLUTION_RATE_WARN_PERCENT", "99")
    assert red(broken, "resolution_rate", "runs_unresolved", severity=WARN) == runs
    monkeypatch.setenv("NEURAL_RESOLUTION_RATE_WARN_PERCENT", "1")
    assert found(broken, "resolution_rate")[0]


def test_metrics_that_are_not_added_up_are_a_warning(broken: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The roll-up of the run itself comes to nothing: somebody is writing metrics all the time."""
    monkeypatch.setattr("neural_pipeline.store.rollups._writers_end", lambda *_: False)
    assert found(broken, "metrics_fresh")[0]
    broken.execute(f"update {METRICS} set created_at = now() - interval '4 hours' where id <= 2")
    assert red(broken, "metrics_fresh", "metrics_not_added_up", severity=WARN) == [1, 2]
    monkeypatch.setenv("NEURAL_METRICS_FRESH_HOURS", "5")
    assert found(broken, "metrics_fresh")[0]
    broken.execute("update rollup_progress set refreshed_at = now() - interval '6 hours'")
    passed, severity, values = found(broken, "metrics_fresh")
    assert (passed, severity) == (False, WARN)
    assert values["seconds_since_rollup"] == pytest.approx(6 * 3600, abs=60)


def test_metrics_that_cannot_be_added_up_now_fail_no_asset(broken: Site) -> None:
    broken.execute("alter table rollup_progress add constraint stands check (through_id < 0) not valid")
    result = materialised(broken, ROLLUPS, "job_statistics")
    assert result.success
    assert metadata(result, ROLLUPS) == {"is_behind": True}
    assert metadata(result, "job_statistics")["executions_failed"] == 1


def test_at_most_twenty_offenders_are_named(broken: Site) -> None:
    with broken.engine.begin() as connection:
        events = waiting(connection, 21, prefix="gap")
    broken.execute(f"delete from {RUNS} where event_id = any(:ids)", ids=events)
    passed, _, values = found(broken, "every_end_is_measured")
    assert not passed
    assert values["events_without_run"] == 21
    assert len(values["events_without_run_ids"]) == 20
    assert sorted(offenders(broken, values["events_without_run_sql"])) == events
