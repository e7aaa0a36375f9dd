"""Replays through the job: duplicates, observations that are replaced, and events that a fixed transformer heals."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from neural_pipeline.cli.rejudging import Judge
from neural_pipeline.contracts.events import Actor
from neural_pipeline.settings import Settings
from neural_pipeline.store.replay import Answer, Replay, replay
from neural_pipeline.store.summaries import unexplained
from neural_pipeline_tests.building import source_event, workspaces
from neural_pipeline_tests.dagster.conftest import empty
from neural_pipeline_tests.dagster.launching import UNEMBEDDABLE, UNSTORABLE, Site
from neural_pipeline_tests.dagster.test_batch_equals_singles import FACTS, facts
from neural_pipeline_tests.dagster.test_launchpad import SOURCE_EVENT, WEBHOOK

ONE_OBSERVATION = "select * from lightfast_workspace_neural_observations"
SPOIL = 'update incoming_events set payload = \'{"sourceEvent": {"sourceId": "spoilt"}}\' where id = :id'


def replayed(site: Site, *event_ids: int, reprocess: bool = False, request_id: str = "r") -> list[Answer]:
    runs = [site.run_of(id_)["id"] for id_ in event_ids]
    wish = Replay(request_id, "grace", reprocess=reprocess)
    with site.engine.begin() as connection:
        return replay(connection, runs, wish, judge=Judge.of(Settings.load()))


def event_of(site: Site, answer: Answer) -> int:
    sql = "select event_id from lightfast_workspace_workflow_runs where id = :id"
    return site.count(sql, id=answer.new_run_id)


def accounted(site: Site) -> int:
    with site.engine.begin() as connection:
        return unexplained(connection)


def retitled(site: Site, event_id: int, title: str) -> None:
    """Change what is stored of an event, as a new rule would read it differently."""
    sql = "update incoming_events set payload = jsonb_set(payload, '{sourceEvent,title}', to_jsonb(cast(:t as text)))"
    site.execute(f"{sql} where id = :id", t=title, id=event_id)


def test_a_replayed_capture_is_assigned_like_any_event_and_ends_as_a_duplicate(site: Site):
    [id_] = site.ingest(source_event("a"))
    site.work_off()
    [answer] = replayed(site, id_)
    assert len(site.work_off()) == 1
    assert site.reason_of(event_of(site, answer)) == "duplicate"
    assert site.count(f"select count(*) from ({ONE_OBSERVATION}) o") == 1
    assert accounted(site) == 0


def test_a_reprocessed_capture_replaces_the_observation_in_its_cluster(site: Site):
    id_, _ = site.ingest(source_event("a"), source_event("b"))
    site.work_off()
    before = site.row(f"{ONE_OBSERVATION} where source_id = 'a'")
    cluster = site.rows("select * from lightfast_workspace_observation_clusters")
    retitled(site, id_, "[Issue Opened] New feature for @bob in the search")
    [answer] = replayed(site, id_, reprocess=True)
    site.work_off()
    after = site.row(f"{ONE_OBSERVATION} where source_id = 'a'")
    assert (after["title"], after["event_id"]) == (
        "[Issue Opened] New feature for @bob in the search",
        event_of(site, answer),
    )
    assert (after["external_id"], after["cluster_id"]) == (before["external_id"], before["cluster_id"])
    assert site.rows("select * from lightfast_workspace_observation_clusters") == cluster
    sql = "select type from lightfast_workspace_operations_metrics where event_id = :id order by type"
    assert site.column(sql, id=event_of(site, answer)) == [
        "actor_resolution",
        "cluster_assigned",
        "entities_extracted",
        "job_duration",
        "observation_captured",
    ]
    assert accounted(site) == 0


@pytest.mark.parametrize(("title", "ending"), [("typo", "below_threshold"), (f"Fix what is {UNSTORABLE}", "failure")])
def test_where_reprocessing_comes_to_nothing_the_observation_stays(site: Site, title: str, ending: str):
    [id_] = site.ingest(source_event("a"))
    site.work_off()
    before = site.rows(ONE_OBSERVATION)
    sql = "update incoming_events set payload = jsonb_set(payload, '{sourceEvent,sourceType}', '\"issue.closed\"')"
    site.execute(sql + " where id = :id", id=id_)
    retitled(site, id_, title)
    [answer] = replayed(site, id_, reprocess=True)
    site.work_off()
    assert site.reason_of(event_of(site, answer)) == ending
    assert site.rows(ONE_OBSERVATION) == before
    assert accounted(site) == 0


def spoilt_webhook(site: Site) -> int:
    """A webhook whose event was stored in a way that cannot be read: its capture was rejected."""
    site.execute("update lightfast_org_workspaces set settings = '{\"version\": 2}'")
    site.capture({"workspace_id": "ws_test", "events": [WEBHOOK]})
    return _rejected(site)


def spoilt_source_event(site: Site) -> int:
    site.execute("update lightfast_org_workspaces set settings = '{\"version\": 2}'")
    site.capture({"workspace_id": "ws_test", "events": [SOURCE_EVENT]})
    return _rejected(site)


def _rejected(site: Site) -> int:
    [id_] = site.column("select id from incoming_events where cause = 'rejected'")
    site.execute(SPOIL, id=id_)
    settings = {"version": 1, "embedding": {"namespaceName": "tests"}}
    site.execute("update lightfast_org_workspaces set settings = cast(:s as jsonb)", s=json.dumps(settings))
    return id_


@pytest.mark.parametrize(
    ("spoilt", "source_id"),
    [(spoilt_webhook, "issue:acme/shop#5:opened@2026-03-02T12:00:00Z"), (spoilt_source_event, "typed")],
)
def test_a_rejected_event_is_healed_by_its_transformer_whichever_way_it_came(
    site: Site, spoilt: Callable[[Site], int], source_id: str
):
    [answer] = replayed(site, spoilt(site))
    assert answer.refusal is None
    site.work_off()
    assert site.reason_of(event_of(site, answer)) == "success"
    assert site.row(ONE_OBSERVATION)["source_id"] == source_id
    assert accounted(site) == 0


def test_an_unreadable_event_is_healed(site: Site):
    site.execute("update lightfast_org_workspaces set settings = '{\"version\": 2}'")
    id_ = spoilt_webhook(site)
    [unread] = replayed(site, id_)
    site.execute(SPOIL, id=event_of(site, unread))
    site.work_off()
    run = site.run_of(event_of(site, unread))
    assert (run["status"], run["cause"], run["output"]["step"]) == ("failed", "rejected", "load")
    [answer] = replayed(site, event_of(site, unread), request_id="again")
    site.work_off()
    assert site.reason_of(event_of(site, answer)) == "success"


def test_what_the_transformer_refuses_now_is_refused_with_its_reason(site: Site, monkeypatch: pytest.MonkeyPatch):
    id_ = spoilt_webhook(site)
    monkeypatch.setenv("NEURAL_ALLOWED_EVENTS", "push")
    [answer] = replayed(site, id_)
    assert answer.refusal == "its payload is still refused as unsupported: issues.opened is not taken in"
    assert site.count("select count(*) from incoming_events") == 1


ADA, BOB = Actor(id="7", name="ada"), Actor(id="8", name="bob")
FIRST = (
    source_event("a", title="[PR Opened] Fix the checkout for @ada, see #12", actor=ADA),
    source_event("b", title="[PR Opened] Fix the checkout with @bob", actor=BOB),
    source_event("c", title="[PR Opened] Search index in src/search/index.ts", actor=BOB),
)
RETITLED = {
    1: "[PR Opened] Fix the checkout of @carl, see #12 and #13",
    2: "[PR Opened] Search index with @Ada",
    3: f"[PR Opened] Fix the {UNSTORABLE} search",
}
LATER = (
    source_event("d", title="[PR Opened] Fix the checkout with @bob and @dora", actor=ADA),
    source_event("e", title="[PR Opened] Fix the checkout", body=UNEMBEDDABLE),
    source_event("a", title="[PR Opened] Again"),
    source_event("f", title="[PR Opened] Search index in src/search/index.ts, see #12", actor=BOB),
)


def reworked(site: Site, *, most: int, chunk: int) -> tuple[dict[str, Any], int]:
    """Capture, then reprocess amid other events, in batches of at most `most`; return facts and the number of runs."""
    empty(site.engine)
    with site.engine.begin() as connection:
        workspaces(connection, "ws_b")
    for run in site.instance.get_runs():
        site.instance.delete_run(run.run_id)
    ids = [site.ingest(event)[0] for event in FIRST]
    site.work_off()
    for id_, title in RETITLED.items():
        retitled(site, id_, title)
    site.ingest(LATER[0])
    replayed(site, *ids, reprocess=True)
    for event in LATER[1:]:
        site.ingest(event)
    replayed(site, ids[0], reprocess=True, request_id="r-2")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NEURAL_CAPTURE_MAX_BATCH", str(most))
        environment.setenv("NEURAL_CAPTURE_CHUNK", str(chunk))
        environment.setenv("NEURAL_MAX_OPEN_BATCHES", "1")
        runs = site.work_off()
    assert all(run.success for run in runs)
    assert accounted(site) == 0
    records = site.rows("select external_id, event_id from replaced_observations order by event_id")
    return {**facts(site), "replaced": records}, len(runs)


def named_alike(found: dict[str, Any]) -> dict[str, Any]:
    """Event ids depend on how many children came between: leave them out."""
    return {
        name: sorted(json.dumps(_without_events(json.loads(row))) for row in rows) if name in FACTS else rows
        for name, rows in found.items()
    }


def _without_events(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in {"event_id", "parent_event_id"}}


def test_reprocessing_in_one_batch_gives_what_it_gives_one_by_one(site: Site):
    singles, runs = reworked(site, most=1, chunk=1)
    assert runs == len(FIRST) + len(LATER) + 1
    assert len(singles["replaced"]) == 2
    for chunk in (1, 2, 100):
        batch, runs = reworked(site, most=100, chunk=chunk)
        assert runs == 1
        for name, rows in named_alike(batch).items():
            assert rows == named_alike(singles)[name], f"{name}, in chunks of {chunk}"
