"""Answers of models: over-long ones are cut, unusable members dropped, lies refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from neural_pipeline.contracts.answers import (
    MAX_ENTITIES,
    PRIMARY_CATEGORIES,
    ClassifyAnswer,
    ExtractionAnswer,
    SummaryAnswer,
)

CLASSIFIED = {"primaryCategory": "bug_fix", "confidence": 0.9}
SUMMARISED = {"summary": "Login was repaired.", "status": "active"}
FOUND = {"category": "service", "key": "stripe", "confidence": 0.8}


def classified(**more: Any) -> ClassifyAnswer:
    return ClassifyAnswer.model_validate(CLASSIFIED | more)


def extracted(*entities: Any) -> ExtractionAnswer:
    return ExtractionAnswer.model_validate({"entities": list(entities)})


def test_a_reasoning_that_is_too_long_is_cut_and_the_answer_kept():
    answer = classified(reasoning="r" * 232)
    assert (answer.primary_category, answer.reasoning) == ("bug_fix", "r" * 200)


def test_lists_keep_their_first_members():
    answer = classified(secondaryCategories=list("abcd"), topics=list("abcdef"))
    assert (answer.secondary_categories, answer.topics) == (("a", "b", "c"), ("a", "b", "c", "d", "e"))


def test_a_member_that_is_no_text_costs_only_itself():
    assert classified(topics=["a", 3, None, "  ", "\0", "b"]).topics == ("a", "b")


def test_a_list_that_is_null_is_empty():
    assert classified(topics=None).topics == ()


@pytest.mark.parametrize(
    ("topics", "understood"),
    [
        ("auth", ("auth",)),
        ('["auth", "login", 3]', ("auth", "login")),
        (' [ "auth" ]', ("auth",)),
        ("[auth", ("[auth",)),
        ("", ()),
        ("[" * 100_000, ("[" * 100,)),
    ],
)
def test_a_text_in_place_of_a_list_is_read_as_json_or_as_its_only_member(topics: str, understood: tuple[str, ...]):
    assert classified(topics=topics).topics == understood


def test_entities_in_a_string_are_read_and_a_sentence_in_their_place_is_no_answer():
    answer = ExtractionAnswer.model_validate({"entities": json.dumps([FOUND, "nonsense"])})
    assert answer == extracted(FOUND)
    with pytest.raises(ValidationError):
        ExtractionAnswer.model_validate({"entities": "There are none, I think."})


@pytest.mark.parametrize("spelled", ["Bug_fix", "bug fix", "BUG-FIX", " bug_fix\n"])
def test_a_choice_is_understood_however_it_is_spelled(spelled: str):
    assert classified(primaryCategory=spelled).primary_category == "bug_fix"
    assert SummaryAnswer.model_validate(SUMMARISED | {"status": "Active"}).status == "active"
    assert extracted(FOUND | {"category": "Service"}).entities[0].category == "service"


@pytest.mark.parametrize(
    ("told", "meant"), [("85%", 0.85), (" 7.5 % ", 0.075), ("100%", 1.0), ("0.85", 0.85), (1, 1.0)]
)
def test_a_confidence_in_words_of_a_number_is_read(told: object, meant: float):
    assert classified(confidence=told).confidence == pytest.approx(meant)


@pytest.mark.parametrize("unusable", [{"why": "so"}, ["so"], 7])
def test_what_an_answer_can_do_without_is_left_out_where_it_is_unusable(unusable: object):
    assert classified(reasoning=unusable) == classified()
    assert extracted(FOUND | {"reasoning": unusable, "value": unusable}) == extracted(FOUND)


def test_a_summary_is_cut_and_its_lists_too():
    answer = SummaryAnswer.model_validate(SUMMARISED | {"summary": "s" * 600, "keyContributors": list("abcdefg")})
    assert (len(answer.summary), len(answer.key_contributors)) == (500, 5)


def test_nul_which_postgres_cannot_hold_is_taken_out():
    assert SummaryAnswer.model_validate(SUMMARISED | {"summary": "a\0b"}).summary == "ab"


@pytest.mark.parametrize("summary", ["", "   ", "\0"])
def test_a_summary_without_words_is_no_answer(summary: str):
    with pytest.raises(ValidationError):
        SummaryAnswer.model_validate(SUMMARISED | {"summary": summary})


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan"), float("inf"), "high", "101%", "85", "-5%", None])
def test_a_confidence_that_is_none_makes_a_classification_invalid(confidence: object):
    with pytest.raises(ValidationError):
        classified(confidence=confidence)


def test_a_category_that_does_not_exist_makes_a_classification_invalid():
    with pytest.raises(ValidationError):
        classified(primaryCategory="improvement")


def test_a_status_that_does_not_exist_makes_a_summary_invalid():
    with pytest.raises(ValidationError):
        SummaryAnswer.model_validate(SUMMARISED | {"status": "paused"})


@pytest.mark.parametrize(
    "unusable",
    [FOUND | {"category": "person"}, FOUND | {"confidence": 7}, FOUND | {"key": " "}, {"key": "x"}, "stripe", None],
)
def test_an_entity_that_cannot_be_used_costs_only_itself(unusable: object):
    assert [entity.key for entity in extracted(unusable, FOUND).entities] == ["stripe"]


def test_unusable_entities_take_no_place_among_the_first():
    entities = extracted(*[{"key": "x"}] * 20, *[FOUND] * 120).entities
    assert len(entities) == MAX_ENTITIES == 100


def test_a_key_and_a_value_that_are_too_long_are_cut():
    entity = extracted(FOUND | {"key": "k" * 600, "value": "v" * 600, "reasoning": "r" * 600}).entities[0]
    assert (len(entity.key), len(entity.value or ""), len(entity.reasoning or "")) == (500, 500, 200)


def test_what_was_not_asked_for_is_ignored():
    assert classified(mood="good") == classified()


def test_the_json_schema_tells_limits_in_words_and_enforces_none():
    schema = ClassifyAnswer.model_json_schema()["properties"]
    assert "At most 3 members." in schema["secondaryCategories"]["description"]
    assert "At most 200 characters." in schema["reasoning"]["anyOf"][0]["description"]
    assert "maxLength" not in json.dumps(schema)
    assert "maxItems" not in json.dumps(schema)
    assert "At most" not in ExtractionAnswer.model_json_schema()["properties"]["entities"].get("description", "")


def test_there_are_fourteen_primary_categories():
    assert len(PRIMARY_CATEGORIES) == 14


@given(st.text(), st.lists(st.text() | st.none() | st.integers(), max_size=8))
def test_a_kept_answer_is_read_back_as_it_was(text: str, topics: list[object]):
    answer = classified(reasoning=text.encode(errors="replace").decode(), topics=topics)
    assert ClassifyAnswer.model_validate_json(json.dumps(answer.to_json())) == answer
