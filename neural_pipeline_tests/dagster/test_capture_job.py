"""The job in process: its graph, what its ops show, and what a run leaves in the tables."""

import json
import time
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from neural_pipeline.contracts.events import Actor, Reference, SourceEvent
from neural_pipeline.workflows.observation_capture import analysis, persist
from neural_pipeline.workflows.observation_capture.classification import Classification
from neural_pipeline.workflows.observation_capture.identity import external_id
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.launching import (
    UNEMBEDDABLE,
    UNSTORABLE,
    Site,
    failure_of,
    metadata_of,
    table_of,
)

OPS = ("load", "gate", "classify", "embed", "extract_entities", "resolve_actors", "assign_clusters", "store")
GITHUB_CONFIG = {
    "version": 1,
    "sourceType": "github",
    "type": "repository",
    "installationId": "1",
    "repoId": "42",
    "repoName": "shop",
    "repoFullName": "acme/shop",
    "defaultBranch": "main",
    "isPrivate": False,
    "isArchived": False,
}


def integrate(site: Site, *events: str, active: bool = True, resource: str = "42", config: Any = None) -> None:
    config = config or GITHUB_CONFIG | {"sync": {"events": list(events), "autoSync": True}}
    site.execute(
        """
        insert into lightfast_user_sources (id, user_id, source_type, access_token, provider_metadata)
        values ('us', 'ada', 'github', '', '{}') on conflict do nothing
        """
    )
    site.execute(
        """
        insert into lightfast_workspace_integrations
          (workspace_id, user_source_id, connected_by, source_config, provider_resource_id, is_active)
        values ('ws_test', 'us', 'ada', cast(:config as jsonb), :resource, :active)
        """,
        config=json.dumps(config),
        resource=resource,
        active=active,
    )


def break_settings(site: Site, workspace_id: str) -> None:
    site.execute(
        """
        insert into lightfast_org_workspaces (id, clerk_org_id, name, slug, settings)
        values (:id, 'org_test', :id, :id, '{"version": 2}')
        """,
        id=workspace_id,
    )


def edges(job: dg.JobDefinition) -> set[tuple[str, str]]:
    return {
        (output.node, invocation.alias or invocation.name)
        for invocation, inputs in job.dependencies.items()
        for dependency in inputs.values()
        for output in dependency.get_node_dependencies()
    }


def reason_of(site: Site, event_id: int) -> str:
    row = site.run_of(event_id)
    return row["output"].get("reason", row["output"]["status"])


def test_the_graph_has_the_ops_of_the_design_and_no_edge_more():
    assert {node.name for node in observation_capture.nodes} == set(OPS)
    fan = ("classify", "embed", "extract_entities", "resolve_actors")
    assert edges(observation_capture) == {
        ("load", "gate"),
        *(("gate", op) for op in fan),
        *((op, "assign_clusters") for op in fan),
        ("gate", "assign_clusters"),
        ("assign_clusters", "store"),
    }


def test_a_run_is_the_job_s_own_ops_and_each_logs_and_shows_its_counts(site: Site):
    site.ingest(source_event("a"), source_event("b"), source_event("a"), source_event("c", title=UNSTORABLE))
    result = site.capture()
    assert {event.step_key for event in result.all_events if event.is_step_success} == set(OPS)
    logs = [entry for entry in site.instance.all_logs(result.run_id) if not entry.is_dagster_event]
    said = {entry.step_key: entry.user_message for entry in logs}
    assert said.keys() == set(OPS)
    assert said["load"].startswith("loaded 4 events of 1 workspaces")
    assert said["gate"] == "4 of 4 events pass"
    assert said["classify"] == said["embed"] == said["extract_entities"] == "4 events done, 0 failed"
    assert said["resolve_actors"] == "0 commits have a known author"
    assert said["assign_clusters"] == "3 observations begin 1 clusters"
    assert said["store"].startswith("stored: ")
    assert all(f"{name} {n}" in said["store"] for name, n in (("captured", 2), ("duplicate", 1), ("failed", 1)))
    assert metadata_of(result, "load") == {"events": 4, "unreadable": 0, "workspaces": 1}
    assert metadata_of(result, "gate") == {"passed": 4}
    assert metadata_of(result, "classify") == {"events": 4, "failed": 0, "bug_fix": 3, "other": 1}
    assert metadata_of(result, "embed") == {"events": 4, "failed": 0, "vectors": 12}
    assert metadata_of(result, "extract_entities").keys() == {"events", "failed", "entities"}
    assert metadata_of(result, "resolve_actors") == {"commits with a known author": 0}
    assert metadata_of(result, "assign_clusters") == {
        "observations": 3,
        "new clusters": 1,
        "joined": 2,
        "actor by github_id": 3,
    }
    numbers = metadata_of(result, "store")
    del numbers["failures"]
    assert numbers == {"captured": 2, "duplicate": 1, "failed": 1, "chunks repeated": 0, "left to a later run": 0}


