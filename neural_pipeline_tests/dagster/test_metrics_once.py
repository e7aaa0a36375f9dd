"""All four jobs over events of every ending: each execution has its metrics once, and they say what its row says."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.workflows.cluster_summary.job import cluster_summary
from neural_pipeline.workflows.llm_entity_extraction.job import llm_entity_extraction
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline.workflows.profile_update.job import profile_update
from neural_pipeline_tests.building import in_transaction, source_event
from neural_pipeline_tests.dagster.launching import UNEMBEDDABLE, UNSTORABLE, Site
from neural_pipeline_tests.measuring import complaints
from neural_pipeline_tests.replaying import replay_event

LONG = "Jane Doe moved the sessions to Redis. " + "x" * 200
SPOIL = "update incoming_events set payload = payload - 'contentLength' where id = :id"
MEND = """
update incoming_events set payload = jsonb_set(payload, '{sourceEvent,title}', '"A fix"') where id = :id
"""
EXTRACTIONS = """
select id from incoming_events where function_id = 'neural.llm-entity-extraction' and outcome is null order by id
"""
ENDINGS = """
select r.inngest_function_id, r.status, r.cause, e.outcome, r.output ->> 'reason' as reason, r.attempt, e.losses,
  r.started_at is not null as has_begun
from lightfast_workspace_workflow_runs r join incoming_events e on e.id = r.event_id
"""
CAPTURE, EXTRACTION = "neural.observation.capture", "neural.llm-entity-extraction"


def admit_releases_only(site: Site) -> None:
    """Connect the repository 99, which admits nothing but releases."""
    site.execute(
        """
        insert into lightfast_user_sources (id, user_id, source_type, access_token, provider_metadata)
        values ('us', 'ada', 'github', '', '{}')
        """
    )
    site.execute(
        """
        insert into lightfast_workspace_integrations
          (workspace_id, user_source_id, connected_by, source_config, provider_resource_id, is_active)
        values ('ws_test', 'us', 'ada', cast(:config as jsonb), '99', true)
        """,
        config=json.dumps(
            {
                "version": 1,
                "sourceType": "github",
                "type": "repository",
                "installationId": "1",
                "repoId": "99",
                "repoName": "shop",
                "repoFullName": "acme/shop",
                "defaultBranch": "main",
                "isPrivate": False,
                "isArchived": False,
                "sync": {"branches": ["main"], "paths": ["**/*"], "events": ["release"], "autoSync": True},
            }
        ),
    )


def cancel(site: Site, event_id: int) -> None:
    in_transaction(site.engine, lambda connection: cancel_event(connection, event_id, by="ada"))


def make_due(site: Site) -> None:
    """Let nothing wait for its time any more."""
    site.execute("update incoming_events set due_at = clock_timestamp() where outcome is null")


def run_that_falls_silent(site: Site, report: Callable[[dg.DagsterRun], Any]) -> None:
    """Have a run take the open batch, begin, and end in Dagster without having done anything."""
    [request] = site.tick()
    run = site.instance.create_run_for_job(
        observation_capture, tags=dict(request.tags), status=dg.DagsterRunStatus.STARTED
    )
    with site.engine.begin() as connection:
        token = batches.take(connection, int(request.run_key or 0), run_id=run.run_id, seconds=600, lease=60)
        assert token is not None
        batches.begin(connection, token)
    report(run)
    site.record(run.run_id)


def capture_in_every_way(site: Site) -> None:
    """Have captures end in every way there is, and some begin more than once."""
    site.ingest(source_event("stopped"))
    run_that_falls_silent(site, site.instance.report_run_canceled)
    site.ingest(source_event("lost"))
    run_that_falls_silent(site, site.instance.report_run_failed)
    first, *_, second = site.ingest(*[source_event(f"c-{n}", body=LONG) for n in range(6)])
    site.ingest(source_event("c-0"), source_event("not allowed", metadata={"repoId": 99}))
    site.ingest(source_event("typo", title="typo", source_type="issue.closed"), source_event("nobody", actor=None))
    site.ingest(source_event("fails", body=UNEMBEDDABLE))
    unwanted, recovers = site.ingest(source_event("unwanted"), source_event("recovers", title=UNSTORABLE))
    cancel(site, unwanted)
    site.work_off()
    site.execute(MEND, id=recovers)
    make_due(site)
    site.work_off()
    in_transaction(site.engine, lambda connection: replay_event(connection, first))
    in_transaction(site.engine, lambda connection: replay_event(connection, second, reprocess=True))
    site.work_off()


def work_off_children(site: Site) -> None:
    """Have the children of captures end, one of them cancelled, and one failing as it cannot be read."""
    unwanted, unreadable, *_ = site.column(EXTRACTIONS)
    cancel(site, unwanted)
    site.execute(SPOIL, id=unreadable)
    make_due(site)
    for job in (profile_update, cluster_summary, llm_entity_extraction):
        result = job.execute_in_process(
            instance=site.instance, resources={"pipeline": Pipeline()}, raise_on_error=False
        )
        site.record(result.run_id)
        assert result.success


def test_every_execution_has_its_metrics_once_and_they_say_what_its_row_says(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_CAPTURE_RETRIES", "1")
    admit_releases_only(site)
    capture_in_every_way(site)
    assert in_transaction(site.engine, complaints) == []
    work_off_children(site)
    assert in_transaction(site.engine, complaints) == []
    endings = [tuple(row.values()) for row in site.rows(ENDINGS)]
    assert {row[1] for row in endings} == {"completed", "failed", "cancelled"}, "everything has ended"
    captures = Counter(row[1:] for row in endings if row[0] == CAPTURE)
    assert captures == {
        ("completed", None, "completed", None, 1, 0, True): 8,
        ("completed", None, "completed", None, 1, 1, True): 1,
        ("completed", None, "completed", None, 2, 0, True): 1,
        ("completed", None, "completed", "duplicate", 1, 0, True): 2,
        ("completed", None, "completed", "event_not_allowed", 1, 0, True): 1,
        ("completed", None, "completed", "below_threshold", 1, 0, True): 1,
        ("failed", "code_error", "failed", None, 2, 0, True): 1,
        ("cancelled", None, "cancelled", None, 0, 0, True): 1,
        ("cancelled", None, "cancelled", None, 0, 0, False): 1,
    }
    assert {row[3] for row in endings if row[0] not in {CAPTURE, EXTRACTION}} == {"completed", "superseded"}
    assert {row[3] for row in endings if row[0] == EXTRACTION} == {"completed", "superseded", "failed", "cancelled"}
    counted = set(site.column("select distinct type from lightfast_workspace_operations_metrics"))
    assert counted == set(MetricType) - {"documents_indexed"}, "nothing here synchronises a source"
