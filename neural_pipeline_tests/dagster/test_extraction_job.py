"""Requests to read observations, worked off by real runs on a real database: entities, links, counts and reasons."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from neural_pipeline.contracts.answers import ExtractedEntity, ExtractionAnswer
from neural_pipeline.contracts.incoming import ExtractionPayload
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.models.fencing import OPENING
from neural_pipeline.models.language import Answer, LanguageModel, ModelFailed, Question, Trouble, Usage
from neural_pipeline.resources import Asking, Pipeline
from neural_pipeline.store import inbox
from neural_pipeline.workflows.batch_work import asking
from neural_pipeline.workflows.llm_entity_extraction.job import llm_entity_extraction
from neural_pipeline_tests.building import NOON, in_transaction, workspaces
from neural_pipeline_tests.dagster.launching import Site, metadata_of, table_of

PROSE = (
    "Thanks to Jane Doe we moved the sessions from PostgreSQL to Redis; raise `max_connections` to 200. " + "x" * 200
)
OPS = ("load", "fetch", "extract", "store")

_OBSERVATION = """
insert into lightfast_workspace_neural_observations (external_id, workspace_id, occurred_at, observation_type, title,
  content, source, source_type, source_id)
values (:external_id, :workspace_id, :occurred_at, 'push', 'A title', :content, 'github', 'push', :external_id)
"""


def answer_of(*entities: tuple[str, float], category: str = "service") -> ExtractionAnswer:
    """Made without validation: what a provider's answer would have been cut to is no matter here."""
    members = tuple(
        ExtractedEntity.model_construct(category=category, key=key, value=None, confidence=sure, reasoning=None)
        for key, sure in entities
    )
    return ExtractionAnswer.model_construct(entities=members)


@dataclass
class ModelMadeUp:
    """A model that answers as it is told, and remembers what it was asked."""

    says: Callable[[], ExtractionAnswer] = lambda: answer_of(("kafka", 0.9))
    asked: list[Question[Any]] = field(default_factory=list[Question[Any]])
    name: str = "made-up:clever"
    is_offline: bool = False

    def answer(self, question: Question[Any]) -> Answer[Any]:
        self.asked.append(question)
        return Answer(self.says(), self.name, Usage(30, 12))


def failing(trouble: Trouble, message: str) -> Callable[[], ExtractionAnswer]:
    def fail() -> ExtractionAnswer:
        raise ModelFailed(trouble, message, usage=Usage(7, 0))

    return fail


def pipeline_with(model: LanguageModel) -> Pipeline:
    class WithModel(Pipeline):
        def language_model(self, workflow: Asking) -> LanguageModel:
            assert workflow == "extraction"
            return model

    return WithModel()


