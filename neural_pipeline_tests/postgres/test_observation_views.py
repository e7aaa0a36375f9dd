"""The views of observations, each against a count of the same rows in Python, however much is added up already."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.metrics.catalogue import BY_NAME
from neural_pipeline.metrics.frames import frame_of, numbers_of
from neural_pipeline.store.rollups import refresh
from neural_pipeline.workflows.observation_capture.work import Filtered
from neural_pipeline_tests.building import begun_batch, capture, column, end_run, in_transaction, waiting, workspaces
from neural_pipeline_tests.metric_log import A_DAY, ALL_DAYS, STATES, Log, a_log, percent, plain, read, rows_behind
from neural_pipeline_tests.retention_world import cancelled, captured, failed, replayed, settled

PLAN = """
SELECT
  tags->>'source' as source,
  SUM(CASE WHEN tags->>'resolved' = 'true' THEN 1 ELSE 0 END)::float / COUNT(*) * 100 as success_rate
FROM lightfast_workspace_operations_metrics
WHERE type = 'actor_resolution'
GROUP BY tags->>'source';
"""
VIEW = "select source, success_rate from actor_resolution_by_source"
FUNNEL = {
    "observation_duplicate": "duplicate",
    "observation_filtered": "not_allowed",
    "observation_below_threshold": "below_threshold",
    "observation_captured": "captured",
}
CAPTURE = "neural.observation.capture"
OF_METRICS = ("observation_funnel", "actor_resolution_by_source", "actor_resolution_by_method", "entities_extracted")


def a_metric(chance: random.Random) -> tuple[str, int, dict[str, Any]]:
    source = chance.choice(["github", "github", "vercel", "git"])
    type_ = chance.choice([*FUNNEL, "job_duration", "actor_resolution", "actor_resolution", "entities_extracted"])
    match type_:
        case "job_duration":
            outcome = chance.choice(["completed", "failed", "cancelled"])
            job = chance.choice([CAPTURE, CAPTURE, "neural.cluster.summary"])
            tags = {"jobType": job, "trigger": "webhook", "outcome": outcome, "sourceType": source}
            return type_, chance.randrange(1000), tags
        case "actor_resolution":
            method = chance.choice(["email", "github_id", "commit_sha", "username"])
            resolved = method != "username" and chance.random() < 0.9
            return type_, 1, {"source": source, "method": method, "resolved": resolved}
        case "entities_extracted":
            found = chance.randrange(9)
            return type_, found, {"source": source, "entityCount": found, "observationId": str(chance.random())}
        case _:
            return type_, 1, {"source": source, "sourceType": "push", "durationMs": chance.randrange(99)}


@pytest.fixture(scope="module", params=STATES)
def log(request: pytest.FixtureRequest, server: Path, template: str) -> Iterator[Log]:
    with a_log(server, template, request.param, draw=a_metric) as log:
        yield log


def of_the_funnel(log: Log) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Return metrics with the source and the column that each belongs to."""
    for row in log.of(*FUNNEL):
        yield row, row["tags"]["source"], FUNNEL[row["type"]]
    for row in log.of("job_duration", jobType=CAPTURE):
        if row["tags"]["outcome"] != "completed":
            yield row, row["tags"]["sourceType"], row["tags"]["outcome"]


def test_the_funnel_counts_each_event_once_and_its_columns_add_up(log: Log) -> None:
    expected: dict[Any, Counter[str]] = defaultdict(Counter)
    for row, source, name in of_the_funnel(log):
        expected[row["day"], source][name] += 1
        expected[row["day"], source]["received"] += 1
    found = plain(log.view("observation_funnel"), "day", "source")
    assert {key: +Counter(row) for key, row in found.items()} == expected
    numbers = numbers_of(log.connection, BY_NAME["observation_funnel"], A_DAY)
    of_day = Counter(name for row, _, name in of_the_funnel(log) if row["day"] == A_DAY.since)
    assert numbers == {
        "observations_received": of_day.total(),
        **{f"observations_{name}": of_day[name] for name in FUNNEL.values()},
    }


