import gc

import pytest

from neural_pipeline.store.sql import read_json
from neural_pipeline.workflows.batch_work.collector import calm_collector

LONGEST_FAST = 999_999_999_999_999_999


@pytest.mark.parametrize("number", [0, -1, LONGEST_FAST, 2**63 - 1, 2**64, -(2**64), 10**40])
def test_an_integer_of_any_length_is_read_as_it_was_written(number: int) -> None:
    found = read_json(f'{{"number": {number}}}')["number"]
    assert (found, type(found)) == (number, int)


def test_text_and_numbers_come_back_as_they_are() -> None:
    stored = '{"text": "\\u00fc \\ud83d\\ude80", "half": 0.5, "tiny": 1e-300, "none": null, "list": [true, {}]}'
    found = {"text": "\u00fc \U0001f680", "half": 0.5, "tiny": 1e-300, "none": None, "list": [True, {}]}
    assert read_json(stored) == read_json(stored.encode()) == found


def test_a_calm_collector_looks_at_the_young_seldom_and_at_what_was_there_never() -> None:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    calm_collector.cache_clear()
    try:
        calm_collector()
        assert [now > then for now, then in zip(gc.get_threshold(), (7_000, 10, 10), strict=True)] == [True] * 3
        frozen = gc.get_freeze_count()
        calm_collector()
        assert gc.get_freeze_count() == frozen > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
        calm_collector.cache_clear()
