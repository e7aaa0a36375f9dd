"""What becomes of executions whose model fails, through real jobs, a real client and a server on the loopback address.

The outcomes are those that docs/models.md promises.
"""

import json
from collections.abc import Iterator

import dagster as dg
import pytest

from neural_pipeline.resources import Pipeline
from neural_pipeline.workflows.cluster_summary.job import cluster_summary
from neural_pipeline.workflows.llm_entity_extraction.job import llm_entity_extraction
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.building import source_event, workspaces
from neural_pipeline_tests.dagster.launching import Site, metadata_of
from neural_pipeline_tests.openai_server import Asked, OpenAIServer, Reply, refused

KEY = "sk-test-9f8e7d6c5b4a"
MODEL = "openai:made-up"
BY_RULES = "offline:rules"
ANSWERS = {
    "primaryCategory": {"primaryCategory": "security", "topics": ["tokens"], "confidence": 0.9, "reasoning": "told"},
    "summary": {"summary": "All about tokens.", "keyTopics": ["tokens"], "status": "active"},
    "entities": {"entities": [{"category": "service", "key": "Token Vault", "confidence": 0.9}]},
}
GOOD = "answered"
FAILURES = {
    "rate_limited": refused(429, "slow down", retry_after="60"),
    "unavailable": refused(500, "broken"),
    "cut_off": Reply(text="x" * 500, sent=0.5),
    "invalid_answer": Reply(answer={"nonsense": True}),
    "refused": Reply(refusal="I will not"),
    "unauthorized": refused(401, f"Incorrect API key provided: {KEY}"),
    "timed_out": Reply(seconds=20.0),
}
TOO_SHORT = Reply(vectors=[[1.0, 0.0]] * 3)
ALL = (*FAILURES, GOOD)
TEXT = "We keep the tokens of customers in a vault now. " * 6