def test_the_query_of_the_plan_tells_what_the_view_does_to_the_last_bit(log: Log) -> None:
    by_query = {row["source"]: row["success_rate"] for row in read(log.connection, PLAN)}
    by_view = {row["source"]: row["success_rate"] for row in log.view("actor_resolution_by_source")}
    assert by_query == by_view
    assert by_query.keys() == {"github", "vercel", "git"}
    assert len(set(by_query.values()) - {0.0, 100.0}) == 3


def test_no_share_of_actors_is_rounded_otherwise_than_by_the_query_of_the_plan(scratch: Connection) -> None:
    sql = """
    insert into lightfast_workspace_operations_metrics (clerk_org_id, workspace_id, type, value, tags)
    select 'org_test', 'ws_test', 'actor_resolution', 1,
      jsonb_build_object('source', 'source ' || all_, 'resolved', n <= all_ / 3)
    from generate_series(1, 99) all_ cross join lateral generate_series(1, all_) n
    """
    scratch.execute(text(sql))
    by_query = {row["source"]: row["success_rate"] for row in read(scratch, PLAN)}
    assert by_query == {row["source"]: row["success_rate"] for row in read(scratch, VIEW)}
    assert len(by_query) == 99


def test_actors_resolved_are_counted_by_source_over_all_time(log: Log) -> None:
    events = Counter(row["tags"]["source"] for row in log.of("actor_resolution"))
    resolved = Counter(row["tags"]["source"] for row in log.of("actor_resolution", resolved=True))
    found = plain(log.view("actor_resolution_by_source"), "source")
    assert {key[0]: (row["events"], row["resolved"]) for key, row in found.items()} == {
        source: (events[source], resolved[source]) for source in events
    }
    numbers = numbers_of(log.connection, BY_NAME["actor_resolution_by_source"], A_DAY)
    rate = 100 * resolved.total() / events.total()
    assert numbers == {"actor_resolution_rate_overall_percent": pytest.approx(rate, rel=1e-12)}


def test_actors_are_counted_by_the_method_that_told_them(log: Log) -> None:
    def keys(*names: str, **tags: Any) -> Counter[Any]:
        rows = log.of("actor_resolution", **tags)
        return Counter((row["day"], *(row["tags"][name] for name in names)) for row in rows)

    events, resolved, all_methods = keys("source", "method"), keys("source", "method", resolved=True), keys("source")
    assert plain(log.view("actor_resolution_by_method"), "day", "source", "method") == {
        key: {"events": n, "resolved": resolved[key], "share": percent(n, all_methods[key[:2]])}
        for key, n in events.items()
    }
    numbers = numbers_of(log.connection, BY_NAME["actor_resolution_by_method"], ALL_DAYS)
    assert numbers == {
        "actor_events": events.total(),
        "actors_unresolved": events.total() - resolved.total(),
        "actor_resolution_rate_percent": percent(resolved.total(), events.total()),
    }


def test_entities_found_are_added_up_by_day_and_source(log: Log) -> None:
    found: dict[Any, list[int]] = defaultdict(list)
    for row in log.of("entities_extracted"):
        found[row["day"], row["tags"]["source"]].append(row["value"])
    assert plain(log.view("entities_extracted"), "day", "source") == {
        key: {"texts": len(n), "entities": sum(n), "entities_per_text": pytest.approx(sum(n) / len(n), abs=0.005)}
        for key, n in found.items()
    }
    numbers = numbers_of(log.connection, BY_NAME["entities_extracted"], ALL_DAYS)
    assert numbers == {"texts_searched": sum(map(len, found.values())), "entities_found": sum(map(sum, found.values()))}


