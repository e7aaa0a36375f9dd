"""The views of memory, each against a count of the same rows in Python, however much is added up already."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.metrics.catalogue import BY_NAME
from neural_pipeline.metrics.frames import numbers_of
from neural_pipeline_tests.building import NOON, begun_batch, end_run, examined, persistence, waiting, workspaces
from neural_pipeline_tests.clusters_with import a_cluster, an_observation
from neural_pipeline_tests.metric_log import A_DAY, ALL_DAYS, STATES, Log, a_log, percent, plain, read, rows_behind
from neural_pipeline_tests.retention_world import replayed

JOBS = {
    "cluster_summaries": ("neural.cluster.summary", "cluster_summary_generated", "generated"),
    "profile_updates": ("neural.profile.update", "profile_updated", "updated"),
}
SCORES = (0, 0.5, 9.99, 10, 42.5, 69.999, 70, 99.9, 100)


def a_metric(chance: random.Random) -> tuple[str, int, dict[str, Any]]:
    kinds = ["cluster_summary_generated", "profile_updated", "job_duration", "cluster_assigned", "cluster_affinity"]
    match type_ := chance.choice([*kinds, "cluster_affinity", "job_duration", "job_duration"]):
        case "cluster_affinity" if chance.random() < 0.5:
            return type_, 1, {"affinityScore": chance.choice(SCORES), "joined": True, "clusterId": "7"}
        case "cluster_affinity":
            rejected = chance.choice([*SCORES, None, None, None, None])
            return type_, 1, {"bestRejectedScore": rejected, "joined": False, "clusterId": "8"}
        case "cluster_assigned":
            return type_, 1, {"clusterId": "7", "isNew": chance.random() < 0.5, "observationCount": 3}
        case "job_duration":
            job = chance.choice(["neural.observation.capture", *(job for job, *_ in JOBS.values())])
            ends = [("completed", how) for how in ("success", "skipped", "superseded")]
            outcome, result = chance.choice([*ends, ("failed", "failure"), ("cancelled", None)])
            return type_, 5, {"jobType": job, "trigger": "automatic", "outcome": outcome, "result": result}
        case _:
            return type_, 1, {"clusterId": "7"} if type_ == "cluster_summary_generated" else {"actorId": "github:7"}


@pytest.fixture(scope="module", params=STATES)
def log(request: pytest.FixtureRequest, server: Path, template: str) -> Iterator[Log]:
    with a_log(server, template, request.param, draw=a_metric) as log:
        yield log


def band_of(tags: dict[str, Any]) -> int | None:
    score = tags.get("affinityScore") if tags["joined"] else tags.get("bestRejectedScore")
    return None if score is None else min(int(score // 10) * 10, 90)


def test_affinities_are_counted_in_bands_of_ten_and_apart_where_there_was_nothing_to_compare(log: Log) -> None:
    expected: dict[Any, Counter[str]] = defaultdict(Counter)
    for row in log.of("cluster_affinity"):
        band = band_of(row["tags"])
        kind = "joined" if row["tags"]["joined"] else "without_candidate" if band is None else "rejected"
        expected[row["day"], band][kind] += 1
    found = plain(log.view("affinity_distribution"), "day", "band")
    assert {key: +Counter(row) for key, row in found.items()} == expected
    middles: dict[str, list[int]] = {
        kind: [band + 5 for (_, band), counts in expected.items() for _ in range(counts[kind]) if band is not None]
        for kind in ("joined", "rejected")
    }
    assert numbers_of(log.connection, BY_NAME["affinity_distribution"], ALL_DAYS) == {
        f"cluster_affinity_{kind}_points": pytest.approx(sum(points) / len(points), abs=0.051)
        for kind, points in middles.items()
    }


def test_the_join_rate_is_told_of_all_that_were_compared_and_of_those_that_could_join(log: Log) -> None:
    def of_day(*types: str, **tags: Any) -> Counter[Any]:
        return Counter(row["day"] for row in log.of(*types, **tags))

    assigned = of_day("cluster_assigned")
    joined, began = of_day("cluster_affinity", joined=True), of_day("cluster_affinity", joined=False)
    lonely = Counter(row["day"] for row in log.of("cluster_affinity", joined=False, bestRejectedScore=None))
    assert plain(log.view("cluster_join_rate"), "day") == {
        (day,): {
            "assigned": assigned[day],
            "stayed": assigned[day] - joined[day] - began[day],
            "joined": joined[day],
            "began": began[day],
            "with_candidates": joined[day] + began[day] - lonely[day],
            "join_rate": percent(joined[day], joined[day] + began[day]),
            "join_rate_with_candidates": percent(joined[day], joined[day] + began[day] - lonely[day]),
        }
        for day in assigned | joined | began
    }
    compared = joined.total() + began.total()
    assert numbers_of(log.connection, BY_NAME["cluster_join_rate"], ALL_DAYS) == {
        "clusters_begun": began.total(),
        "cluster_join_rate_percent": percent(joined.total(), compared),
        "cluster_join_rate_with_candidates_percent": percent(joined.total(), compared - lonely.total()),
    }


@pytest.mark.parametrize("name", JOBS)
def test_requests_are_counted_by_what_came_of_them(log: Log, name: str) -> None:
    job, metric, written = JOBS[name]
    expected: dict[Any, Counter[str]] = defaultdict(Counter)
    for row in log.of(metric):
        expected[row["day"]][written] += 1
    for row in log.of("job_duration", jobType=job):
        end = row["tags"].get("result") if row["tags"]["outcome"] == "completed" else row["tags"]["outcome"]
        expected[row["day"]].update([end] if end != "success" else [])
    found = plain(log.view(name), "day")
    assert {key[0]: +Counter(row) for key, row in found.items()} == expected
    numbers = numbers_of(log.connection, BY_NAME[name], A_DAY)
    assert list(numbers.values()) == [expected[A_DAY.since][written], expected[A_DAY.since]["failed"]]


@pytest.mark.parametrize("name", ["affinity_distribution", "cluster_join_rate", *JOBS])
def test_the_rows_behind_are_those_that_are_counted(log: Log, name: str) -> None:
    if name in JOBS:
        job, metric, _ = JOBS[name]
        jobs = log.of("job_duration", jobType=job)
        counted = [*log.of(metric), *(row for row in jobs if row["tags"].get("result") != "success")]
        assert any(row["tags"].get("outcome") == "cancelled" for row in counted if row["day"] == A_DAY.since)
    else:
        counted = list(log.of(*["cluster_affinity", "cluster_assigned"][: 1 + (name == "cluster_join_rate")]))
    counted = [row for row in counted if row["day"] == A_DAY.since]
    shown = rows_behind(log.connection, BY_NAME[name], A_DAY)
    assert 0 < len(counted) < 100
    assert {row["id"] for row in shown} == {row["id"] for row in counted}


@pytest.mark.usefixtures("workspace")
def test_an_observation_captured_anew_stays_and_neither_joins_nor_begins(engine: Engine) -> None:
    def work_off(ids: list[int], run_id: str) -> None:
        with engine.begin() as connection:
            token = begun_batch(connection, ids, run_id=run_id)
            seen = examined(connection, token)
        worker = persistence(engine, token)
        worker.keep(seen, worker.decide(seen, set()))
        with engine.begin() as connection:
            end_run(connection, token)

    with engine.begin() as connection:
        ids = waiting(connection, 3)
    work_off(ids, "run-1")
    with engine.begin() as connection:
        anew = replayed(connection, ids[0], reprocess=True)
    work_off([anew], "run-2")
    with engine.begin() as connection:
        [row] = read(connection, "select assigned, stayed, joined, began from cluster_join_rate")
    assert row == {"assigned": 4, "stayed": 1, "joined": 2, "began": 1}


def insert(connection: Connection, sql: str) -> None:
    connection.execute(text(sql), {"noon": NOON})


def another_workspace(connection: Connection) -> None:
    workspaces(connection, "w2")


def test_the_clusters_shown_are_the_fifty_of_each_workspace_with_the_latest_observation(scratch: Connection) -> None:
    another_workspace(scratch)
    for workspace, count in (("ws_test", 60), ("w2", 3)):
        insert(
            scratch,
            f"""
            insert into lightfast_workspace_observation_clusters (workspace_id, topic_label, observation_count,
              last_observation_at, summary)
            select '{workspace}', 'cluster ' || n, n % 7, case when n > 1 then :noon + n * interval '1 hour' end,
              case when n % 3 = 0 then 'a summary' end
            from generate_series(1, {count}) n
            """,
        )
    found = plain(read(scratch, "select * from cluster_activity"), "workspace_id", "label")
    expected = {("ws_test", n) for n in range(11, 61)} | {("w2", n) for n in (2, 3)}
    assert {
        (workspace, label): (row["observations"], row["has_summary"], row["last_observation_at"], row["status"])
        for (workspace, label), row in found.items()
    } == {
        (workspace, f"cluster {n}"): (n % 7, n % 3 == 0, NOON + timedelta(hours=n), "open") for workspace, n in expected
    }
    assert numbers_of(scratch, BY_NAME["cluster_activity"], A_DAY) == {
        "largest_active_cluster_observations": 6,
        "active_clusters_summarised_percent": percent(sum(n % 3 == 0 for _, n in expected), len(expected)),
    }


def test_the_actors_shown_are_the_fifty_of_each_workspace_active_last_without_merged_profiles(
    scratch: Connection,
) -> None:
    another_workspace(scratch)
    for workspace, count in (("ws_test", 60), ("w2", 3)):
        insert(
            scratch,
            f"""
            insert into lightfast_workspace_actor_profiles (workspace_id, actor_id, display_name, observation_count,
              last_active_at, merged_into)
            select '{workspace}', 'github:' || n, 'actor ' || n, n % 7, now() - {count} * interval '1 hour'
              + (n - 1) * interval '1 hour', case when n % 10 = 0 then 'github:1' end
            from generate_series(1, {count}) n
            """,
        )
    found = plain(read(scratch, "select * from actor_activity"), "workspace_id", "actor_id")
    expected = {("ws_test", n) for n in range(5, 61) if n % 10} | {("w2", n) for n in (1, 2, 3)}
    assert {key: (row["name"], row["observations"]) for key, row in found.items()} == {
        (workspace, f"github:{n}"): (f"actor {n}", n % 7) for workspace, n in expected
    }
    numbers = numbers_of(scratch, BY_NAME["actor_activity"], A_DAY)
    assert numbers == {"busiest_actor_observations": 6, "seconds_since_actor_activity": 3600}


def test_the_rows_behind_clusters_and_actors_are_their_observations(scratch: Connection) -> None:
    another_workspace(scratch)
    for workspace, count in (("ws_test", 4), ("w2", 2)):
        id_ = a_cluster(scratch, count, workspace_id=workspace)
        an_observation(scratch, id_, workspace_id=workspace, account=None)
    an_observation(scratch, id_, workspace_id="ws_test", account=None)  # another workspace's, which does not count
    insert(
        scratch,
        """
        update lightfast_workspace_observation_clusters c set last_observation_at = :noon, observation_count =
          (select count(*) from lightfast_workspace_neural_observations o
             where o.cluster_id = c.id and o.workspace_id = c.workspace_id)
        """,
    )
    insert(
        scratch,
        """
        insert into lightfast_workspace_actor_profiles (workspace_id, actor_id, display_name, observation_count,
          last_active_at)
        select workspace_id, canonical_actor_id, 'ada', count(*), :noon from lightfast_workspace_neural_observations
        where canonical_actor_id is not null group by 1, 2
        """,
    )
    for name, key in (("cluster_activity", "cluster_id"), ("actor_activity", "actor_id")):
        shown = Counter((row["workspace_id"], row[key]) for row in rows_behind(scratch, BY_NAME[name], A_DAY))
        counted = plain(read(scratch, f"select * from {name}"), "workspace_id", key)
        assert shown == {key: row["observations"] for key, row in counted.items()}
        assert len(shown) == 2
