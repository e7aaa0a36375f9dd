import gc
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.sources.quick_json import Undecided, read_quickly
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


UNDECIDED = [
    b"18446744073709551616",
    b'{"n": -9223372036854775809}',
    b"1e400",
    b"NaN",
    b"-Infinity",
    b'"\\ud800"',
    b"\xef\xbb\xbf1",
    b"\xff",
    b"",
    b"[1",
    b"1 2",
    b"[" * 5_000 + b"]" * 5_000,
    b"[" * 501 + b"]" * 501,
    b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
]


@pytest.mark.parametrize("body", UNDECIDED)
def test_what_both_might_read_differently_is_left_to_the_standard_library(body: bytes) -> None:
    with pytest.raises(Undecided):
        read_quickly(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.booleans())
def test_what_is_read_quickly_is_what_the_standard_library_reads(value: object, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    try:
        found = read_quickly(body)
    except Undecided:
        assert re.search(rb"\d{19}|\\ud[89a-f]|\xed[\xa0-\xbf]", body)
    else:
        assert repr(found) == repr(json.loads(body))


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
