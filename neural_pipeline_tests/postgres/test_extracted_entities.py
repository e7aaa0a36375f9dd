"""Entities that a model found: stored and linked once whatever is repeated, beside what the capture has found."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from neural_pipeline.contracts.memory import Entity, NewObservation, ObservedText, Replaced
from neural_pipeline.store.entities import keep_entities
from neural_pipeline.store.extracted_entities import Finding, keep_extracted, texts_of
from neural_pipeline.store.replacement import reassign_entities, remove_replaced
from neural_pipeline_tests.building import (
    NOON,
    column,
    decided,
    in_transaction,
    keep,
    one,
    ready,
    waits_for_a_lock,
    workspaces,
)

REDIS = Entity("service", "redis", "Redis", 0.8, "uses Redis")
KAFKA = Entity("service", "kafka", None, 0.7, "and Kafka")
ADA = Entity("engineer", "@Ada", "Ada L.", 0.95, "by Ada")

_OBSERVATION = """
insert into lightfast_workspace_neural_observations (external_id, workspace_id, occurred_at, observation_type, title,
  content, source, source_type, source_id)
values (:external_id, :workspace_id, :occurred_at, 'push', 'A title', 'A content', 'github', 'push', :external_id)
returning id
"""


def observed(connection: Connection, external_id: str = "obs-1", *, workspace_id: str = "ws_test") -> int:
    """Put an observation into the memory; return its id."""
    fields = {"external_id": external_id, "workspace_id": workspace_id, "occurred_at": NOON}
    return int(connection.execute(text(_OBSERVATION), fields).scalar_one())


def found(observation_id: int, *entities: Entity, event_id: int = 1, **changes: Any) -> Finding:
    fields: dict[str, Any] = {"workspace_id": "ws_test", "found_by": "offline:prose"}
    return Finding(event_id=event_id, observation_id=observation_id, entities=entities, **(fields | changes))


def entities(connection: Connection) -> list[tuple[Any, ...]]:
    sql = "select key, round(confidence::numeric, 2)::text, occurrence_count from lightfast_workspace_neural_entities"
    return [tuple(row) for row in connection.execute(text(f"{sql} order by workspace_id, lower(key)"))]


def links(connection: Connection) -> list[tuple[Any, ...]]:
    sql = """
    select l.observation_id, e.key, round(l.confidence::numeric, 2)::text, l.extracted_by
    from observation_entities l join lightfast_workspace_neural_entities e on e.id = l.entity_id
    order by l.observation_id, lower(e.key)
    """
    return [tuple(row) for row in connection.execute(text(sql))]


@contextmanager
def counted_statements(connection: Connection) -> Iterator[list[str]]:
    statements: list[str] = []

    def count(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(connection, "before_cursor_execute", count)
    yield statements
    event.remove(connection, "before_cursor_execute", count)


def test_texts_are_found_only_in_the_workspace_of_who_asks(scratch: Connection):
    workspaces(scratch, "other")
    mine, others = observed(scratch), observed(scratch, "obs-2", workspace_id="other")
    asked = [("ws_test", "obs-1"), ("ws_test", "obs-2"), ("other", "obs-2"), ("ws_test", "nowhere"), ("other", "obs-1")]
    assert texts_of(scratch, asked) == {
        ("ws_test", "obs-1"): ObservedText(mine, "A title", "A content"),
        ("other", "obs-2"): ObservedText(others, "A title", "A content"),
    }
    assert texts_of(scratch, []) == {}


def test_entities_are_stored_and_linked_with_what_was_found(scratch: Connection):
    id_ = observed(scratch)
    assert keep_extracted(scratch, [found(id_, REDIS, KAFKA)]) == {1: 2}
    row = one(scratch, "select * from lightfast_workspace_neural_entities where key = 'redis'")
    assert (row["workspace_id"], row["category"], row["value"]) == ("ws_test", "service", "Redis")
    assert (row["source_observation_id"], row["evidence_snippet"]) == (id_, "uses Redis")
    assert entities(scratch) == [("kafka", "0.70", 1), ("redis", "0.80", 1)]
    assert links(scratch) == [(id_, "kafka", "0.70", "offline:prose"), (id_, "redis", "0.80", "offline:prose")]
    assert column(scratch, "select evidence_snippet from observation_entities order by 1") == [
        "and Kafka",
        "uses Redis",
    ]


def test_nothing_found_stores_nothing_and_says_so(scratch: Connection):
    id_ = observed(scratch)
    assert keep_extracted(scratch, [found(id_)]) == {1: 0}
    assert entities(scratch) == []


def test_doing_it_again_counts_nothing_again(scratch: Connection):
    id_ = observed(scratch)
    for _ in range(3):
        assert keep_extracted(scratch, [found(id_, REDIS, KAFKA)]) == {1: 2}
    assert entities(scratch) == [("kafka", "0.70", 1), ("redis", "0.80", 1)]
    assert len(links(scratch)) == 2


def test_an_entity_counts_the_observations_that_speak_of_it(scratch: Connection):
    first, second, third = (observed(scratch, f"obs-{n}") for n in range(3))
    keep_extracted(scratch, [found(first, REDIS), found(second, REDIS, KAFKA, event_id=2)])
    keep_extracted(scratch, [found(third, REDIS, event_id=3), found(first, REDIS)])
    assert entities(scratch) == [("kafka", "0.70", 1), ("redis", "0.80", 3)]
    assert (
        one(scratch, "select * from lightfast_workspace_neural_entities where key = 'redis'")["source_observation_id"]
        == first
    )


def test_two_events_of_one_observation_share_its_links(scratch: Connection):
    id_ = observed(scratch)
    assert keep_extracted(scratch, [found(id_, REDIS), found(id_, REDIS, KAFKA, event_id=2)]) == {1: 1, 2: 2}
    assert entities(scratch) == [("kafka", "0.70", 1), ("redis", "0.80", 1)]


def test_an_entity_keeps_its_spelling_value_and_evidence_and_grows_in_confidence(scratch: Connection):
    id_, later = observed(scratch), observed(scratch, "obs-2")
    keep_extracted(scratch, [found(id_, REDIS)])
    before = one(scratch, "select * from lightfast_workspace_neural_entities")
    keep_extracted(scratch, [found(later, Entity("service", "REDIS", "other", 0.9, "other"), event_id=2)])
    keep_extracted(scratch, [found(later, replace(REDIS, confidence=0.66), event_id=2)])
    after = one(scratch, "select * from lightfast_workspace_neural_entities")
    assert (after["key"], after["value"], after["evidence_snippet"]) == ("redis", "Redis", "uses Redis")
    assert (after["source_observation_id"], round(after["confidence"], 2)) == (id_, 0.9)
    assert after["last_seen_at"] > before["last_seen_at"]
    assert after["updated_at"] > before["updated_at"]
    assert [confidence for *_, confidence, _ in links(scratch)] == ["0.80", "0.90"]


def test_what_the_capture_has_linked_stays_the_capture_s_and_is_not_counted_again(scratch: Connection):
    id_ = observed(scratch)
    captured_by_rules(scratch, id_, Entity("engineer", "@ada", None, 0.9, "with @ada"))
    assert keep_extracted(scratch, [found(id_, ADA, REDIS, found_by="openai:gpt-5-mini")]) == {1: 2}
    assert entities(scratch) == [("@ada", "0.95", 1), ("redis", "0.80", 1)]
    assert links(scratch) == [(id_, "@ada", "0.95", "rules"), (id_, "redis", "0.80", "openai:gpt-5-mini")]


def test_a_later_capture_counts_on_what_was_extracted(scratch: Connection):
    first, second = observed(scratch), observed(scratch, "obs-2")
    keep_extracted(scratch, [found(first, REDIS)])
    captured_by_rules(scratch, second, replace(REDIS, key="Redis"))
    assert entities(scratch) == [("redis", "0.80", 2)]


def captured_by_rules(connection: Connection, observation_id: int, *entities: Entity) -> None:
    class Captured:
        workspace_id = "ws_test"

    Captured.entities = entities  # pyright: ignore[reportAttributeAccessIssue] - of an observation only this is read
    keep_entities(connection, [(observation_id, Captured)])  # pyright: ignore[reportArgumentType]


def test_the_same_key_in_another_workspace_or_category_is_another_entity(scratch: Connection):
    workspaces(scratch, "other")
    mine, others = observed(scratch), observed(scratch, "obs-2", workspace_id="other")
    findings = [
        found(mine, REDIS, replace(REDIS, category="project")),
        found(others, REDIS, event_id=2, workspace_id="other"),
    ]
    assert keep_extracted(scratch, findings) == {1: 2, 2: 1}
    assert [count for *_, count in entities(scratch)] == [1, 1, 1]


def test_keys_that_the_database_folds_together_are_one_entity(scratch: Connection):
    id_ = observed(scratch)
    assert keep_extracted(scratch, [found(id_, REDIS, replace(REDIS, key="Redis", confidence=0.9))]) == {1: 1}
    assert entities(scratch) == [("redis", "0.90", 1)]
    assert links(scratch) == [(id_, "redis", "0.90", "offline:prose")]


def test_an_observation_that_is_gone_leaves_its_event_out_and_nothing_behind(scratch: Connection):
    id_ = observed(scratch)
    assert keep_extracted(scratch, [found(10**9, KAFKA), found(id_, REDIS, event_id=2)]) == {2: 1}
    assert entities(scratch) == [("redis", "0.80", 1)]


def test_the_name_of_a_model_is_cut_to_what_its_column_holds(scratch: Connection):
    keep_extracted(scratch, [found(observed(scratch), REDIS, found_by="openai:" + "m" * 200)])
    assert column(scratch, "select length(extracted_by) from observation_entities") == [100]


def test_the_longest_keys_of_the_widest_letters_can_be_stored(scratch: Connection):
    wide = Entity("definition", "".join(chr(0x20000 + n) for n in range(500)), None, 0.9, "e")
    assert keep_extracted(scratch, [found(observed(scratch), wide)]) == {1: 1}


@pytest.mark.parametrize("observations", [1, 40])
def test_the_number_of_statements_does_not_grow_with_the_number_of_observations(scratch: Connection, observations: int):
    ids = [observed(scratch, f"obs-{n}") for n in range(observations)]
    findings = [found(id_, REDIS, KAFKA, event_id=n) for n, id_ in enumerate(ids)]
    with counted_statements(scratch) as statements:
        keep_extracted(scratch, findings)
        texts_of(scratch, [("ws_test", f"obs-{n}") for n in range(observations)])
    assert len(statements) == 4


def many(*letters: str) -> tuple[Entity, ...]:
    return tuple(replace(REDIS, key=f"{letter}{n}") for letter in letters for n in range(200))


def test_captures_and_extractions_of_the_same_entities_do_not_deadlock(engine: Engine, workspace: str):
    ids = in_transaction(engine, lambda connection: [observed(connection, f"obs-{n}") for n in range(8)])

    def act(n: int) -> Callable[[Connection], Any]:
        order = many("a", "b", "c") if n % 2 else tuple(reversed(many("a", "b", "c")))
        if n % 4 < 2:
            return lambda connection: keep_extracted(connection, [found(ids[n], *order, event_id=n)])
        return lambda connection: captured_by_rules(connection, ids[n], *order)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: in_transaction(engine, act(n)), range(8)))
    with engine.begin() as connection:
        assert column(connection, "select distinct occurrence_count from lightfast_workspace_neural_entities") == [8]


def captured_once(engine: Engine) -> tuple[int, NewObservation]:
    """Capture an observation; return its id and one that is to replace it."""
    token, seen = ready(engine, 1)
    keep(engine, token, seen)
    with engine.begin() as connection:
        id_ = column(connection, "select id from lightfast_workspace_neural_observations")[0]
    verdict = decided(seen)[0].verdict
    assert isinstance(verdict, NewObservation)
    return id_, replace(verdict, replaces=Replaced(id_, verdict.external_id, None))


def removed(connection: Connection, newer: NewObservation) -> None:
    reassign_entities(connection, remove_replaced(connection, newer).entity_ids)


def test_an_observation_replaced_during_an_extraction_leaves_nothing_of_what_was_found_in_it(
    engine: Engine, workspace: str
):
    id_, newer = captured_once(engine)
    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            assert keep_extracted(connection, [found(id_, REDIS, ADA)]) == {1: 2}
            removal = thread.submit(in_transaction, engine, lambda other: removed(other, newer))
            assert waits_for_a_lock(removal)
        removal.result(10)
    with engine.begin() as connection:
        assert entities(connection) == []


def test_an_extraction_waits_for_a_replacement_and_finds_its_observation_gone(engine: Engine, workspace: str):
    id_, newer = captured_once(engine)
    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            removed(connection, newer)
            extraction = thread.submit(in_transaction, engine, lambda other: keep_extracted(other, [found(id_, REDIS)]))
            assert waits_for_a_lock(extraction)
        assert extraction.result(10) == {}
    with engine.begin() as connection:
        assert entities(connection) == []
