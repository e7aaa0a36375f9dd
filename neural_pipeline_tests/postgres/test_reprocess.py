"""Reprocessing: a capture that is asked to replaces the observation of its event, and nothing is left of the old."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.memory import Entity
from neural_pipeline.store.batches import Token
from neural_pipeline.store.summaries import unexplained
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Findings
from neural_pipeline.workflows.observation_capture.work import Filtered
from neural_pipeline_tests.building import (
    accepted,
    begun_batch,
    column,
    end_run,
    event_of,
    examined,
    findings,
    one,
    persistence,
    receipt,
    take_in,
)
from neural_pipeline_tests.replaying import replay_event

OBSERVATION = "select * from lightfast_workspace_neural_observations where source_id = :id"
CLUSTERS = "select * from lightfast_workspace_observation_clusters order by id"
ADA, BOB = Entity("engineer", "@ada", "Ada", 0.9, "by @ada"), Entity("engineer", "@bob", "Bob", 0.8, "with @bob")


def handed_in(connection: Connection, *source_ids: str) -> list[int]:
    """Take an event of each source id in, under a delivery of its own; return the executions."""
    known = column(connection, "select count(*) from raw_payloads")[0]
    given = [receipt(f"d-{known + n}", judgement=accepted(name)) for n, name in enumerate(source_ids)]
    return [admission.event_id for admission in take_in(connection, *given) if admission.event_id is not None]


def work_off(engine: Engine, *results: Findings | Filtered | Failure, ids: list[int]) -> dict[str, int]:
    """Capture events as one batch, with these findings, the last of them for all the others too."""
    with engine.begin() as connection:
        token = begun_batch(connection, ids, run_id=f"run-{ids[0]}")
        found = [*results, *[results[-1] if results else findings()] * len(ids)]
        seen = [Examined(one.event, found[n]) for n, one in enumerate(examined(connection, token))]
    worker = persistence(engine, token)
    report = worker.keep(seen, worker.decide(seen, set()))
    settled(engine, token)
    return dict(report.outcomes)


def settled(engine: Engine, token: Token) -> None:
    with engine.begin() as connection:
        end_run(connection, token)


def captured(engine: Engine, *source_ids: str, found: Findings | None = None) -> list[int]:
    with engine.begin() as connection:
        ids = handed_in(connection, *source_ids)
    work_off(engine, found or findings(), ids=ids)
    return ids


def asked_anew(engine: Engine, *event_ids: int, request_id: str = "r") -> list[int]:
    with engine.begin() as connection:
        return [replay_event(connection, id_, reprocess=True, request_id=request_id) for id_ in event_ids]


def rows(engine: Engine, sql: str, **parameters: Any) -> list[dict[str, Any]]:
    with engine.begin() as connection:
        return [dict(row) for row in connection.execute(text(sql), parameters).mappings()]


def entities(engine: Engine) -> dict[str, tuple[int, int, str, str]]:
    """Each entity with its count, the number of its links, the source id of its first observation, and its evidence."""
    sql = """
    select e.key, e.occurrence_count, (select count(*) from observation_entities l where l.entity_id = e.id) as links,
      o.source_id, e.evidence_snippet
    from lightfast_workspace_neural_entities e
    left join lightfast_workspace_neural_observations o on o.id = e.source_observation_id
    """
    return {key: tuple(rest) for key, *rest in (row.values() for row in rows(engine, sql))}  # pyright: ignore[reportReturnType]


def unexplained_in(engine: Engine) -> int:
    with engine.begin() as connection:
        return unexplained(connection)


def test_without_being_asked_to_a_replay_of_a_capture_ends_as_a_duplicate(engine: Engine, workspace: str) -> None:
    [old] = captured(engine, "a")
    before = rows(engine, OBSERVATION, id="a")
    with engine.begin() as connection:
        new = replay_event(connection, old)
    assert work_off(engine, ids=[new]) == {"duplicate": 1}
    assert rows(engine, OBSERVATION, id="a") == before


def test_the_observation_is_replaced_and_stays_in_its_cluster(engine: Engine, workspace: str) -> None:
    old, _ = captured(engine, "a", "b")
    [before], clusters = rows(engine, OBSERVATION, id="a"), rows(engine, CLUSTERS)
    [new] = asked_anew(engine, old)
    # As different as can be: on its own it would begin another cluster.
    found = findings(BOB)
    other = replace(found, topics=("search",), entities=(BOB,), vectors=-np.ones((3, 8), np.float32), embedded_by="new")
    assert work_off(engine, other, ids=[new]) == {"captured": 1}
    [after] = rows(engine, OBSERVATION, id="a")
    assert after["id"] != before["id"]
    assert (after["external_id"], after["cluster_id"]) == (before["external_id"], before["cluster_id"])
    assert (after["event_id"], after["topics"]) == (new, ["search"])
    assert rows(engine, CLUSTERS) == clusters
    vectors = rows(engine, "select observation_id, model from observation_vectors order by 1")
    assert [row["model"] for row in vectors] == ["made-up"] * 3 + ["new"] * 3
    assert {row["observation_id"] for row in vectors} == {
        row["id"] for row in rows(engine, "select id from lightfast_workspace_neural_observations")
    }
    with engine.begin() as connection:
        output = event_of(connection, new)["output"]
        record = one(connection, "select * from replaced_observations")
    assert (output["status"], output["clusterIsNew"], output["clusterId"]) == (
        "success",
        False,
        str(before["cluster_id"]),
    )
    assert (record["event_id"], record["replaced_by_event_id"]) == (old, new)
    assert record["external_id"] == before["external_id"]
    assert unexplained_in(engine) == 0


def test_a_replaced_observation_is_explained_by_its_record_alone(engine: Engine, workspace: str) -> None:
    work_off(engine, ids=asked_anew(engine, *captured(engine, "a")))
    with engine.begin() as connection:
        connection.execute(text("delete from replaced_observations"))
    assert unexplained_in(engine) == 1


def test_a_record_of_a_replacement_that_never_was_is_noticed(engine: Engine, workspace: str) -> None:
    [old] = captured(engine, "a")
    with engine.begin() as connection:
        sql = "insert into replaced_observations (event_id, replaced_by_event_id, external_id) values (:id, :id, 'x')"
        connection.execute(text(sql), {"id": old})
    assert unexplained_in(engine) == 1


def test_entities_count_the_observations_that_speak_of_them(engine: Engine, workspace: str) -> None:
    [old] = captured(engine, "a", found=findings(ADA, BOB))
    captured(engine, "b", found=findings(Entity("engineer", "@ada", "Ada L", 0.7, "from b")))
    assert entities(engine) == {"@ada": (2, 2, "a", "by @ada"), "@bob": (1, 1, "a", "with @bob")}
    carl = Entity("engineer", "@carl", None, 0.9, "and @carl")
    work_off(engine, findings(carl), ids=asked_anew(engine, old))
    assert entities(engine) == {"@ada": (1, 1, "b", "from b"), "@carl": (1, 1, "a", "and @carl")}


def test_an_entity_spoken_of_before_and_after_is_counted_once(engine: Engine, workspace: str) -> None:
    [old] = captured(engine, "a", found=findings(ADA))
    work_off(engine, findings(Entity("engineer", "@ADA", None, 0.9, "still @ADA")), ids=asked_anew(engine, old))
    assert entities(engine) == {"@ada": (1, 1, "a", "still @ADA")}


@pytest.mark.parametrize("is_reprocessed", [False, True])
def test_an_entity_that_nothing_speaks_of_any_more_begins_anew_in_the_same_chunk(
    engine: Engine, workspace: str, is_reprocessed: bool
) -> None:
    [old] = captured(engine, "a", found=findings(BOB))
    [other] = captured(engine, "b", found=findings(ADA))
    [new] = asked_anew(engine, old)
    with engine.begin() as connection:
        [later] = handed_in(connection, "c")
    if is_reprocessed:
        [later] = asked_anew(engine, other)
    robert = Entity("engineer", "@bob", "Robert", 0.7, "from b")
    work_off(engine, findings(ADA), findings(robert), ids=[new, later])
    sql = "select value from lightfast_workspace_neural_entities where key = '@bob'"
    assert rows(engine, sql) == [{"value": "Robert"}]


def test_the_old_observation_stays_where_the_new_capture_ends_otherwise(engine: Engine, workspace: str) -> None:
    old = captured(engine, "a", "b")
    before = rows(engine, "select * from lightfast_workspace_neural_observations order by id")
    endings = (Filtered("below_threshold", 3), Failure("embed", "no", "ValueError", rejected=True))
    assert work_off(engine, *endings, ids=asked_anew(engine, *old)) == {"below_threshold": 1, "failed": 1}
    assert rows(engine, "select * from lightfast_workspace_neural_observations order by id") == before
    assert rows(engine, "select * from replaced_observations") == []
    assert unexplained_in(engine) == 0


def test_an_observation_whose_successor_cannot_be_stored_stays(engine: Engine, workspace: str) -> None:
    [old] = captured(engine, "a")
    before = rows(engine, OBSERVATION, id="a")
    unstorable = findings(Entity("engineer", "@x", None, 0.9, "nul \0"))
    assert work_off(engine, unstorable, ids=asked_anew(engine, old)) == {"failed": 1}
    assert rows(engine, OBSERVATION, id="a") == before
    assert entities(engine)["@ada"] == (1, 1, "a", "by @ada")


def test_where_there_is_no_observation_it_is_an_ordinary_capture(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        [failed] = handed_in(connection, "a")
    work_off(engine, Failure("embed", "no", "ValueError"), ids=[failed])
    [new] = asked_anew(engine, failed)
    assert work_off(engine, ids=[new]) == {"captured": 1}
    assert [row["observation_count"] for row in rows(engine, CLUSTERS)] == [1]
    assert rows(engine, "select * from replaced_observations") == []


def test_asked_twice_before_any_work_is_done_the_second_is_a_duplicate_in_one_batch_or_two(
    engine: Engine, workspace: str
) -> None:
    together, apart = captured(engine, "a", "b")
    ids = [*asked_anew(engine, together), *asked_anew(engine, together, request_id="r-2")]
    assert work_off(engine, ids=ids) == {"captured": 1, "duplicate": 1}
    first, second = [*asked_anew(engine, apart), *asked_anew(engine, apart, request_id="r-2")]
    assert [work_off(engine, ids=[first]), work_off(engine, ids=[second])] == [{"captured": 1}, {"duplicate": 1}]
    assert unexplained_in(engine) == 0


def test_asked_again_later_what_replaced_is_replaced_in_turn(engine: Engine, workspace: str) -> None:
    [first] = captured(engine, "a")
    [second] = asked_anew(engine, first)
    work_off(engine, ids=[second])
    [third] = asked_anew(engine, second)
    assert work_off(engine, ids=[third]) == {"captured": 1}
    records = rows(engine, "select event_id, replaced_by_event_id from replaced_observations order by 1")
    assert [tuple(record.values()) for record in records] == [(first, second), (second, third)]
    assert unexplained_in(engine) == 0


def test_an_observation_of_unknown_origin_keeps_its_own_external_id(engine: Engine, workspace: str) -> None:
    [old] = captured(engine, "a")
    [new] = asked_anew(engine, old)
    with engine.begin() as connection:
        connection.execute(text("update lightfast_workspace_neural_observations set external_id = 'theirs'"))
        connection.execute(text("update lightfast_workspace_neural_observations set event_id = null"))
    work_off(engine, ids=[new])
    [after] = rows(engine, OBSERVATION, id="a")
    assert (after["external_id"], after["embedding_title_id"]) == ("theirs", "obs_title_theirs")


def test_an_observation_without_a_cluster_finds_one(engine: Engine, workspace: str) -> None:
    old, _ = captured(engine, "a", "b")
    [new] = asked_anew(engine, old)
    with engine.begin() as connection:
        connection.execute(
            text("update lightfast_workspace_neural_observations set cluster_id = null where source_id = 'a'")
        )
    work_off(engine, ids=[new])
    assert [row["observation_count"] for row in rows(engine, CLUSTERS)] == [3]


def test_a_cluster_that_others_join_in_the_same_chunk_counts_them_and_not_the_replacement(
    engine: Engine, workspace: str
) -> None:
    [old] = captured(engine, "a")
    with engine.begin() as connection:
        before = handed_in(connection, "b")
    new = asked_anew(engine, old)
    with engine.begin() as connection:
        after = handed_in(connection, "c")
    work_off(engine, ids=[*before, *new, *after])
    assert [row["observation_count"] for row in rows(engine, CLUSTERS)] == [3]
    sql = (
        "select payload ->> 'observationCount' as n from incoming_events where function_id like '%summary' order by id"
    )
    assert [row["n"] for row in rows(engine, sql)] == ["1", "2", "2", "3"]