def test_a_captured_event_has_its_row_its_observation_and_all_that_belongs_to_it(site: Site):
    references = (Reference(type="label", id="Billing"),)
    event = source_event("a", references=references, body="Ask @bob about #12.", metadata={"repoId": 42})
    [id_] = site.ingest(event)
    result = site.capture()
    observation = site.row("select * from lightfast_workspace_neural_observations")
    cluster = site.row("select * from lightfast_workspace_observation_clusters")
    row = site.run_of(id_)
    assert (row["status"], row["repository_id"], row["attempt"]) == ("completed", "42", 1)
    assert (row["trigger"], row["triggered_by"], row["dagster_run_id"]) == ("manual", "ada", result.run_id)
    assert row["output"] == {
        "inngestFunctionId": "neural.observation.capture",
        "status": "success",
        "observationId": observation["external_id"],
        "observationType": "pull-request.opened",
        "significanceScore": observation["significance_score"],
        "entitiesExtracted": 3,
        "clusterId": str(cluster["id"]),
        "clusterIsNew": True,
    }
    assert (observation["cluster_id"], observation["event_id"]) == (cluster["id"], id_)
    assert observation["actor_id"] == site.row("select id from lightfast_org_actor_identities")["id"]
    assert observation["embedding_content_id"] == f"obs_content_{observation['external_id']}"
    assert sorted(site.column("select view from observation_vectors")) == ["content", "summary", "title"]
    named = "select e.category || ':' || e.key from observation_entities o join lightfast_workspace_neural_entities e"
    assert sorted(site.column(f"{named} on e.id = o.entity_id")) == [
        "engineer:@bob",
        "project:#12",
        "reference:Billing",
    ]
    assert cluster["topic_label"] == "Fix the checkout"


FORCED = {
    "embed": ({"body": UNEMBEDDABLE}, "this text cannot be embedded", "ValueError"),
    "classify": ({"title": "unclassifiable"}, "this title cannot be classified", "LookupError"),
    "store": ({"title": UNSTORABLE}, "this title cannot be stored", "CheckViolation"),
}


@pytest.fixture
def picky_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    real = analysis.classify_by_rules

    def refuse_marked(event: SourceEvent) -> Classification:
        if event.title == "unclassifiable":
            raise LookupError("this title cannot be classified")
        return real(event)

    monkeypatch.setattr(analysis, "classify_by_rules", refuse_marked)


@pytest.mark.usefixtures("picky_classifier")
@pytest.mark.parametrize("step", FORCED)
def test_an_event_that_fails_in_a_later_step_fails_alone_and_tells_why(site: Site, step: str):
    changes, message, error_class = FORCED[step]
    events = [source_event("a"), source_event("b", **changes), source_event("c")]
    ids = site.ingest(*events)
    result = site.capture()
    assert result.success
    assert site.statuses() == ["completed", "failed", "completed"]
    row = site.run_of(ids[1])
    assert row["error_message"].startswith(message)
    assert row["output"] == {
        "inngestFunctionId": "neural.observation.capture",
        "status": "failure",
        "sourceId": "b",
        "error": row["error_message"],
        "step": step,
    }
    assert (row["cause"], row["attempt"]) == ("code_error", 1)
    attempt = site.row("select * from workflow_run_attempts")
    assert (attempt["event_id"], attempt["step"], attempt["cause"]) == (ids[1], step, "code_error")
    assert (attempt["attempt"], attempt["dagster_run_id"]) == (1, result.run_id)
    assert attempt["error_class"] == error_class
    assert attempt["message"] == row["error_message"]
    assert message in attempt["stack"]
    [record] = table_of(result, "store", "failures")
    assert (record["event"], record["workspace"], record["source id"]) == (ids[1], "ws_test", "b")
    assert record["step"] == step
    assert record["error"].startswith(message)
    stored = site.column("select source_id from lightfast_workspace_neural_observations order by id")
    assert stored == ["a", "c"]
    [error] = site.column("select tags from lightfast_workspace_operations_metrics where type = 'errors'")
    assert error["cause"] == "code_error"


