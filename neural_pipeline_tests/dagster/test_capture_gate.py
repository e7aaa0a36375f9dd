"""What a run keeps out, by real rows: settings of workspaces, subscriptions, thresholds, duplicates."""

import json
from typing import Any

import pytest

from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.launching import (
    Site,
)

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
    assert site.reason_of(id_) == "below_threshold"


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
    assert site.reason_of(id_) == outcome


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
    assert [site.reason_of(id_) for id_ in ids] == reasons


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
    assert [site.reason_of(id_) for id_ in (first, second)] == ["success", "duplicate"]
    assert site.run_of(second)["status"] == "completed"
    assert {table: rows for table, rows in site.contents().items() if table in memory} == memory
