"""Source events typed in by hand: what is taken in, what is refused with which reason; no body makes it raise."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.sources.readymade import judge_source_event

PLAIN = {
    "source": "github",
    "sourceType": "pull-request.opened",
    "sourceId": "pr:acme/shop#1:opened",
    "title": "[PR Opened] Fix the checkout",
    "body": "A text.",
    "occurredAt": "2026-03-02T12:00:00Z",
}
LARGEST = 1_000_000


def judged(**changes: Any) -> tuple[str, SourceEvent | None, str | None]:
    judgement = judge_source_event(json.dumps(PLAIN | changes).encode(), max_bytes=LARGEST)
    return judgement.disposition, judgement.event, judgement.reason


def accepted(**changes: Any) -> SourceEvent:
    disposition, event, reason = judged(**changes)
    assert (disposition, reason) == ("accepted", None)
    assert event is not None
    return event


def test_a_source_event_is_taken_in_as_it_is():
    assert accepted().to_json() == PLAIN | {"references": [], "metadata": {}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "gitlab"}, "source: "),
        ({"title": ""}, "title: "),
        ({"title": "x" * 201}, "title: "),
        ({"title": None}, "title: "),
        ({"sourceId": "x" * 256}, "sourceId: "),
        ({"occurredAt": "2026-03-02T12:00:00"}, "occurredAt: "),
        ({"occurredAt": "yesterday"}, "occurredAt: "),
        ({"actor": {"id": 7, "name": "ada"}}, "actor.id: "),
        ({"actor": {"id": "7", "name": "ada", "email": "no address"}}, "actor.email: "),
        ({"references": [{"type": "planet", "id": "x"}]}, "references.0.type: "),
        ({"extra": 1}, "extra: "),
    ],
)
def test_a_refusal_names_the_place_at_fault(changes: dict[str, Any], reason: str):
    disposition, event, given_reason = judged(**changes)
    assert (disposition, event) == ("invalid", None)
    assert (given_reason or "").startswith(reason)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[1]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"metadata": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut off", "null", "a list", "text", "not UTF-8", "too deep", "too long a number"],
)
def test_what_is_no_source_event_at_all_is_invalid_with_one_line_of_reason(body: bytes):
    judgement = judge_source_event(body, max_bytes=LARGEST)
    assert (judgement.disposition, judgement.event) == ("invalid", None)
    assert judgement.reason
    assert judgement.reason.isprintable()


def test_a_body_over_the_limit_is_not_read():
    body = json.dumps(PLAIN).encode()
    assert judge_source_event(body, max_bytes=len(body)).disposition == "accepted"
    too_large = judge_source_event(body, max_bytes=len(body) - 1)
    assert too_large.reason == f"is too large: {len(body)} bytes, at most {len(body) - 1} are read"


def test_what_postgres_cannot_keep_is_replaced_wherever_it_stands():
    event = accepted(
        title="a\0b",
        body="c\ud800d",
        references=[{"type": "label", "id": "e\0"}],
        metadata={"f\0": ["g\udfff", {"h": "i\0"}]},
    )
    assert (event.title, event.body, event.references[0].id) == ("a\ufffdb", "c\ufffdd", "e\ufffd")
    assert event.metadata == {"f\ufffd": ["g\ufffd", {"h": "i\ufffd"}]}


def test_body_and_references_are_cut_before_anything_reads_them():
    references = [{"type": "commit", "id": str(number)} for number in range(10_000)]
    event = accepted(body="x" * 60_000, references=references)
    assert event.body == "x" * 9_997 + "..."
    assert [reference.id for reference in event.references] == [str(number) for number in range(100)]


def test_a_time_is_kept_in_utc():
    assert accepted(occurredAt="2026-03-02T13:00:00+01:00").to_json()["occurredAt"] == "2026-03-02T12:00:00Z"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PLAIN, "metadata"]), inner),
    max_leaves=10,
)


@given(JSON)
def test_no_json_makes_it_raise(value: Any):
    changed = PLAIN | value if isinstance(value, dict) else value
    judgement = judge_source_event(json.dumps(changed).encode(), max_bytes=LARGEST)
    assert (judgement.event is None) is (judgement.disposition == "invalid")
    assert (judgement.reason is None) is (judgement.disposition == "accepted")


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(body: bytes):
    assert judge_source_event(body, max_bytes=LARGEST).disposition == "invalid"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_time_that_leaves_the_calendar_in_utc_is_invalid(moment: str):
    assert judged(occurredAt=moment)[0] == "invalid"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_invalid(number: str):
    body = json.dumps(PLAIN | {"metadata": {"load": 0}}).replace(": 0", f": {number}").encode()
    assert judge_source_event(body, max_bytes=LARGEST).disposition == "invalid"
