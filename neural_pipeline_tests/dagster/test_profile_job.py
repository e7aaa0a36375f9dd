"""The job `profile_update` in process, fed by captures: what its runs leave in profiles, identities and rows."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from neural_pipeline.contracts.events import Actor, Reference, SourceEvent
from neural_pipeline.contracts.incoming import ProfilePayload
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.resources import Pipeline
from neural_pipeline.store.inbox import NewEvent, append
from neural_pipeline.workflows.profile_update.job import FUNCTION, profile_update
from neural_pipeline_tests.building import source_event, workspaces
from neural_pipeline_tests.dagster.launching import Site, batch_tag, metadata_of
from neural_pipeline_tests.replaying import replay_event

PROFILES = "select * from lightfast_workspace_actor_profiles"
ADA = Actor(id="583231", name="ada-l", email="ada@acme.io", avatar_url="https://acme.io/a.png")
C1, C2, C3 = (Reference(type="commit", id=sha) for sha in ("c1", "c2", "c3"))

_COPIES = """
insert into lightfast_workspace_neural_observations
  (workspace_id, occurred_at, observation_type, title, content, source, source_type, source_id, canonical_actor_id)
select workspace_id, occurred_at, observation_type, title, content, source, source_type, source_id || n,
  canonical_actor_id
from lightfast_workspace_neural_observations cross join generate_series(1, :copies) n
"""

UNEQUAL = """
select p.workspace_id, p.actor_id, p.observation_count from lightfast_workspace_actor_profiles p
where (p.observation_count, p.last_active_at) is distinct from (
  select row(count(*)::integer, max(o.occurred_at)) from lightfast_workspace_neural_observations o
  where o.workspace_id = p.workspace_id and o.canonical_actor_id = p.actor_id
)
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles do not wait for further news, and one failure ends an execution."""
    monkeypatch.setenv("NEURAL_PROFILE_DEBOUNCE_SECONDS", "0")
    monkeypatch.setenv("NEURAL_PROFILE_RETRIES", "0")


def captured(site: Site, *events: SourceEvent, workspace_id: str = "ws_test") -> None:
    site.ingest(*events, workspace_id=workspace_id)
    assert site.capture().success


def updated(site: Site, *, tags: dict[str, str] | None = None, **launch: Any) -> dg.ExecuteInProcessResult:
    """Launch the job by hand and record its end."""
    result = profile_update.execute_in_process(
        instance=site.instance,
        run_config={"ops": {"load": {"config": launch}}} if launch else None,
        tags=tags,
        resources={"pipeline": Pipeline()},
        raise_on_error=False,
    )
    site.record(result.run_id)
    assert result.success
    return result


def asked(site: Site, *payloads: ProfilePayload, workspace_id: str = "ws_test") -> list[int]:
    """Put requests into the inbox that do not wait for each other, as a replay does."""
    known = site.count("select count(*) from incoming_events")
    events = [
        NewEvent(workspace_id, "neural", f"asked-{known + n}", payload, Trigger.AUTOMATIC)
        for n, payload in enumerate(payloads)
    ]
    with site.engine.begin() as connection:
        return list(append(connection, events))


def about(actor_id: str, actor: Actor | None = None) -> ProfilePayload:
    return ProfilePayload(actor_id=actor_id, observation_id="x", source_actor=actor)


def profiles(site: Site) -> dict[str, tuple[int, str | None]]:
    """Each profile's count, and what it was merged into."""
    return {row["actor_id"]: (row["observation_count"], row["merged_into"]) for row in site.rows(PROFILES)}


def asked_for(site: Site) -> list[tuple[str, str | None, str | None]]:
    """Each waiting request: actor, the name it tells, and what it knows of a merge."""
    sql = """
    select payload ->> 'actorId' as actor, payload -> 'sourceActor' ->> 'name' as name,
      payload ->> 'mergedInto' as merged_into
    from incoming_events where function_id = :function and outcome is null order by id
    """
    return [tuple(row.values()) for row in site.rows(sql, function=FUNCTION)]  # pyright: ignore[reportReturnType]


def deployed(source_id: str, commit: Reference, actor_id: str = "ada-l") -> SourceEvent:
    actor = Actor(id=actor_id, name=actor_id)
    return source_event(source_id, source="vercel", source_type="deployment.ready", actor=actor, references=(commit,))


def pushed(source_id: str, *commits: Reference, actor: Actor = ADA) -> SourceEvent:
    return source_event(source_id, title="New feature", source_type="push", actor=actor, references=commits)


