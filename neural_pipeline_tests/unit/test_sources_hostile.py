"""Text and payloads meant to do harm: repaired, bounded, counted, otherwise passed on as plain text."""

import hashlib
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.sources import InvalidPayload, to_source_event

RECEIVED = datetime(2024, 2, 1, 12, tzinfo=UTC)
REPOSITORY = {"full_name": "acme/platform", "html_url": "https://github.com/acme/platform"}


def issue(**changes: Any) -> dict[str, Any]:
    thing = {"number": 5, "title": "Broken", "updated_at": "2024-01-06T10:00:00Z", **changes}
    return {"action": "opened", "issue": thing, "repository": REPOSITORY}


def event(payload: Any, kind: str = "issues", delivery_id: str = "d") -> SourceEvent:
    return to_source_event("github", kind, payload, delivery_id=delivery_id, received_at=RECEIVED)


@pytest.mark.parametrize(
    "title",
    [
        "[bold red]hello[/bold red] [link=file:///etc/passwd]x[/link]",
        "\x1b[31mred\x1b[0m \x1b]8;;http://evil\x07click\x1b]8;;\x07",
        "<script>alert(1)</script> &amp; <img src=x onerror=alert(1)>",
        "**bold** `code` [text](javascript:alert(1)) | table |",
        "\u202egnp.exe \u200b\u2066 right to left",
        "'; drop table students; -- {{7*7}} ${HOME} %s %(x)s",
        "😀 é e\u0301 漢字",
    ],
)
def test_a_title_passes_through_as_plain_text(title: str) -> None:
    made = event(issue(title=title))
    assert (made.title, made.body) == (f"[Issue Opened] {title}", title)


def test_nul_and_lone_surrogates_are_replaced_everywhere_and_counted_once() -> None:
    payload = issue(title="a\0b", body="c\ud800d", labels=[{"name": "\udfffx"}], state="o\0pen")
    made = event({**payload, "repository": {"full_name": "acme/\0"}}, delivery_id="d\0")
    text = json.dumps(made.to_json(), ensure_ascii=False)
    assert (made.title, made.body) == ("[Issue Opened] a\ufffdb", "a\ufffdb\nc\ufffdd")
    assert made.references[-1].id == "\ufffdx"
    assert made.source_id.startswith("issue:acme/\ufffd#5")
    assert made.metadata["replacedCharacters"] == 6
    assert text.encode()
    assert "\0" not in text


def test_a_clean_payload_counts_nothing() -> None:
    assert "replacedCharacters" not in event(issue()).metadata
    assert "referencesDropped" not in event(issue()).metadata


def test_long_text_is_cut_to_what_the_event_may_hold() -> None:
    made = event(issue(title="t" * 300_000, body="b" * 300_000))
    assert made.title == "[Issue Opened] " + "t" * 100
    assert len(made.body) == 10_000
    assert made.body.endswith("...")


def test_a_long_release_name_is_cut_to_two_hundred_characters() -> None:
    payload = {"action": "published", "repository": REPOSITORY, "release": {"tag_name": "v", "name": "n" * 900}}
    title = event(payload, "release").title
    assert len(title) == 200
    assert title.endswith("n...")


def test_blank_space_before_the_text_does_not_push_it_out() -> None:
    payload = {
        "action": "published",
        "repository": REPOSITORY,
        "release": {"tag_name": "v", "body": " " * 50_000 + "x"},
    }
    assert event(payload, "release").body == "x"


def test_references_end_at_one_hundred_and_the_rest_is_counted() -> None:
    labels = [{"name": f"label {number}"} for number in range(150)]
    made = event(issue(labels=[*labels, *labels]))
    assert len(made.references) == 100
    assert made.metadata["referencesDropped"] == 51


def test_ten_thousand_entries_cost_little() -> None:
    commits = [{"added": ["a"], "modified": ["b"], "removed": []}] * 10_000
    people = [{"login": f"p{number}"} for number in range(10_000)]
    push = {"ref": "refs/heads/main", "after": "a", "commits": commits, "repository": REPOSITORY}
    started = time.process_time()
    assert event(push, "push").metadata["fileCount"] == 20_000
    assert event(issue(assignees=people)).metadata["referencesDropped"] == 9_901
    assert time.process_time() - started < 1


def test_an_id_over_255_characters_keeps_its_beginning_and_stays_distinct() -> None:
    ids = [event({**issue(), "repository": {"full_name": "acme/" + "x" * 300 + tail}}).source_id for tail in "ab"]
    assert [len(one) for one in ids] == [255, 255]
    assert ids[0] != ids[1]
    assert all(one.startswith("issue:acme/xxx") for one in ids)


def test_without_a_time_the_occurrence_is_a_hash_of_the_payload_and_the_time_that_of_receipt() -> None:
    payload = issue(updated_at=None)
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    reordered = dict(reversed(payload.items()))
    made = event(payload)
    assert made.source_id == f"issue:acme/platform#5:opened@{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"
    assert made.occurred_at == RECEIVED
    assert event(reordered, delivery_id="another").source_id == made.source_id
    assert event(issue(updated_at=None, title="Other")).source_id != made.source_id


def test_a_payload_nested_too_deeply_to_hash_is_refused() -> None:
    nested: Any = 0
    for _ in range(200_000):
        nested = [nested]
    with pytest.raises(InvalidPayload, match="nested too deeply"):
        event({**issue(updated_at=None), "extra": nested})


def test_a_replaced_character_in_a_reused_value_counts_once() -> None:
    pull = {"number": 1, "title": "x", "head": {"ref": "a\0", "sha": "b"}}
    made = event({"action": "opened", "pull_request": pull, "repository": REPOSITORY}, "pull_request")
    assert made.metadata["headRef"] == made.references[1].id == "a\ufffd"
    assert made.metadata["replacedCharacters"] == 1