@dataclass(frozen=True)
class Readings:
    """A site whose requests to read observations are worked off."""

    site: Site

    def observe(self, external_id: str, content: str = PROSE, *, workspace_id: str = "ws_test") -> None:
        self.site.execute(
            _OBSERVATION, external_id=external_id, workspace_id=workspace_id, occurred_at=NOON, content=content
        )

    def ask_for(self, *observation_ids: str, workspace_id: str = "ws_test") -> list[int]:
        """Ask for observations to be read; return the ids of the requests."""
        known = self.site.count("select count(*) from incoming_events")
        events = [
            inbox.NewEvent(
                workspace_id=workspace_id,
                source="neural",
                delivery_id=str(known + n),
                payload=ExtractionPayload(observation_id=observation_id, content_length=300),
                trigger=Trigger.AUTOMATIC,
            )
            for n, observation_id in enumerate(observation_ids)
        ]
        return list(in_transaction(self.site.engine, lambda connection: inbox.append(connection, events)))

    def work(self, model: LanguageModel | None = None) -> dg.ExecuteInProcessResult:
        """Run the job on what is due and record its end."""
        result = llm_entity_extraction.execute_in_process(
            instance=self.site.instance,
            resources={"pipeline": pipeline_with(model) if model else Pipeline()},
            raise_on_error=False,
        )
        self.site.record(result.run_id)
        return result

    def outputs(self, event_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return what the runs have ended with, without what all have."""
        rows = [self.site.run_of(event_id) for event_id in event_ids]
        assert {row["status"] for row in rows} == {"completed"}
        return [{k: v for k, v in row["output"].items() if k != "inngestFunctionId"} for row in rows]

    def entities(self) -> list[tuple[Any, ...]]:
        """Return the entities with their counts, and who linked them to what."""
        sql = """
        select e.category || ':' || e.key as entity, e.occurrence_count, o.external_id, l.extracted_by
        from lightfast_workspace_neural_entities e
        join observation_entities l on l.entity_id = e.id
        join lightfast_workspace_neural_observations o on o.id = l.observation_id
        order by o.external_id, e.category, e.key
        """
        return [tuple(row.values()) for row in self.site.rows(sql)]

    def metrics(self) -> list[tuple[Any, ...]]:
        sql = (
            "select event_id, value, tags from lightfast_workspace_operations_metrics where type = 'entities_extracted'"
        )
        return [tuple(row.values()) for row in self.site.rows(f"{sql} order by event_id")]


@pytest.fixture
def readings(site: Site, monkeypatch: pytest.MonkeyPatch) -> Readings:
    monkeypatch.setenv("NEURAL_EXTRACTION_RETRIES", "0")
    return Readings(site)


def success(observation_id: str, entities: int) -> dict[str, Any]:
    counts = {"entitiesExtracted": entities, "entitiesStored": entities}
    return {"status": "success", "observationId": observation_id, **counts}


def skipped(reason: str, observation_id: str | None = None, **rest: str) -> dict[str, Any]:
    named = {} if observation_id is None else {"observationId": observation_id}
    return {"status": "skipped", "reason": reason, **named, **rest}


def test_an_observation_is_read_by_rules_and_what_is_found_is_linked(readings: Readings):
    readings.observe("a")
    [event_id] = readings.ask_for("a")
    result = readings.work()
    assert {event.step_key for event in result.all_events if event.is_step_success} == set(OPS)
    assert readings.outputs([event_id]) == [success("a", 4)]
    assert readings.entities() == [
        (entity, 1, "a", "offline:prose")
        for entity in ("config:max_connections", "engineer:jane-doe", "service:postgres", "service:redis")
    ]
    person = readings.site.row("select * from lightfast_workspace_neural_entities where key = 'jane-doe'")
    assert (person["value"], person["workspace_id"]) == ("Jane Doe", "ws_test")
    assert "Thanks to Jane Doe we moved" in person["evidence_snippet"]
    tags = {"observationId": "a", "entityCount": 4, "source": "offline:prose"}
    assert readings.metrics() == [(event_id, 4, tags)]
    assert metadata_of(result, "fetch") == {"texts": 1}
    shown = metadata_of(result, "extract")
    assert (shown["model"], shown["texts"], shown["entities"], shown["model_calls"]) == ("offline", 1, 4, 0)
    assert metadata_of(result, "store")["extracted"] == 1


def test_reading_an_observation_again_counts_nothing_again(readings: Readings):
    readings.observe("a")
    events = readings.ask_for("a")
    readings.work()
    before = readings.entities()
    events += readings.ask_for("a", "a")
    readings.work()
    assert readings.outputs(events) == [success("a", 4)] * 3
    assert readings.entities() == before


def test_an_entity_counts_the_observations_that_speak_of_it(readings: Readings):
    readings.observe("a")
    readings.observe("b", "we use redis " + "x" * 200)
    readings.ask_for("a", "b")
    readings.work()
    assert [row for row in readings.entities() if row[0] == "service:redis"] == [
        ("service:redis", 2, "a", "offline:prose"),
        ("service:redis", 2, "b", "offline:prose"),
    ]


def test_each_reason_not_to_read_is_the_one_that_is_true(readings: Readings):
    in_transaction(readings.site.engine, lambda connection: workspaces(connection, "other"))
    readings.observe("short", "Thanks to Jane Doe for redis")
    readings.observe("theirs", workspace_id="other")
    readings.observe("empty of entities", "x" * 300)
    events = readings.ask_for("short", "theirs", "nowhere", "empty of entities")
    result = readings.work()
    assert readings.outputs(events) == [
        skipped("content_too_short", "short"),
        skipped("observation_not_found"),
        skipped("observation_not_found"),
        success("empty of entities", 0),
    ]
    assert readings.entities() == []
    assert [(event_id, value) for event_id, value, _ in readings.metrics()] == [(events[3], 0)]
    assert metadata_of(result, "fetch") == {"texts": 1, "content_too_short": 1, "observation_not_found": 2}


def test_how_long_a_text_must_be_is_a_setting(readings: Readings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_EXTRACTION_MIN_CONTENT", "10")
    readings.observe("a", "uses redis")
    events = readings.ask_for("a")
    readings.work()
    assert readings.outputs(events) == [success("a", 1)]


def test_a_model_s_entities_are_normalised_judged_and_named_after_it(readings: Readings):
    readings.observe("a")
    model = ModelMadeUp(lambda: answer_of(("Apache Kafka", 0.9), ("kafka", 0.8), ("redis", 0.64), ("API", 0.9)))
    events = readings.ask_for("a")
    result = readings.work(model)
    assert readings.outputs(events) == [success("a", 1)]
    assert readings.entities() == [("service:kafka", 1, "a", "made-up:clever")]
    assert [tags["source"] for *_, tags in readings.metrics()] == ["made-up:clever"]
    [question] = model.asked
    assert OPENING in question.prompt.data
    assert "Thanks to Jane Doe" in question.prompt.data
    shown = metadata_of(result, "extract")
    assert (shown["model"], shown["model_calls"], shown["entities"]) == ("made-up:clever", 1, 1)
    assert (shown["input_tokens"], shown["output_tokens"]) == (30, 12)


def test_of_twenty_entities_the_fifteen_most_certain_are_kept(readings: Readings):
    readings.observe("a")
    events = readings.ask_for("a")
    found = [{"category": "service", "key": f"thing-{n:02}", "confidence": 0.7 + n / 100} for n in range(20)]
    readings.work(ModelMadeUp(lambda: ExtractionAnswer.model_validate({"entities": found})))
    assert readings.outputs(events) == [success("a", 15)]
    assert [entity for entity, *_ in readings.entities()] == [f"service:thing-{n:02}" for n in range(5, 20)]


def test_as_many_entities_are_asked_for_and_kept_as_the_settings_say(
    readings: Readings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_EXTRACTION_MAX_ENTITIES", "18")
    readings.observe("a")
    events = readings.ask_for("a")
    found = [{"category": "service", "key": f"thing-{n:02}", "confidence": 0.9} for n in range(20)]
    model = ModelMadeUp(lambda: ExtractionAnswer.model_validate({"entities": found}))
    readings.work(model)
    assert readings.outputs(events) == [success("a", 18)]
    assert "at most 18" in model.asked[0].prompt.instructions


def test_hostile_keys_are_cleaned_or_dropped_and_the_rest_is_kept(readings: Readings):
    readings.observe("a")
    events = readings.ask_for("a")
    hostile = ("re\x00dis\x1b[31m", "k" * 10_000, "\ud800kafka", "'; drop table x; --", "\u202e", "\x00")
    readings.work(ModelMadeUp(lambda: answer_of(*((key, 0.9) for key in hostile), ("nats", 0.8))))
    assert [entity for entity, *_ in readings.entities()] == [
        "service:drop-table-x",
        "service:kafka",
        "service:nats",
        "service:re-dis-[31m",
    ]
    assert readings.outputs(events) == [success("a", 4)]


def test_what_the_capture_has_linked_is_confirmed_and_not_counted_again(readings: Readings):
    readings.observe("a")
    readings.site.execute(
        """
        with entity as (
          insert into lightfast_workspace_neural_entities (workspace_id, category, key, confidence)
          values ('ws_test', 'engineer', '@ada', 0.9) returning id
        )
        insert into observation_entities select o.id, e.id, 0.9, 'with @ada', 'rules'
        from lightfast_workspace_neural_observations o, entity e
        """
    )
    events = readings.ask_for("a")
    readings.work(ModelMadeUp(lambda: answer_of(("@Ada", 0.95), category="engineer")))
    assert readings.outputs(events) == [success("a", 1)]
    assert readings.entities() == [("engineer:@ada", 1, "a", "rules")]


def test_an_observation_replaced_while_it_is_read_is_not_found(readings: Readings):
    readings.observe("a")

    def replaced() -> ExtractionAnswer:
        readings.site.execute("delete from lightfast_workspace_neural_observations")
        readings.observe("a", "other words " * 30)
        return answer_of(("kafka", 0.9))

    events = readings.ask_for("a")
    readings.work(ModelMadeUp(replaced))
    assert readings.outputs(events) == [skipped("observation_not_found")]
    assert readings.entities() == []


def test_a_model_that_fails_is_asked_again_and_then_the_event_has_failed(
    readings: Readings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_EXTRACTION_RETRIES", "1")
    monkeypatch.setenv("NEURAL_RETRY_BASE_SECONDS", "0")
    readings.observe("a")
    [event_id] = readings.ask_for("a")
    model = ModelMadeUp(failing(Trouble.UNAVAILABLE, "the provider answers 503"))
    result = readings.work(model)
    assert metadata_of(result, "extract")["trouble/unavailable"] == 1
    assert metadata_of(result, "store")["tried again later"] == 1
    assert readings.site.run_of(event_id)["status"] == "queued"
    result = readings.work(model)
    row = readings.site.run_of(event_id)
    assert (row["status"], row["attempt"], len(model.asked)) == ("failed", 2, 2)
    assert row["error_message"] == "the provider answers 503"
    assert (row["output"]["status"], row["output"]["observationId"]) == ("failure", "a")
    assert (row["output"]["step"], row["output"]["error"]) == ("extract", "the provider answers 503")
    assert [record["step"] for record in table_of(result, "store", "failures")] == ["extract"]
    assert readings.entities() == []


def test_a_failure_after_which_the_model_answers_leaves_nothing_behind(
    readings: Readings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_EXTRACTION_RETRIES", "1")
    monkeypatch.setenv("NEURAL_RETRY_BASE_SECONDS", "0")
    readings.observe("a")
    events = readings.ask_for("a")
    readings.work(ModelMadeUp(failing(Trouble.RATE_LIMITED, "too many requests")))
    readings.work(ModelMadeUp())
    assert readings.outputs(events) == [success("a", 1)]
    assert len(readings.metrics()) == 1


def test_when_the_budget_of_the_day_is_used_up_the_row_says_so(readings: Readings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_MODEL_DAILY_TOKENS", "10")
    readings.observe("a")
    [event_id] = readings.ask_for("a")
    model = ModelMadeUp()
    result = readings.work(model)
    [output] = readings.outputs([event_id])
    assert (output["status"], output["reason"], output["observationId"]) == ("skipped", "budget_exhausted", "a")
    assert "10" in output["detail"]
    assert model.asked == []
    assert metadata_of(result, "store")["budget_exhausted"] == 1


def test_a_model_that_cannot_be_used_as_configured_says_what_to_set(
    readings: Readings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_EXTRACTION_MODEL", "openai:gpt-5-mini")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    readings.observe("a")
    [event_id] = readings.ask_for("a")
    result = readings.work()
    row = readings.site.run_of(event_id)
    assert (row["status"], row["output"]["step"]) == ("failed", "extract")
    assert "OPENAI_API_KEY" in row["error_message"]
    assert metadata_of(result, "extract")["model"] == "openai:gpt-5-mini"


def test_what_there_is_no_time_to_ask_waits_for_a_later_run(readings: Readings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_EXTRACTION_CONCURRENCY", "1")
    for name in "ab":
        readings.observe(name)
    events = readings.ask_for("a", "b")
    with monkeypatch.context() as later:

        def slowly() -> ExtractionAnswer:
            much_later = time.monotonic() + 1000.0
            later.setattr(asking, "time", SimpleNamespace(monotonic=lambda: much_later))
            return answer_of(("kafka", 0.9))

        result = readings.work(ModelMadeUp(slowly))
    assert metadata_of(result, "extract")["unasked"] == 1
    assert metadata_of(result, "store")["left to a later run"] == 1
    assert [readings.site.run_of(event_id)["status"] for event_id in events] == ["completed", "queued"]
    readings.work(ModelMadeUp())
    assert readings.outputs(events) == [success("a", 1), success("b", 1)]
    assert readings.site.run_of(events[1])["attempt"] == 1


def test_one_event_that_cannot_be_stored_fails_alone(readings: Readings):
    for name in "abc":
        readings.observe(name)
    events = readings.ask_for("a", "b", "c")
    readings.site.execute(
        "alter table observation_entities add constraint no_b check (evidence_snippet not like '%spoiled%')"
    )
    try:
        readings.site.execute(
            "update lightfast_workspace_neural_observations set content = :c where external_id = 'b'",
            c="Thanks to Jane Doe, spoiled. " + "x" * 200,
        )
        readings.work()
    finally:
        readings.site.execute("alter table observation_entities drop constraint no_b")
    statuses = [readings.site.run_of(event_id)["status"] for event_id in events]
    assert statuses == ["completed", "failed", "completed"]
    assert readings.site.run_of(events[1])["output"]["step"] == "store"
    assert {external_id for _, _, external_id, _ in readings.entities()} == {"a", "c"}