def test_a_run_loads_and_stores_and_shows_its_counts(site: Site):
    captured(site, source_event("a"), source_event("b", actor=ADA))
    asked(site, about("github:404"))
    result = updated(site)
    assert {event.step_key for event in result.all_events if event.is_step_success} == {"load", "store"}
    assert metadata_of(result, "load") == {"events": 3, "unreadable": 0, "workspaces": 1}
    shown = metadata_of(result, "store")
    assert {name: shown[name] for name in ("profiles", "new profiles", "merged profiles")} == {
        "profiles": 2,
        "new profiles": 2,
        "merged profiles": 0,
    }
    assert metadata_of(updated(site), "load")["note"] == "nothing is due"


def test_counts_and_last_activities_equal_those_of_the_observations_however_many(site: Site):
    captured(site, source_event("a"), source_event("b", actor=ADA))
    site.execute(_COPIES, copies=120)
    updated(site)
    assert profiles(site) == {"github:7": (121, None), "github:583231": (121, None)}
    captured(site, source_event("c"))
    updated(site)
    assert profiles(site)["github:7"] == (122, None)
    assert site.rows(UNEQUAL) == []


def test_every_execution_ends_with_its_output_and_its_metric_once(site: Site):
    captured(site, source_event("a"))
    again, nobody = asked(site, about("github:7"), about("github:404"))
    updated(site)
    rows = site.rows(
        "select * from lightfast_workspace_workflow_runs where inngest_function_id = :f order by event_id", f=FUNCTION
    )
    assert [row["status"] for row in rows] == ["completed"] * 3
    done = {"inngestFunctionId": FUNCTION, "status": "success", "actorId": "github:7", "observationCount": 1}
    assert [row["output"] for row in rows] == [
        done | {"isNewProfile": True},
        done | {"isNewProfile": False},
        {
            "inngestFunctionId": FUNCTION,
            "status": "skipped",
            "actorId": "github:404",
            "reason": "no_observations",
        },
    ]
    sql = """
    select event_id, tags ->> 'actorId' as actor from lightfast_workspace_operations_metrics
    where type = 'profile_updated' order by event_id
    """
    assert [tuple(row.values()) for row in site.rows(sql)] == [(rows[0]["event_id"], "github:7"), (again, "github:7")]
    assert rows[2]["event_id"] == nobody
    assert profiles(site).keys() == {"github:7"}


def test_an_event_that_lacks_e_mail_and_avatar_erases_neither(site: Site):
    captured(site, source_event("a", actor=ADA))
    updated(site)
    captured(site, source_event("b", actor=Actor(id=ADA.id, name=ADA.name)))
    updated(site)
    [profile] = site.rows(PROFILES)
    assert (profile["display_name"], profile["email"], profile["observation_count"]) == ("ada-l", "ada@acme.io", 2)
    identity = site.row("select * from lightfast_org_actor_identities")
    assert (identity["source_email"], identity["avatar_url"]) == ("ada@acme.io", "https://acme.io/a.png")
    assert identity["mapping_method"] == "github_id"


def test_the_same_actor_in_two_workspaces_is_counted_in_each(site: Site):
    with site.engine.begin() as connection:
        workspaces(connection, "ws_other")
    captured(site, source_event("a"), source_event("b"))
    captured(site, source_event("c"), workspace_id="ws_other")
    updated(site, workspace_id="ws_other")
    assert [(row["workspace_id"], row["observation_count"]) for row in site.rows(PROFILES)] == [("ws_other", 1)]
    updated(site)
    counts = {row["workspace_id"]: row["observation_count"] for row in site.rows(PROFILES)}
    assert counts == {"ws_other": 1, "ws_test": 2}