@pytest.mark.parametrize("name", OF_METRICS)
def test_the_rows_behind_are_those_that_are_counted(log: Log, name: str) -> None:
    counted = {
        "observation_funnel": [row for row, _, _ in of_the_funnel(log)],
        "entities_extracted": list(log.of("entities_extracted")),
    }.get(name, list(log.of("actor_resolution")))
    if BY_NAME[name].by_day:
        counted = [row for row in counted if row["day"] == A_DAY.since]
    shown = rows_behind(log.connection, BY_NAME[name], A_DAY)
    assert 0 < len(counted) < 100
    assert {row["id"] for row in shown} == {row["id"] for row in counted}
    assert len(frame_of(log.connection, BY_NAME[name], A_DAY)) > 0


def everything_a_capture_can_end_in(engine: Engine) -> None:
    captured(engine, 2)
    bad = failed(engine)
    with engine.begin() as connection:
        cancelled(connection)
        kept_out = waiting(connection, 4, prefix="kept-out")
        token = begun_batch(connection, kept_out, run_id="run-of-those-kept-out")
    reasons = ("duplicate", "event_not_allowed", "below_threshold", "below_threshold")
    endings = {id_: Filtered(reason, 10.0) for id_, reason in zip(kept_out, reasons, strict=True)}
    capture(engine, token, but=dict(endings))
    in_transaction(engine, lambda connection: end_run(connection, token))
    again = in_transaction(engine, lambda connection: replayed(connection, bad))
    settled(engine, [again], failed=[again])


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("is_rolled_up", [False, True])
def test_as_many_events_are_received_as_captures_ended(engine: Engine, *, is_rolled_up: bool) -> None:
    everything_a_capture_can_end_in(engine)
    if is_rolled_up:
        refresh(engine)
    with engine.begin() as connection:
        sql = f"select day, ended from job_statistics where function_id = '{CAPTURE}'"
        ended = Counter({row["day"]: row["ended"] for row in read(connection, sql)})
        funnel = read(connection, "select * from observation_funnel")
        run_sql = "select id, completed_at from lightfast_workspace_workflow_runs where completed_at is not null"
        runs = read(connection, run_sql)
    received: Counter[Any] = Counter()
    for row in funnel:
        assert row["source"] == "github"
        received[row["day"]] += row["received"]
    assert received == ended
    assert sum((Counter({k: v for k, v in row.items() if type(v) is int}) for row in funnel), Counter()) == Counter(
        received=len(runs), duplicate=1, not_allowed=1, below_threshold=2, captured=2, failed=2, cancelled=1
    )


@pytest.mark.usefixtures("workspace")
def test_the_rows_behind_the_funnel_name_the_runs(engine: Engine) -> None:
    everything_a_capture_can_end_in(engine)
    with engine.begin() as connection:
        [today] = {row["day"] for row in read(connection, "select day from observation_funnel")}
        period = A_DAY._replace(since=today, until=today.replace(year=today.year + 1))
        shown = rows_behind(connection, BY_NAME["observation_funnel"], period)
        sql = "select id from lightfast_workspace_workflow_runs where completed_at is not null order by 1"
        assert sorted(row["run_id"] for row in shown) == column(connection, sql)


def entities(connection: Connection, workspace_id: str, category: str, count: int) -> None:
    sql = """
    insert into lightfast_workspace_neural_entities (workspace_id, category, key)
    select :workspace_id, :category, 'k' || n from generate_series(1, :count) n
    """
    connection.execute(text(sql), {"workspace_id": workspace_id, "category": category, "count": count})


def test_entities_are_counted_by_category_over_all_workspaces(scratch: Connection) -> None:
    workspaces(scratch, "ws_2")
    entities(scratch, "ws_test", "engineer", 2)
    entities(scratch, "ws_2", "engineer", 3)
    entities(scratch, "ws_2", "service", 10)
    view = BY_NAME["entities_by_category"]
    assert plain(read(scratch, "select * from entities_by_category"), "category") == {
        ("engineer",): {"entities": 5, "share": 33.33},
        ("service",): {"entities": 10, "share": 66.67},
    }
    assert numbers_of(scratch, view, A_DAY) == {"entities_known": 15}
    assert Counter(row["category"] for row in rows_behind(scratch, view, A_DAY)) == {"engineer": 5, "service": 10}