def test_an_event_without_failures_has_an_empty_table(site: Site):
    site.ingest(source_event("a"))
    assert table_of(site.capture(), "store", "failures") == []


def test_a_hostile_title_comes_out_as_one_line_of_plain_text_in_the_failures(site: Site):
    site.ingest(source_event("a\x1b[31m\nb<b>|*", title=UNSTORABLE))
    [record] = table_of(site.capture(), "store", "failures")
    assert record["source id"] == "a [31m b<b>|*"


@pytest.mark.parametrize("chunk", ["1", "2", "500"])
def test_an_event_whose_payload_cannot_be_read_fails_alone(site: Site, chunk: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", chunk)
    ids = site.ingest(source_event("a"), source_event("b"), source_event("a"), source_event("c"))
    site.execute(
        "update incoming_events set payload = payload #- '{sourceEvent,title}' where id = any(:ids)", ids=ids[1:3]
    )
    result = site.capture()
    assert site.statuses() == ["completed", "failed", "failed", "completed"]
    outputs = [site.run_of(id_)["output"] for id_ in ids[1:3]]
    assert [(output["step"], output["sourceId"]) for output in outputs] == [("load", "b"), ("load", "a")]
    assert metadata_of(result, "load")["unreadable"] == 2


def test_each_captured_event_has_each_of_its_metrics_once(site: Site):
    site.ingest(*[source_event(name) for name in "abc"], source_event("d", title=UNSTORABLE), source_event("a"))
    site.capture()
    sql = """
    select type, event_id, count(*) as n from lightfast_workspace_operations_metrics group by 1, 2 order by 1, 2
    """
    counted: dict[str, list[tuple[int, int]]] = {}
    for row in site.rows(sql):
        counted.setdefault(row["type"], []).append((row["event_id"], row["n"]))
    captured = [(1, 1), (2, 1), (3, 1)]
    assert counted == {
        **dict.fromkeys(
            ("actor_resolution", "cluster_affinity", "cluster_assigned", "entities_extracted", "observation_captured"),
            captured,
        ),
        "errors": [(4, 1)],
        "job_duration": [(number, 1) for number in range(1, 6)],
        "observation_duplicate": [(5, 1)],
    }


def test_child_executions_wait_in_the_inbox_with_their_rows(site: Site):
    [id_] = site.ingest(source_event("a", body="x" * 300, actor=Actor(id="7", name="ada")))
    site.capture()
    observation = site.row("select * from lightfast_workspace_neural_observations")
    children = site.rows(
        """
        select e.function_id, e.payload, e.due_at <= clock_timestamp() as due, e.batch_id, e.outcome,
          r.status, r.trigger, r.triggered_by, r.input, r.inngest_function_id, r.repository_id
        from incoming_events e join lightfast_workspace_workflow_runs r on r.event_id = e.id
        where e.parent_event_id = :id order by e.id
        """,
        id=id_,
    )
    identity = {"observationId": observation["external_id"]}
    about_cluster = {"clusterId": str(observation["cluster_id"]), "observationCount": 1}
    assert [child["payload"] for child in children] == [
        {
            "inngestFunctionId": "neural.profile.update",
            "actorId": "github:7",
            "sourceActor": {"id": "7", "name": "ada"},
            **identity,
        },
        {"inngestFunctionId": "neural.cluster.summary", **about_cluster},
        {"inngestFunctionId": "neural.llm-entity-extraction", "contentLength": 300, **identity},
    ]
    for child in children:
        assert child["function_id"] == child["inngest_function_id"] == child["payload"]["inngestFunctionId"]
        assert (child["status"], child["trigger"], child["triggered_by"]) == ("queued", "automatic", None)
        assert (child["due"], child["batch_id"], child["outcome"]) == (True, None, None)
        assert child["repository_id"] == "42"
        assert child["input"].items() <= child["payload"].items()
    assert site.tick() == [], "children are no captures"


def test_a_summary_is_asked_for_with_the_cluster_s_real_size_across_runs(site: Site):
    sql = """
    select cast(payload ->> 'observationCount' as integer) from incoming_events
    where function_id = 'neural.cluster.summary' order by id
    """
    site.ingest(source_event("a"), source_event("b"))
    site.capture()
    site.ingest(source_event("c"))
    site.capture()
    assert site.column(sql) == [1, 2, 3]
    assert site.column("select observation_count from lightfast_workspace_observation_clusters") == [3]


def test_an_event_of_a_workspace_with_settings_of_another_version_is_rejected(site: Site):
    break_settings(site, "ws_broken")
    [broken] = site.ingest(source_event("a"), workspace_id="ws_broken")
    [fine] = site.ingest(source_event("a"))
    site.capture()
    row = site.run_of(broken)
    assert (row["status"], row["cause"], row["output"]["step"]) == ("failed", "rejected", "gate")
    assert row["error_message"] == "workspace settings have version 2, this program reads version 1"
    assert site.run_of(fine)["status"] == "completed"


def test_what_a_workspace_with_unusable_settings_would_filter_is_filtered(site: Site):
    break_settings(site, "ws_broken")
    [id_] = site.ingest(source_event("a", source_type="push", title="typo"), workspace_id="ws_broken")
    site.capture()
    assert reason_of(site, id_) == "below_threshold"


SUBSCRIPTIONS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "no integration": (None, "success"),
    "another resource": ({"events": (), "resource": "43"}, "success"),
    "active with the event": ({"events": ("push", "pull_request")}, "success"),
    "active without the event": ({"events": ("push",)}, "event_not_allowed"),
    "active without any event": ({"events": ()}, "event_not_allowed"),
    "inactive with the event": ({"events": ("pull_request",), "active": False}, "event_not_allowed"),
    "unreadable": ({"events": (), "config": {"sourceType": "github"}}, "event_not_allowed"),
}


