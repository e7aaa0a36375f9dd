"""Which executions stand for each other, and for how long they wait."""

import pytest

from neural_pipeline.contracts.debounce import MAX_KEY, Debounce, Period, debounce_of
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import (
    CapturePayload,
    ExtractionPayload,
    IncomingEvent,
    ProfilePayload,
    SummaryPayload,
    SyncPayload,
)
from neural_pipeline_tests.building import source_event

PERIODS = {
    FunctionId.PROFILE_UPDATE: Period(300, 1800),
    FunctionId.CLUSTER_SUMMARY: Period(600, 3600),
    FunctionId.LLM_ENTITY_EXTRACTION: Period(60, 300),
}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (ProfilePayload(actor_id="github:1", observation_id="o1"), Debounce("github:1", 300, 1800)),
        (SummaryPayload(cluster_id="12", observation_count=5), Debounce("12", 600, 3600)),
        (ExtractionPayload(observation_id="o1", content_length=9), Debounce("o1", 60, 300)),
        (SyncPayload(source_id="s1", source_type="github"), None),
        (CapturePayload(source_event=source_event()), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_child_waits_for_news_of_what_it_is_about(payload: IncomingEvent, expected: Debounce | None) -> None:
    assert debounce_of(payload, PERIODS) == expected


def test_a_function_without_a_period_is_not_debounced() -> None:
    assert debounce_of(SummaryPayload(cluster_id="12", observation_count=5), {}) is None


def key(actor_id: str) -> str:
    found = debounce_of(ProfilePayload(actor_id=actor_id, observation_id="o1"), PERIODS)
    assert found is not None
    return found.key


def test_a_key_that_fits_its_column_is_left_as_it_is() -> None:
    assert key("x" * MAX_KEY) == "x" * MAX_KEY


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\U0001f600"])
def test_a_key_that_does_not_fit_keeps_its_head_and_what_tells_it_from_others(letter: str) -> None:
    one, other = key(letter * 500 + "1"), key(letter * 500 + "2")
    assert (len(one), one[:127]) == (MAX_KEY, letter * 127)
    assert one == key(letter * 500 + "1") != other
