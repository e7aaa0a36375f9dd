"""The job in process: its graph, what its ops show, and what a run leaves in the tables."""

import dagster as dg

from neural_pipeline.contracts.events import Actor, Reference
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.launching import (
    UNSTORABLE,
    Site,
    metadata_of,
)

OPS = ("load", "gate", "classify", "embed", "extract_entities", "resolve_actors", "assign_clusters", "store")


def edges(job: dg.JobDefinition) -> set[tuple[str, str]]:
    return {
        (output.node, invocation.alias or invocation.name)
        for invocation, inputs in job.dependencies.items()
        for dependency in inputs.values()
        for output in dependency.get_node_dependencies()
    }


def test_the_graph_has_the_ops_of_the_design_and_no_edge_more():
    assert {node.name for node in observation_capture.nodes} == set(OPS)
    fan = ("classify", "embed", "extract_entities", "resolve_actors")
    assert edges(observation_capture) == {
        ("load", "gate"),
        *(("gate", op) for op in fan),
        ("classify", "embed"),
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
    assert metadata_of(result, "classify") == {
        "events": 4,
        "failed": 0,
        "bug_fix": 3,
        "other": 1,
        "model": "offline",
    }
    assert metadata_of(result, "embed") == {
        "events": 4,
        "failed": 0,
        "vectors": 12,
        "waiting": 0,
        "embedder": "hashing-256",
    }
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


def test_each_captured_event_has_each_of_its_metrics_once(site: Site):
    site.ingest(*[source_event(name) for name in "abc"], source_event("d", title=UNSTORABLE), source_event("a"))
    site.capture()
    sql = """
    select m.type, m.event_id, count(*) as n from lightfast_workspace_operations_metrics m
    join incoming_events e on e.id = m.event_id where e.parent_event_id is null group by 1, 2 order by 1, 2
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
        select e.function_id, e.payload, e.batch_id, e.outcome, e.debounce_key,
          round(extract(epoch from e.due_at - e.received_at))::int as waits,
          round(extract(epoch from e.due_by - e.received_at))::int as waits_at_most,
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
        assert (child["batch_id"], child["outcome"]) == (None, None)
        assert child["repository_id"] == "42"
        assert child["input"].items() <= child["payload"].items()
    assert [(child["debounce_key"], child["waits"], child["waits_at_most"]) for child in children] == [
        ("github:7", 300, 1800),
        (about_cluster["clusterId"], 600, 3600),
        (identity["observationId"], 60, 300),
    ]
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
