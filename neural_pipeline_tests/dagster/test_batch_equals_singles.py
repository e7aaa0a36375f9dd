"""A batch gives what its events give one by one: same memory, same outputs, same metrics, same child executions.

Both ways are real runs of the job, assigned by the sensor; only ids and times may differ.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from neural_pipeline.contracts.events import Actor, Reference, Source, SourceEvent
from neural_pipeline_tests.building import NOON, source_event, workspaces
from neural_pipeline_tests.dagster.conftest import empty
from neural_pipeline_tests.dagster.launching import UNEMBEDDABLE, UNSTORABLE, Site

BROKEN = "ws_broken"
ADA, BOB = Actor(id="7", name="ada-l", email="ada@acme.io"), Actor(id="8", name="bob")
ADA_RENAMED = Actor(id="7", name="ada-lovelace", avatar_url="https://acme.io/ada.png")
TITLES = (
    "[PR Opened] Fix the checkout total",
    "[PR Opened] New checkout feature for @ada-l, see #12",
    "[PR Merged] Fix the checkout total, close #12",
    "[PR Opened] Search index in src/search/index.ts",
    "typo",
)
BODIES = ("", "The CHECKOUT_TIMEOUT is read twice. " * 7, "GET /api/search fails", UNEMBEDDABLE)
HOURS = (-400, -61, -3, 0, 0, 1, 2, 9, 100, 168, 400)


@dataclass(frozen=True)
class Arrival:
    """An event and the workspace it is for."""

    workspace_id: str
    event: SourceEvent


def moments() -> st.SearchStrategy[Any]:
    return st.sampled_from(HOURS).map(lambda hours: NOON + timedelta(hours=hours))


def pull_requests() -> st.SearchStrategy[SourceEvent]:
    return st.builds(
        lambda **fields: source_event(**fields),
        source_id=st.sampled_from(["pr-1", "pr-2", "pr-3", "pr-4"]),
        title=st.sampled_from([*TITLES, *TITLES[:3], f"Fix what is {UNSTORABLE}"]),
        body=st.sampled_from(BODIES),
        actor=st.sampled_from([ADA, BOB, ADA_RENAMED, None]),
        occurred_at=moments(),
    )


def pushed(branch: str, sha: str, actor: Actor, **fields: Any) -> SourceEvent:
    return source_event(
        f"push:{sha}:{branch}",
        source_type="push",
        title=f"[Push] New feature on {branch}",
        actor=actor,
        references=(Reference(type="commit", id=sha), Reference(type="branch", id=branch)),
        metadata={"repoId": 42, "headAuthorLogin": "ada-l", "headAuthorName": "Ada Lovelace"},
        **fields,
    )


def pushes() -> st.SearchStrategy[SourceEvent]:
    return st.builds(
        pushed,
        st.sampled_from(["main", "next"]),
        st.sampled_from(["abc1234", "def5678"]),
        st.sampled_from([ADA, BOB]),
        occurred_at=moments(),
    )


def deployed(name: str, sha: str, actor: Actor | None, **fields: Any) -> SourceEvent:
    return source_event(
        f"deployment:{name}:{sha}",
        source=Source.VERCEL,
        source_type="deployment.error",
        title=f"[Deployment Failed] {name} from main",
        actor=actor,
        references=(Reference(type="commit", id=sha), Reference(type="deployment", id=name)),
        metadata={"projectId": "prj_1"},
        **fields,
    )


def deployments() -> st.SearchStrategy[SourceEvent]:
    actors = [Actor(id="ada-l", name="Ada Lovelace"), Actor(id="Ada Lovelace", name="Ada Lovelace"), None]
    return st.builds(
        deployed,
        st.sampled_from(["shop", "docs"]),
        st.sampled_from(["abc1234", "def5678"]),
        st.sampled_from([*actors, Actor(id="bob", name="Bob")]),
        occurred_at=moments(),
    )


ARRIVALS = st.builds(
    Arrival,
    st.sampled_from(["ws_test", "ws_test", "ws_test", "ws_b", BROKEN]),
    pull_requests() | pushes() | deployments(),
)

FACTS: dict[str, str] = {
    "observations": """
        select o.*, c.external_id as cluster, i.canonical_actor_id as identity
        from lightfast_workspace_neural_observations o
        left join lightfast_workspace_observation_clusters c on c.id = o.cluster_id
        left join lightfast_org_actor_identities i on i.id = o.actor_id
    """,
    "vectors": """
        select o.external_id, v.view, v.workspace_id, v.model, v.embedding::text
        from observation_vectors v join lightfast_workspace_neural_observations o on o.id = v.observation_id
    """,
    "clusters": "select c.*, c.centroid::text as centroid from lightfast_workspace_observation_clusters c",
    "entities": """
        select e.*, o.external_id as first_seen_in, null as external_id from lightfast_workspace_neural_entities e
        join lightfast_workspace_neural_observations o on o.id = e.source_observation_id
    """,
    "junction": """
        select o.external_id, e.category, e.key, j.confidence, j.evidence_snippet, j.extracted_by
        from observation_entities j join lightfast_workspace_neural_observations o on o.id = j.observation_id
        join lightfast_workspace_neural_entities e on e.id = j.entity_id
    """,
    "identities": "select * from lightfast_org_actor_identities",
    "metrics": """
        select m.type, case when m.type <> 'job_duration' then m.value end as value, m.unit,
          m.tags - array['durationMs', 'queueWaitMs', 'totalMs'] as tags, m.clerk_org_id, m.workspace_id,
          m.repository_id, coalesce(e.parent_event_id, m.event_id) as event_id
        from lightfast_workspace_operations_metrics m join incoming_events e on e.id = m.event_id
    """,
    "outcomes": """
        select r.event_id, r.status, r.output, r.error_message, r.cause, r.attempt, r.name, r.trigger, e.losses
        from lightfast_workspace_workflow_runs r join incoming_events e on e.id = r.event_id
        where e.parent_event_id is null
    """,
    "attempts": "select event_id, attempt, step, cause, error_class, message from workflow_run_attempts",
    "children": """
        select parent_event_id, workspace_id, function_id, payload from incoming_events where parent_event_id > 0
    """,
    "payloads": "select id, disposition, reason from raw_payloads",
    "held": "select workspace_id from batch_workspaces where closed_at is null",
}
IDS_AND_TIMES = {
    *("id", "cluster_id", "actor_id", "source_observation_id"),
    *("created_at", "updated_at", "captured_at", "extracted_at", "last_seen_at", "mapped_at"),
}


def facts(site: Site) -> dict[str, list[str]]:
    clusters = {
        str(row["id"]): row["external_id"]
        for row in site.rows("select id, external_id from lightfast_workspace_observation_clusters")
    }

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clusters[inner] if key == "clusterId" else named(inner) for key, inner in value.items()}
        return value

    return {
        name: sorted(
            json.dumps({key: named(value) for key, value in row.items() if key not in IDS_AND_TIMES}, default=str)
            for row in site.rows(sql)
        )
        for name, sql in FACTS.items()
    }


def worked_off(site: Site, arrivals: Sequence[Arrival], *, most: int, chunk: int) -> tuple[dict[str, list[str]], int]:
    """Take the events in, run until nothing is due; return what is in the tables, and the number of runs."""
    empty(site.engine)
    with site.engine.begin() as connection:
        workspaces(connection, "ws_b", BROKEN)
    site.execute("update lightfast_org_workspaces set settings = '{\"version\": 2}' where id = :id", id=BROKEN)
    for run in site.instance.get_runs():
        site.instance.delete_run(run.run_id)
    for arrival in arrivals:
        site.ingest(arrival.event, workspace_id=arrival.workspace_id)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NEURAL_CAPTURE_MAX_BATCH", str(most))
        environment.setenv("NEURAL_CAPTURE_CHUNK", str(chunk))
        environment.setenv("NEURAL_MAX_OPEN_BATCHES", "1")
        runs = site.work_off()
    assert all(run.success for run in runs)
    assert set(site.statuses()) <= {"completed", "failed"}
    return facts(site), len(runs)


def check(site: Site, arrivals: Sequence[Arrival], *chunks: int) -> None:
    singles, runs = worked_off(site, arrivals, most=1, chunk=1)
    assert runs == len(arrivals)
    for chunk in chunks:
        batch, runs = worked_off(site, arrivals, most=100, chunk=chunk)
        assert runs == 1
        for name in FACTS:
            assert batch[name] == singles[name], f"{name}, in chunks of {chunk}"


@pytest.mark.slow
@given(st.data())
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_batch_gives_what_its_events_give_one_by_one(site: Site, data: st.DataObject):
    arrivals = data.draw(st.lists(ARRIVALS, min_size=2, max_size=12))
    check(site, arrivals, data.draw(st.integers(1, len(arrivals))))


def at(source_id: str, workspace_id: str = "ws_test", **changes: Any) -> Arrival:
    return Arrival(workspace_id, source_event(source_id, **changes))


def by(person: Actor, branch: str) -> Arrival:
    return Arrival("ws_test", pushed(branch, "abc1234", person))


DEPLOYMENT = Arrival("ws_test", deployed("shop", "abc1234", Actor(id="ada-l", name="Ada Lovelace")))
ALSO_DEPLOYED = Arrival("ws_test", deployed("docs", "abc1234", Actor(id="Ada Lovelace", name="Ada Lovelace")))
CASES: dict[str, Callable[[], list[Arrival]]] = {
    "a duplicate of one that cannot be stored": lambda: [
        at("a", title=f"Fix the {UNSTORABLE} checkout"),
        at("a"),
        at("a"),
        at("b"),
    ],
    "one that cannot be stored between two that share a cluster": lambda: [
        at("a"),
        at("b", title=f"Fix the {UNSTORABLE} checkout"),
        at("c"),
        at("d", occurred_at=NOON - timedelta(hours=5)),
        at("e", workspace_id="ws_b"),
        at("f", title=UNSTORABLE),
        at("g"),
    ],
    "a duplicate of one that was captured, after one that cannot be stored": lambda: [
        at("a"),
        at("b", title=UNSTORABLE),
        at("a"),
        at("c"),
    ],
    "a duplicate of one that cannot be embedded": lambda: [at("a", body=UNEMBEDDABLE), at("a"), at("b")],
    "a deployment before and after the push of its commit": lambda: [DEPLOYMENT, by(ADA, "main"), ALSO_DEPLOYED],
    "a deployment whose commit somebody else pushed before": lambda: [by(BOB, "next"), DEPLOYMENT, at("a")],
    "a push that cannot be stored tells nobody's name": lambda: [
        Arrival("ws_test", by(ADA, "main").event.model_copy(update={"title": f"New feature {UNSTORABLE}"})),
        DEPLOYMENT,
        by(ADA, "next"),
    ],
    "settings that cannot be used": lambda: [at("a", BROKEN), at("a"), at("a", BROKEN), at("b")],
    "one person under two names in two workspaces": lambda: [
        at("a", actor=ADA),
        at("b", workspace_id="ws_b", actor=ADA_RENAMED),
        at("c", actor=ADA),
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_a_telling_batch_gives_what_its_events_give_one_by_one(site: Site, case: str):
    check(site, CASES[case](), 1, 2, 100)


def test_a_deployment_is_adopted_by_the_right_one_of_two_pushes_in_one_chunk(site: Site):
    check(site, [DEPLOYMENT, by(BOB, "next"), by(ADA, "main")], 3)