def script(asked: Asked) -> Reply:
    """Fail as the title of the event says, or answer what is asked for."""
    is_embedding = asked.path.endswith("/embeddings")
    for trouble, reply in FAILURES.items():
        if any(f"trouble {trouble}" in text for text in asked.texts):
            return TOO_SHORT if is_embedding and trouble == "invalid_answer" else reply
    if is_embedding:
        return Reply()
    return Reply(answer=next(answer for name, answer in ANSWERS.items() if name in asked.fields))


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer(script) as server:
        settings = {
            "NEURAL_CLASSIFY_MODEL": MODEL,
            "NEURAL_SUMMARY_MODEL": MODEL,
            "NEURAL_EXTRACTION_MODEL": MODEL,
            "NEURAL_MODEL_BASE_URL": server.base_url,
            "OPENAI_API_KEY": KEY,
            "NEURAL_MODEL_TIMEOUT_SECONDS": "3",
            "NEURAL_MODEL_RETRY_AFTER_SECONDS": "0.05",
            "NEURAL_SUMMARY_MIN_OBSERVATIONS": "1",
            "NEURAL_SUMMARY_RETRIES": "0",
            "NEURAL_EXTRACTION_RETRIES": "0",
            **{
                f"NEURAL_{child}_{period}_SECONDS": "0"
                for child in ("PROFILE", "SUMMARY", "EXTRACTION")
                for period in ("DEBOUNCE", "MAX_DEBOUNCE")
            },
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield server


def captured(site: Site, *troubles: str) -> dg.ExecuteInProcessResult:
    """Capture one event per trouble, each in a workspace, and so in a cluster, of its own."""
    with site.engine.begin() as connection:
        workspaces(connection, *troubles)
    for trouble in troubles:
        site.ingest(source_event(trouble, title=f"trouble {trouble}", body=TEXT), workspace_id=trouble)
    return worked_off(site, observation_capture)


def worked_off(site: Site, job: dg.JobDefinition) -> dg.ExecuteInProcessResult:
    result = job.execute_in_process(instance=site.instance, resources={"pipeline": Pipeline()}, raise_on_error=False)
    site.record(result.run_id)
    return result


def ends(site: Site, function_id: str) -> dict[str, dict[str, object]]:
    """Return how the executions of a function ended, by workspace."""
    sql = """
    select workspace_id, status, output ->> 'status' as result, output ->> 'step' as step,
      output ->> 'reason' as reason, coalesce(error_message, output ->> 'detail') as told
    from lightfast_workspace_workflow_runs where inngest_function_id = :name
    """
    return {row.pop("workspace_id"): row for row in site.rows(sql, name=function_id)}


def assert_the_key_is_nowhere(site: Site, *results: dg.ExecuteInProcessResult) -> None:
    assert KEY not in json.dumps(site.contents(), default=str)
    for result in results:
        assert KEY not in "".join(str(entry) for entry in site.instance.all_logs(result.run_id))


def test_every_failure_of_a_provider_leaves_an_observation_that_the_rules_classified(
    site: Site, provider: OpenAIServer
) -> None:
    result = captured(site, *ALL)
    found = {
        row["workspace_id"]: (row["classified_by"], (row["classification_note"] or "").partition(":")[0])
        for row in site.rows("select * from lightfast_workspace_neural_observations")
    }
    assert found == {GOOD: (MODEL, "told"), **{trouble: (BY_RULES, trouble) for trouble in FAILURES}}
    categories = "select primary_category from lightfast_workspace_neural_observations where workspace_id = :id"
    assert site.column(categories, id=GOOD) == ["security"]
    tags = "select tags -> 'classificationFallback' from lightfast_workspace_operations_metrics where type = :type"
    assert sorted(site.column(tags, type="observation_captured")) == [False, *[True] * len(FAILURES)]
    calls = {row["workspace_id"]: row["outcome"] for row in site.rows("select * from model_calls")}
    assert calls == {trouble: trouble for trouble in ALL}
    assert metadata_of(result, "classify")["fallbacks"] == len(FAILURES)
    assert metadata_of(result, "classify")["model_calls"] == len(ALL)
    assert site.statuses() == ["completed"] * len(ALL)
    assert_the_key_is_nowhere(site, result)


@pytest.mark.parametrize(
    ("job", "function_id", "step"),
    [
        (llm_entity_extraction, "neural.llm-entity-extraction", "extract"),
        (cluster_summary, "neural.cluster.summary", "summarise"),
    ],
)
def test_every_failure_of_a_provider_fails_a_child_with_its_reason_once_its_attempts_are_spent(
    site: Site,
    provider: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
    job: dg.JobDefinition,
    function_id: str,
    step: str,
) -> None:
    monkeypatch.setenv("NEURAL_CLASSIFY_MODEL", "offline")
    captured(site, *ALL)
    result = worked_off(site, job)
    found = ends(site, function_id)
    assert {name: (end["status"], end["result"], end["step"]) for name, end in found.items()} == {
        GOOD: ("completed", "success", None),
        **dict.fromkeys(FAILURES, ("failed", "failure", step)),
    }
    classes = site.rows(
        "select e.workspace_id, a.error_class from workflow_run_attempts a join incoming_events e on e.id = a.event_id"
    )
    assert {row["workspace_id"]: row["error_class"] for row in classes} == {
        trouble: f"ModelFailed: {trouble}" for trouble in FAILURES
    }
    assert_the_key_is_nowhere(site, result)


EMBEDDING_FAILURES = sorted(FAILURES.keys() - {"refused"})
"""A model of vectors refuses nothing."""


def test_every_failure_of_an_embedder_fails_its_capture_with_the_reason_once_its_attempts_are_spent(
    site: Site, provider: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_CLASSIFY_MODEL", "offline")
    monkeypatch.setenv("NEURAL_EMBED_MODEL", "openai:made-up@8")
    result = captured(site, *EMBEDDING_FAILURES, GOOD)
    found = ends(site, "neural.observation.capture")
    assert {name: (end["status"], end["step"]) for name, end in found.items()} == {
        GOOD: ("completed", None),
        **dict.fromkeys(EMBEDDING_FAILURES, ("failed", "embed")),
    }
    classes = site.rows(
        "select e.workspace_id, a.error_class from workflow_run_attempts a join incoming_events e on e.id = a.event_id"
    )
    assert {row["workspace_id"]: row["error_class"] for row in classes} == {
        trouble: f"ModelFailed: {trouble}" for trouble in EMBEDDING_FAILURES
    }
    assert site.column("select distinct model from observation_vectors") == ["openai:made-up@8"]
    assert metadata_of(result, "embed")["model_calls"] == len(EMBEDDING_FAILURES) + 1
    assert_the_key_is_nowhere(site, result)


def test_captures_wait_for_tomorrow_when_the_budget_of_embeddings_is_exhausted(
    site: Site, provider: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_CLASSIFY_MODEL", "offline")
    monkeypatch.setenv("NEURAL_EMBED_MODEL", "openai:made-up@8")
    monkeypatch.setenv("NEURAL_MODEL_DAILY_TOKENS", "10")
    captured(site, GOOD)
    assert provider.count == 0
    waiting = site.row(
        """
        select r.status, e.attempt, e.losses, e.batch_id,
          (e.due_at at time zone 'UTC')::time < '00:01' as is_due_at_midnight
        from incoming_events e join lightfast_workspace_workflow_runs r on r.event_id = e.id
        """
    )
    assert waiting == {"status": "queued", "attempt": 0, "losses": 0, "batch_id": None, "is_due_at_midnight": True}


def test_a_provider_that_recovers_is_asked_again_by_the_next_attempt(
    site: Site, provider: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_EXTRACTION_RETRIES", "1")
    captured(site, "unavailable")
    worked_off(site, llm_entity_extraction)
    [waiting] = ends(site, "neural.llm-entity-extraction").values()
    assert waiting["status"] == "queued"
    monkeypatch.setitem(FAILURES, "unavailable", Reply(answer=ANSWERS["entities"]))
    site.execute("update incoming_events set due_at = clock_timestamp() where outcome is null")
    worked_off(site, llm_entity_extraction)
    [ended] = ends(site, "neural.llm-entity-extraction").values()
    assert (ended["status"], ended["result"]) == ("completed", "success")


def test_an_exhausted_budget_stops_calls_before_they_are_made_and_every_row_says_so(
    site: Site, provider: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_MODEL_DAILY_TOKENS", "10")
    captured(site, GOOD)
    worked_off(site, llm_entity_extraction)
    worked_off(site, cluster_summary)
    assert provider.count == 0
    note = site.column("select classification_note from lightfast_workspace_neural_observations")
    assert note[0].startswith("budget_exhausted: today's budget (UTC) of 10 tokens is exhausted")
    for function_id in ("neural.llm-entity-extraction", "neural.cluster.summary"):
        end = ends(site, function_id)[GOOD]
        assert (end["status"], end["result"], end["reason"]) == ("completed", "skipped", "budget_exhausted")
        assert "of 10 tokens is exhausted" in str(end["told"])


def test_a_model_without_a_key_leaves_captures_to_the_rules_and_fails_children_with_what_to_set(
    site: Site, provider: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("NEURAL_MODEL_BASE_URL")
    captured(site, GOOD)
    worked_off(site, llm_entity_extraction)
    found = site.row("select classified_by, classification_note from lightfast_workspace_neural_observations")
    assert found["classified_by"] == BY_RULES
    assert "set OPENAI_API_KEY" in found["classification_note"]
    end = ends(site, "neural.llm-entity-extraction")[GOOD]
    assert (end["status"], end["step"]) == ("failed", "extract")
    assert "set OPENAI_API_KEY" in str(end["told"])
