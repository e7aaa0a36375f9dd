"""Migration 0004 writes the durations that executions lacked which never began, and drops attempts to find nobody."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.store import rollups
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.migrate import upgrade
from neural_pipeline.store.retention_records import remove_metrics
from neural_pipeline.workflows.retention.pruning import STEPS
from neural_pipeline_tests.building import column, run_of, waiting, workspaces
from neural_pipeline_tests.debouncing import news
from neural_pipeline_tests.former_schema import database_at
from neural_pipeline_tests.measuring import complaints
from neural_pipeline_tests.replaying import PAYLOADS, appended
from neural_pipeline_tests.retention_world import age, pages, settled, today

METRICS = "lightfast_workspace_operations_metrics"
NEVER_BEGAN = ("superseded", "cancelled", "payload pruned", "synchronisation")
BEFORE = f"""
delete from {METRICS} where tags ->> 'begun' = 'false';
update {METRICS} set tags = tags - array['begun', 'result', 'sourceType', 'queueWaitMs', 'totalMs']
where type in ('job_duration', 'errors');
insert into {METRICS} (clerk_org_id, workspace_id, type, value, unit, tags, event_id)
select clerk_org_id, workspace_id, type, value, unit,
  '{{"resolved": false, "source": "git", "method": "none"}}', event_id
from {METRICS} where type = 'actor_resolution';
"""
"""What the program of 0003 left: durations of those that began, not how they waited, and attempts to find nobody."""


@dataclass(frozen=True)
class Migrated:
    """A database brought up from 0003, the executions in it by name, and the metrics that it had, by id."""

    engine: Engine
    ids: dict[str, int]
    before: dict[int, str]


@pytest.fixture(scope="module")
def migrated(server: Path) -> Iterator[Migrated]:
    with database_at(server, "0003") as engine:
        ids = happen(engine)
        with engine.begin() as connection:
            connection.execute(text(BEFORE))
            before = metrics(connection)
        assert upgrade(engine) is True
        yield Migrated(engine, ids, before)


@pytest.fixture
def connection(migrated: Migrated) -> Iterator[Connection]:
    """A transaction in that database which is rolled back."""
    with migrated.engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


def happen(engine: Engine) -> dict[str, int]:
    """Have executions end in every way, one so long ago that its payload is gone, and one that its record is."""
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
        connection.execute(
            text("select setval(pg_get_serial_sequence('lightfast_workspace_workflow_runs', 'id'), 7000)")
        )
        captured, failed, cancelled, old, ancient, waits = waiting(connection, 6)
        superseded, _ = news(connection, "github:1", "n-1"), news(connection, "github:1", "n-2")
        sync = appended(connection, PAYLOADS["sync"])
        for id_ in (cancelled, old, ancient, sync):
            cancel_event(connection, id_, by="ada")
    settled(engine, [captured, failed], failed=[failed])
    with engine.begin() as connection:
        age(connection, 60, old)
        age(connection, 600, ancient)
        for _ in pages(connection, today(connection), [step for step in STEPS if step is not remove_metrics]):
            pass
    return {
        "captured": captured,
        "failed": failed,
        "superseded": superseded,
        "cancelled": cancelled,
        "payload pruned": old,
        "record pruned": ancient,
        "waits": waits,
        "synchronisation": sync,
    }


def metrics(connection: Connection) -> dict[int, str]:
    return {row.id: row.content for row in connection.execute(text(f"select id, m::text as content from {METRICS} m"))}


def durations(connection: Connection, event_id: int) -> list[dict[str, Any]]:
    sql = f"select * from {METRICS} where event_id = :id and type = 'job_duration'"
    return [dict(row) for row in connection.execute(text(sql), {"id": event_id}).mappings()]


@pytest.mark.parametrize("name", NEVER_BEGAN)
def test_an_execution_that_never_began_has_the_duration_that_the_program_writes_now(
    connection: Connection, migrated: Migrated, name: str
) -> None:
    id_ = migrated.ids[name]
    assert [found for found in complaints(connection) if f"event {id_})" in found] == []
    [duration] = durations(connection, id_)
    assert duration["id"] not in migrated.before
    assert duration["timestamp"] == run_of(connection, id_)["completed_at"]


def test_the_payload_and_the_record_that_retention_took_are_really_gone(
    connection: Connection, migrated: Migrated
) -> None:
    sql = "select pruned_at is not null from incoming_events where id = :id"
    assert column(connection, sql, id=migrated.ids["payload pruned"]) == [True]
    assert column(connection, sql, id=migrated.ids["record pruned"]) == []
    assert durations(connection, migrated.ids["record pruned"]) == []


@pytest.mark.parametrize(("name", "number"), [("captured", 1), ("failed", 1), ("waits", 0)])
def test_what_began_is_not_measured_again_and_what_waits_not_yet(
    connection: Connection, migrated: Migrated, name: str, number: int
) -> None:
    assert len(durations(connection, migrated.ids[name])) == number


def test_attempts_to_find_nobody_are_gone_and_every_other_metric_is_as_it_was(
    connection: Connection, migrated: Migrated
) -> None:
    nobody = {id_ for id_, content in migrated.before.items() if '"method": "none"' in content.replace('""', '"')}
    assert len(nobody) == 1
    after = metrics(connection)
    told = set(column(connection, f"select id from {METRICS} where event_id = :id", id=migrated.ids["failed"]))
    kept = {id_: content for id_, content in migrated.before.items() if id_ not in nobody | told}
    assert kept.items() <= after.items()
    assert len(after) == len(kept) + len(told) + len(NEVER_BEGAN)


def test_of_a_capture_that_failed_the_metrics_and_the_funnel_tell_the_source(
    connection: Connection, migrated: Migrated
) -> None:
    sql = f"select type, tags ->> 'sourceType' as source from {METRICS} where event_id = :id order by 1"
    found = connection.execute(text(sql), {"id": migrated.ids["failed"]}).all()
    assert found == [("errors", "github"), ("job_duration", "github")]
    funnel = "select source, failed, cancelled from observation_funnel where failed + cancelled > 0"
    assert {row.source for row in connection.execute(text(funnel))} == {"github"}


def test_what_the_migration_wrote_is_added_up_with_the_rest(migrated: Migrated) -> None:
    rollups.refresh(migrated.engine)
    with migrated.engine.begin() as connection:
        [ended] = column(connection, "select sum(metrics) from metric_days where type = 'job_duration'")
        assert ended == 2 + len(NEVER_BEGAN)
        assert column(connection, "select sum(runs) from metric_hours") == [ended]