@pytest.mark.parametrize(("integration", "outcome"), SUBSCRIPTIONS.values(), ids=SUBSCRIPTIONS)
def test_the_subscription_of_a_covering_integration_decides(
    site: Site, integration: dict[str, Any] | None, outcome: str
):
    if integration:
        integrate(site, *integration.pop("events"), **integration)
    [id_] = site.ingest(source_event("a", metadata={"repoId": 42}))
    site.capture()
    assert site.run_of(id_)["status"] == "completed"
    assert reason_of(site, id_) == outcome


@pytest.mark.parametrize(
    ("variable", "value", "reasons"),
    [
        ("NEURAL_SIGNIFICANCE_THRESHOLD", "50", ["success", "success"]),
        ("NEURAL_SIGNIFICANCE_THRESHOLD", "51", ["below_threshold", "success"]),
        ("NEURAL_GIT_SIGNIFICANCE_THRESHOLD", "51", ["success", "below_threshold"]),
    ],
)
def test_the_thresholds_come_from_the_settings(
    site: Site, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reasons: list[str]
):
    monkeypatch.setenv(variable, value)
    plain = {"title": "Plain", "metadata": {}}
    ids = site.ingest(source_event("a", **plain), source_event("b", source="git", **plain))
    site.capture()
    assert [reason_of(site, id_) for id_ in ids] == reasons


def test_a_filtered_event_tells_its_score(site: Site):
    [id_] = site.ingest(source_event("a", source_type="push", title="typo"))
    site.capture()
    row = site.run_of(id_)
    assert (row["status"], row["output"]["reason"], row["output"]["significanceScore"]) == (
        "completed",
        "below_threshold",
        15,
    )
    assert site.count("select count(*) from lightfast_workspace_neural_observations") == 0


def test_the_same_event_again_ends_as_a_duplicate_and_changes_nothing_of_the_memory(site: Site):
    [first] = site.ingest(source_event("a"))
    site.capture()
    memory = {table: rows for table, rows in site.contents().items() if "neural_" in table or "cluster" in table}
    [second] = site.ingest(source_event("a"))
    site.capture()
    assert [reason_of(site, id_) for id_ in (first, second)] == ["success", "duplicate"]
    assert site.run_of(second)["status"] == "completed"
    assert {table: rows for table, rows in site.contents().items() if table in memory} == memory


def test_a_deployment_in_a_later_run_is_given_to_the_person_who_pushed_its_commit(site: Site):
    commit = (Reference(type="commit", id="abc"),)
    push = source_event(
        "push", title="New feature", source_type="push", actor=Actor(id="7", name="ada-l"), references=commit
    )
    vercel = {"source": "vercel", "source_type": "deployment.ready", "references": commit}
    site.ingest(push)
    site.capture()
    for name in ("ada-l", "bob"):
        site.ingest(source_event(name, actor=Actor(id=name, name=name.title()), **vercel))
    site.capture()
    sql = "select source_id, actor ->> 'id' as id, canonical_actor_id, actor_method from {} where source = 'vercel'"
    rows = site.rows(sql.format("lightfast_workspace_neural_observations") + " order by id")
    assert [tuple(row.values()) for row in rows] == [
        ("ada-l", "7", "github:7", "commit_sha"),
        ("bob", "bob", "github:bob", "username"),
    ]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_an_event_at_the_edge_of_the_calendar_harms_no_other(site: Site, moment: str):
    site.ingest(source_event("a"), source_event("b", occurred_at=moment), source_event("c", occurred_at=moment))
    assert site.capture().success
    assert site.statuses() == ["completed"] * 3
    counts = "select observation_count from lightfast_workspace_observation_clusters order by id"
    assert site.column(counts) == [1, 2]


