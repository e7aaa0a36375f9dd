"""What a summary is made of is read set-wise and within the workspace; keeping it touches nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from neural_pipeline.contracts.memory import NewObservation
from neural_pipeline.store.cluster_summaries import NewSummary, facts_of, keep_summaries, latest_of, pictures_of
from neural_pipeline.store.clusters import keep_clusters
from neural_pipeline.workflows.cluster_summary.logic import Requested, SummaryRules
from neural_pipeline.workflows.cluster_summary.recall import Extent, recall
from neural_pipeline_tests.building import (
    NOON,
    column,
    decided,
    in_transaction,
    one,
    ready,
    waits_for_a_lock,
    workspaces,
)
from neural_pipeline_tests.clusters_with import a_cluster, an_observation

DAY = timedelta(days=1)
BEFORE = datetime(2026, 3, 1, tzinfo=UTC)


def summary(cluster_id: int, *, workspace_id: str = "ws_test", **changes: Any) -> NewSummary:
    fields: dict[str, Any] = {
        "seen": None,
        "summary": "The checkout was fixed.",
        "key_topics": ("checkout",),
        "key_contributors": ("ada",),
        "status": "completed",
        "summarized_by": "offline:extractive",
    }
    return NewSummary(workspace_id=workspace_id, cluster_id=cluster_id, **(fields | changes))


def cluster_of(connection: Connection, cluster_id: int) -> Any:
    return one(connection, "select * from lightfast_workspace_observation_clusters where id = :id", id=cluster_id)


def test_the_observations_of_a_cluster_are_counted_in_its_own_workspace(scratch: Connection):
    workspaces(scratch, "other")
    mine, empty = a_cluster(scratch, 3), a_cluster(scratch, 0)
    an_observation(scratch, mine, workspace_id="other")
    asked = [("ws_test", mine), ("ws_test", empty), ("other", mine), ("ws_test", 10**17)]
    found = sorted((row["workspace_id"], row["id"], row["observations"]) for row in facts_of(scratch, asked))
    assert found == [("ws_test", mine, 3), ("ws_test", empty, 0)]


def test_the_latest_observations_come_newest_first_with_the_beginning_of_their_content(scratch: Connection):
    id_ = a_cluster(scratch, 0)
    an_observation(scratch, id_, title="second", content="x" * 300, occurred_at=NOON)
    an_observation(scratch, id_, title="third", occurred_at=NOON + DAY, actor=None)
    an_observation(scratch, id_, title="first", occurred_at=NOON - DAY)
    an_observation(scratch, id_, title="third, stored later", occurred_at=NOON + DAY)
    rows = latest_of(scratch, [("ws_test", id_)], latest=3, snippet=200)
    assert [row["title"] for row in rows] == ["third, stored later", "third", "second"]
    assert [row["actor"] for row in rows] == ["ada", None, "ada"]
    assert rows[2]["snippet"] == "x" * 200
    [newest] = latest_of(scratch, [("ws_test", id_)], latest=1, snippet=200)
    assert newest["title"] == "third, stored later"


def test_kinds_and_people_are_counted_over_the_whole_cluster(scratch: Connection):
    id_ = a_cluster(scratch, 0)
    for n in range(3):
        an_observation(scratch, id_, kind="push", actor="bob", account="github:9", occurred_at=NOON + n * DAY)
    an_observation(scratch, id_, kind="push", actor="bobby", account="github:9", occurred_at=NOON + 9 * DAY)
    an_observation(scratch, id_, kind="issue.closed", actor="ada", account="github:7", occurred_at=NOON - DAY)
    an_observation(scratch, id_, kind="issue.closed", actor="cleo", account=None)
    an_observation(scratch, id_, kind="issue.closed", actor=None, account=None)
    [row] = pictures_of(scratch, [("ws_test", id_)], people=2)
    assert row["kinds"] == {"push": 4, "issue.closed": 3}
    assert row["names"] == ["bobby", "ada"], "one person by the newest of two names, then by name"
    assert (row["first_at"], row["last_at"]) == (NOON - DAY, NOON + 9 * DAY)


def test_the_newest_activity_is_the_workspace_s_own_and_never_in_the_future(scratch: Connection):
    workspaces(scratch, "other")
    id_ = a_cluster(scratch, 1)
    rest = a_cluster(scratch, 0)
    an_observation(scratch, rest, occurred_at=NOON + DAY)
    an_observation(scratch, rest, occurred_at=datetime(9999, 1, 1, tzinfo=UTC))
    an_observation(scratch, rest, occurred_at=NOON + 2 * DAY, workspace_id="other")
    [row] = pictures_of(scratch, [("ws_test", id_)], people=5)
    assert row["newest_at"] == NOON + DAY


@contextmanager
def counted(connection: Connection) -> Iterator[list[str]]:
    """Collect the statements that are run meanwhile."""
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(connection, "before_cursor_execute", note)
    yield statements
    event.remove(connection, "before_cursor_execute", note)


@pytest.mark.parametrize("size", [1, 7])
def test_a_batch_is_recalled_with_as_many_statements_as_a_single_request(scratch: Connection, size: int):
    requests = [Requested(n, "ws_test", str(a_cluster(scratch, 5))) for n in range(size)]
    with counted(scratch) as statements:
        recalled = recall(scratch, requests, SummaryRules(), Extent())
    assert len(recalled.subjects) == size
    assert len(statements) == 3


def test_what_is_recalled_is_what_is_stored(scratch: Connection):
    id_ = a_cluster(scratch, 4, label="Checkout", keywords=["github", "fix"])
    an_observation(scratch, id_, title="newest", content="why", actor=None, topics=None, occurred_at=NOON + DAY)
    recalled = recall(scratch, [Requested(1, "ws_test", str(id_))], SummaryRules(), Extent(2, 200))
    picture = recalled.subjects[1].picture
    assert (picture.label, picture.count, picture.keywords) == ("Checkout", 5, ("github", "fix"))
    assert [(seen.title, seen.actor, seen.snippet, seen.topics) for seen in picture.latest] == [
        ("newest", "unknown", "why", ()),
        ("[Push] Fix the checkout", "ada", "A text.", ("github", "push", "fix")),
    ]
    assert picture.people == ("ada",)


def test_a_summary_is_kept_with_all_that_belongs_to_it(scratch: Connection):
    id_, neighbour = a_cluster(scratch, 5), a_cluster(scratch, 5)
    untouched = cluster_of(scratch, neighbour)
    assert keep_summaries(scratch, [summary(id_)]) == ["kept"]
    row = cluster_of(scratch, id_)
    assert (row["summary"], row["activity"], row["status"]) == ("The checkout was fixed.", "completed", "open")
    assert (row["key_topics"], row["key_contributors"]) == (["checkout"], ["ada"])
    assert row["summarized_by"] == "offline:extractive"
    age = column(scratch, "select clock_timestamp() - :at", at=row["summary_generated_at"])[0]
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert row["updated_at"] > untouched["updated_at"]
    assert cluster_of(scratch, neighbour) == untouched


def test_another_workspace_s_cluster_is_gone_as_one_is_that_was_removed(scratch: Connection):
    workspaces(scratch, "other")
    id_ = a_cluster(scratch, 5)
    before = cluster_of(scratch, id_)
    assert keep_summaries(scratch, [summary(id_, workspace_id="other"), summary(10**17)]) == ["gone", "gone"]
    assert cluster_of(scratch, id_) == before


def test_of_two_summaries_of_a_cluster_the_first_is_kept(scratch: Connection):
    first, second = a_cluster(scratch, 5), a_cluster(scratch, 5)
    given = [summary(second), summary(first, summary="one"), summary(first, summary="two")]
    assert keep_summaries(scratch, given) == ["kept", "kept", "summarised_meanwhile"]
    assert cluster_of(scratch, first)["summary"] == "one"


def test_a_summary_gives_way_to_one_that_was_made_meanwhile(scratch: Connection):
    id_ = a_cluster(scratch, 5, summarised_at=BEFORE)
    assert keep_summaries(scratch, [summary(id_, seen=None)]) == ["summarised_meanwhile"]
    assert cluster_of(scratch, id_)["summary"] is None
    assert keep_summaries(scratch, [summary(id_, seen=BEFORE)]) == ["kept"]


def test_a_model_may_write_what_postgres_cannot_hold(scratch: Connection):
    id_ = a_cluster(scratch, 5)
    keep_summaries(scratch, [summary(id_, summary="a\ud800b", key_topics=("c\x00",), key_contributors=("\udfff",))])
    row = cluster_of(scratch, id_)
    assert (row["summary"], row["key_topics"], row["key_contributors"]) == ("a\ufffdb", ["c\ufffd"], ["\ufffd"])


SUMMARY_COLUMNS = "summary, summary_generated_at, key_topics, key_contributors, activity, summarized_by"


@pytest.mark.usefixtures("workspace")
def test_a_capture_that_goes_on_with_a_cluster_leaves_its_summary_alone(engine: Engine):
    _, seen = ready(engine, 1)
    [observation] = [one.verdict for one in decided(seen) if isinstance(one.verdict, NewObservation)]
    with engine.begin() as capture:
        [id_] = keep_clusters(capture, [observation]).values()
    with engine.connect() as capture, ThreadPoolExecutor(1) as threads:
        transaction = capture.begin()
        keep_clusters(capture, [observation])
        waiting = threads.submit(in_transaction, engine, lambda other: keep_summaries(other, [summary(id_)]))
        assert waits_for_a_lock(waiting)
        transaction.commit()
        assert waiting.result() == ["kept"]
    columns = f"select {SUMMARY_COLUMNS} from lightfast_workspace_observation_clusters"
    with engine.begin() as connection:
        kept = one(connection, columns)
        keep_clusters(connection, [observation])
        assert one(connection, columns) == kept
    assert None not in kept.values()


@pytest.mark.usefixtures("workspace")
def test_a_capture_and_summaries_of_the_same_clusters_do_not_wait_for_each_other(engine: Engine):
    _, seen = ready(engine, 2)
    observations = [one.verdict for one in decided(seen) if isinstance(one.verdict, NewObservation)]
    observations = [
        replace(one, cluster=replace(one.cluster, external_id=f"c{n}")) for n, one in enumerate(observations)
    ]
    with engine.begin() as connection:
        ids = list(keep_clusters(connection, observations).values())
    with engine.connect() as first, ThreadPoolExecutor(2) as threads:
        transaction = first.begin()
        keep_summaries(first, [summary(min(ids))])
        summaries = [summary(id_) for id_ in reversed(ids)]
        summarising = threads.submit(in_transaction, engine, lambda other: keep_summaries(other, summaries))
        assert waits_for_a_lock(summarising)
        capturing = threads.submit(
            in_transaction, engine, lambda other: keep_clusters(other, list(reversed(observations)))
        )
        assert waits_for_a_lock(capturing)
        transaction.commit()
        assert sorted(capturing.result().values()) == sorted(ids)
        assert summarising.result() == ["kept", "summarised_meanwhile"]