def test_a_person_whose_push_explains_the_deployments_has_one_profile_from_then_on(site: Site):
    captured(site, deployed("d1", C1), deployed("d2", C2), deployed("d3", C3, actor_id="bob"))
    updated(site)
    assert profiles(site) == {"github:ada-l": (2, None), "github:bob": (1, None)}
    captured(site, pushed("p1", C1))
    assert asked_for(site) == [("github:583231", "ada-l", None), ("github:ada-l", None, "github:583231")]
    updated(site)
    assert profiles(site)["github:ada-l"] == (1, None), "one deployment is still hers by name alone"
    captured(site, pushed("p2", C2, C3))
    result = updated(site)
    assert metadata_of(result, "store")["merged profiles"] == 1
    assert profiles(site) == {
        "github:ada-l": (0, "github:583231"),
        "github:583231": (4, None),
        "github:bob": (1, None),
    }
    sql = "select canonical_actor_id from lightfast_org_actor_identities where source_id = :id"
    assert [site.column(sql, id=id_) for id_ in ("ada-l", "bob")] == [["github:583231"], ["github:bob"]]
    captured(site, deployed("d4", Reference(type="commit", id="c4")))
    updated(site)
    assert profiles(site)["github:ada-l"] == (1, None), "nobody has told whose the new deployment is"
    assert site.column("select count(distinct actor_id) from lightfast_workspace_neural_observations") == [3]
    captured(site, pushed("p3", Reference(type="commit", id="c4")))
    updated(site)
    assert profiles(site)["github:ada-l"] == (0, "github:583231")
    assert profiles(site)["github:583231"] == (6, None)
    assert set(site.column("select outcome from incoming_events")) <= {"completed", "superseded"} | {None}


def test_a_person_who_never_had_a_profile_under_the_name_gets_none(site: Site):
    captured(site, deployed("d1", C1), pushed("p1", C1))
    updated(site)
    assert profiles(site) == {"github:583231": (2, None)}


def test_many_deployments_of_one_push_ask_for_one_recount(site: Site):
    captured(site, *[deployed(f"d{n}", C1) for n in range(5)])
    updated(site)
    captured(site, pushed("p", C1))
    assert asked_for(site) == [("github:583231", "ada-l", None), ("github:ada-l", None, "github:583231")]


def test_an_actor_who_loses_an_observation_to_its_reprocessing_is_counted_anew(site: Site):
    merge = source_event("m", source_type="pull-request.merged", actor=ADA, references=(C1,))
    captured(site, deployed("d", C1), source_event("a"))
    captured(site, merge)
    site.execute(
        "update lightfast_workspace_neural_observations set canonical_actor_id = 'github:9' where source_id = 'a'"
    )
    asked(site, about("github:9"))
    updated(site)
    assert profiles(site) == {"github:ada-l": (1, None), "github:9": (1, None), "github:583231": (1, None)}
    with site.engine.begin() as connection:
        for event_id in (1, 2):
            replay_event(connection, event_id, reprocess=True, request_id="r")
    captured(site)
    assert asked_for(site) == [
        ("github:583231", "ada-l", None),
        ("github:7", "ada", None),
        ("github:ada-l", None, "github:583231"),
        ("github:9", None, None),
    ]
    updated(site)
    assert profiles(site) == {
        "github:ada-l": (0, "github:583231"),
        "github:9": (0, None),
        "github:583231": (2, None),
        "github:7": (1, None),
    }


@pytest.fixture
def refused(site: Site) -> Iterator[str]:
    """An actor whose profile the database refuses."""
    table = "lightfast_workspace_actor_profiles"
    site.execute(f"alter table {table} add constraint refused check (actor_id <> 'github:13')")
    yield "13"
    site.execute(f"alter table {table} drop constraint refused")


def test_an_event_that_cannot_be_read_or_written_fails_alone_with_step_and_error(site: Site, refused: str):
    captured(
        site, source_event("a"), source_event("b", actor=Actor(id=refused, name="u")), source_event("c", actor=ADA)
    )
    [unreadable] = asked(site, about("github:7"))
    site.execute("update incoming_events set payload = payload - 'observationId' where id = :id", id=unreadable)
    updated(site)
    sql = """
    select event_id, output ->> 'actorId' as actor, status, cause, error_message, output
    from lightfast_workspace_workflow_runs where inngest_function_id = :function order by event_id
    """
    rows = site.rows(sql, function=FUNCTION)
    assert [(row["actor"], row["status"], row["cause"], row["output"].get("step")) for row in rows] == [
        ("github:7", "completed", None, None),
        ("github:13", "failed", "code_error", "store"),
        ("github:583231", "completed", None, None),
        ("github:7", "failed", "rejected", "load"),
    ]
    for row, said in ((rows[1], "violates check constraint"), (rows[3], "observationId")):
        assert said in row["error_message"]
        assert row["output"]["error"] == row["error_message"]
    assert profiles(site).keys() == {"github:7", "github:583231"}


def test_a_batch_that_another_run_has_taken_is_left_alone(site: Site):
    captured(site, source_event("a"))
    updated(site)
    [batch_id] = site.column("select id from event_batches where function_id = :f", f=FUNCTION)
    before = site.contents()
    result = updated(site, tags=batch_tag(batch_id))
    assert "taken or closed" in metadata_of(result, "load")["note"]
    assert site.contents() == before