def test_a_run_whose_batch_was_given_to_another_writes_nothing_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch):
    [id_] = site.ingest(source_event("a"))
    real = analysis.classify_by_rules

    def lose_the_batch(event: SourceEvent) -> Classification:
        site.execute("update event_batches set run_id = 'another', epoch = epoch + 1")
        return real(event)

    monkeypatch.setattr(analysis, "classify_by_rules", lose_the_batch)
    result = site.launch()
    assert not result.success
    assert "no longer belongs to run" in failure_of(result)
    assert site.column("select stale_writes from event_batches") == [1]
    assert site.count("select count(*) from lightfast_workspace_neural_observations") == 0
    assert site.row("select outcome from incoming_events where id = :id", id=id_) == {"outcome": None}


def test_an_event_whose_observation_appeared_meanwhile_is_a_duplicate(site: Site, monkeypatch: pytest.MonkeyPatch):
    ids = site.ingest(source_event("a"), source_event("b"))
    real = analysis.classify_by_rules

    def store_the_same(event: SourceEvent) -> Classification:
        site.execute(
            """
            insert into lightfast_workspace_neural_observations (external_id, workspace_id, occurred_at,
              observation_type, title, content, source, source_type, source_id)
            values (:external_id, 'ws_test', now(), '', '', '', 'github', '', 'b') on conflict do nothing
            """,
            external_id=external_id("observation", "ws_test", "b"),
        )
        return real(event)

    monkeypatch.setattr(analysis, "classify_by_rules", store_the_same)
    site.capture()
    assert [reason_of(site, id_) for id_ in ids] == ["success", "duplicate"]


def test_a_run_leaves_what_it_has_no_time_for_to_a_later_one(site: Site, monkeypatch: pytest.MonkeyPatch):
    ids = site.ingest(source_event("a"), source_event("b"))
    began = time.monotonic()
    monkeypatch.setattr(persist, "time", SimpleNamespace(monotonic=lambda: began + 1000.0))
    result = site.capture()
    assert metadata_of(result, "store")["left to a later run"] == 2
    assert site.statuses() == ["queued", "queued"]
    waiting = site.rows("select batch_id, begun_at, attempt, losses from incoming_events order by id")
    assert waiting == [{"batch_id": None, "begun_at": None, "attempt": 0, "losses": 0}] * len(ids)


def test_work_waits_for_a_program_that_knows_the_schema(site: Site):
    [id_] = site.ingest(source_event("a"))
    site.execute("update neural_alembic_version set version_num = '9999'")
    try:
        result = site.capture()
    finally:
        site.execute("update neural_alembic_version set version_num = '0001'")
    assert result.success
    assert "is not at revision 0001" in metadata_of(result, "load")["note"]
    assert site.run_of(id_)["status"] == "queued"
    assert [batch["close_reason"] for batch in site.batches()] == ["handed_back"]
    assert site.capture().success
    assert site.run_of(id_)["status"] == "completed"


def test_a_deadlock_is_repeated_without_spending_an_attempt(site: Site):
    site.execute(
        """
        create sequence tries;
        create function deadlock_once() returns trigger language plpgsql as $$
        begin
          if nextval('tries') = 1 then raise exception 'deadlock detected' using errcode = 'deadlock_detected'; end if;
          return null;
        end $$;
        create trigger deadlock_once after insert on lightfast_workspace_neural_observations
          for each statement execute function deadlock_once();
        """
    )
    try:
        [id_] = site.ingest(source_event("a"))
        result = site.capture()
    finally:
        site.execute("drop function deadlock_once cascade; drop sequence tries")
    assert metadata_of(result, "store")["chunks repeated"] == 1
    assert (site.run_of(id_)["status"], site.run_of(id_)["attempt"]) == ("completed", 1)
    assert site.count("select count(*) from workflow_run_attempts") == 0
