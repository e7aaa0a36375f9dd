"""Entities: what each pattern finds and refuses, references, the normal form, the cap, and the time it takes."""

import json
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from pydantic import JsonValue

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.workflows.observation_capture.logic import (
    Entity,
    classify_by_rules,
    extract_entities,
    score_significance,
)

CONFORMANCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "conformance.json"
FULL_HASH = "0123456789abcdef0123456789abcdef01234567"


def event(body: str, references: list[tuple[str, str]] | None = None, title: str = "Plain") -> SourceEvent:
    return SourceEvent.model_validate(
        {
            "source": "github",
            "sourceType": "push",
            "sourceId": "id",
            "title": title,
            "body": body,
            "occurredAt": "2024-01-05T09:15:00Z",
            "references": [{"type": kind, "id": name} for kind, name in references or []],
        }
    )


def named(body: str, references: list[tuple[str, str]] | None = None) -> list[tuple[str, str]]:
    return [(entity.category, entity.key) for entity in extract_entities(event(body, references))]


@pytest.mark.parametrize(
    ("body", "category", "key", "value", "confidence"),
    [
        ("see GET /v1/users?x=1 now", "endpoint", "GET /v1/users?x=1", "/v1/users?x=1", 0.95),
        ("DELETE\u00a0/a/{id}", "endpoint", "DELETE /a/{id}", "/a/{id}", 0.95),
        ("fixes #150 today", "project", "#150", None, 0.95),
        ("acme/api#7", "project", "#7", None, 0.95),
        ("(ENG-123)", "project", "ENG-123", None, 0.90),
        ("ask @alice-b.", "engineer", "@alice-b", "alice-b", 0.90),
        ("cc @Alice", "engineer", "@alice", "Alice", 0.90),
        ("感谢@alice", "engineer", "@alice", "alice", 0.90),
        ("set DATABASE_URL first", "config", "DATABASE_URL", None, 0.85),
        ("MAX_RETRY_COUNT=3", "config", "MAX_RETRY_COUNT", None, 0.85),
        ("see src/lib/Auth.ts, please", "definition", "src/lib/Auth.ts", None, 0.80),
        ("in Packages/a/b.TSX.", "definition", "Packages/a/b.TSX", None, 0.80),
        ("since 1a2b3c4d5e", "reference", "1a2b3c4", "1a2b3c4d5e", 0.70),
        (f"since {FULL_HASH}", "reference", "0123456", FULL_HASH, 0.70),
        ("since " + "abcdefab" * 5, "reference", "abcdefa", "abcdefab" * 5, 0.70),
        ("Branch: feature/x-1", "reference", "branch:feature/x-1", "feature/x-1", 0.75),
    ],
)
def test_each_pattern_finds_its_entity(body: str, category: str, key: str, value: str | None, confidence: float):
    found = extract_entities(event(body))
    assert [(e.category, e.key, e.value, e.confidence) for e in found] == [(category, key, value, confidence)]


@pytest.mark.parametrize(
    "body",
    [
        "mail bob@example.com",
        "mail bob.smith+x@example.com",
        "log in as root@localhost",
        "import @repo/pkg",
        "import @repo-x/pkg",
        "the decorator @app.route",
        "encoded as UTF-8",
        "hashed with SHA-256",
        "see CVE-2024-1234",
        "as ISO-8601 and RFC-2119 say",
        "number #12345678",
        "colour #12ab34",
        "it&#39;s",
        "put /tmp away",
        "Get /users",
        "it was defaced",
        "the number 1234567",
        "404 NOT_FOUND",
        "A_B and _X_Y",
        "@" + "z" * 40,
        "asrc/x.ts",
        "subbranch: x",
    ],
)
def test_what_only_looks_like_an_entity_is_none(body: str):
    assert named(body) == []


@pytest.mark.parametrize("mark", [*".,;:)`!?", ").", "`,"])
def test_punctuation_after_an_endpoint_does_not_belong_to_it(mark: str):
    (found,) = extract_entities(event(f"call (POST /api/users/{{id}}{mark} then"))
    assert (found.key, found.value) == ("POST /api/users/{id}", "/api/users/{id}")


def test_an_endpoint_of_nothing_but_punctuation_is_none():
    assert named("GET /...") == []


def test_title_and_body_are_both_searched():
    assert [entity.key for entity in extract_entities(event("ENG-2", title="ENG-1"))] == ["ENG-1", "ENG-2"]


def test_only_the_first_ten_thousand_characters_of_the_body_are_searched():
    assert named("z" * 9_993 + " ENG-12") == [("project", "ENG-12")]
    assert named("z" * 10_000 + " ENG-12") == []


@pytest.mark.parametrize(
    ("kind", "name", "category", "key"),
    [
        ("issue", "#301", "project", "#301"),
        ("pr", "#302", "project", "#302"),
        ("commit", "xyz789uvw012", "reference", "xyz789u"),
        ("commit", "1234567a", "reference", "1234567"),
        ("branch", "Feature/X", "reference", "branch:Feature/X"),
        ("assignee", "Alice", "engineer", "@alice"),
        ("reviewer", "b", "engineer", "@b"),
        ("label", "Bug", "reference", "Bug"),
        ("deployment", "dpl_1", "reference", "dpl_1"),
        ("project", "prj_1", "reference", "prj_1"),
    ],
)
def test_each_reference_names_an_entity(kind: str, name: str, category: str, key: str):
    assert extract_entities(event("", [(kind, name)])) == (Entity(category, key, None, 0.98, f"Reference: {kind}"),)


def test_the_label_of_a_reference_is_the_value_of_its_entity():
    reference: JsonValue = {"type": "issue", "id": "#9", "label": "fixes"}
    found = SourceEvent.model_validate({**event("").to_json(), "references": [reference]})
    assert [entity.value for entity in extract_entities(found)] == ["fixes"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("label", " "),
        ("label", "x"),
        ("label", "API"),
        ("label", "42"),
        ("issue", "42"),
        ("branch", "  "),
        ("reviewer", " "),
        ("label", "x" * 501),
        ("branch", "x" * 500),
    ],
)
def test_a_reference_without_a_usable_key_names_nothing(kind: str, name: str):
    assert named("", [(kind, name)]) == []


def test_a_key_longer_than_the_column_names_nothing():
    assert named("A" * 300 + "_" + "B" * 199) == [("config", "A" * 300 + "_" + "B" * 199)]
    assert named("A" * 300 + "_" + "B" * 200) == []


def test_the_more_certain_mention_wins_and_the_earlier_among_equals():
    found = extract_entities(event("first #301 then #301", [("pr", "#301")]))
    assert [(entity.key, entity.evidence) for entity in found] == [("#301", "Reference: pr")]
    (earlier,) = extract_entities(event("x" * 60 + " ENG-1 " + "y" * 60 + " ENG-1"))
    assert earlier.evidence == "..." + "x" * 49 + " ENG-1 " + "y" * 49 + "..."


@pytest.mark.parametrize(
    ("first", "second"),
    [("Bug", "bug"), ("İx1", "ix1"), ("\u0391\u03a31", "\u03b1\u03c21"), ("\u212am", "km"), ("STRASSE", "straße")],
)
def test_keys_that_differ_only_in_case_are_one_entity_in_the_first_spelling(first: str, second: str):
    assert named("", [("label", first), ("label", second)]) == [("reference", first)]


def test_the_same_key_in_two_categories_is_two_entities():
    assert named("", [("label", "#301"), ("issue", "#301")]) == [("reference", "#301"), ("project", "#301")]


def test_evidence_is_one_line_marked_where_it_was_cut():
    (found,) = extract_entities(event("a\n\n  ENG-1\tb" + "c" * 100))
    assert found.evidence == "Plain a ENG-1 b" + "c" * 48 + "..."


def test_the_cap_keeps_the_fifty_most_certain_in_order_of_certainty():
    hashes = " ".join(f"{number}abcdef{number}" for number in range(10, 90))
    found = extract_entities(event(f"{hashes} ENG-1", [("label", "Bug"), ("pr", "#3")]))
    assert [entity.key for entity in found[:4]] == ["Bug", "#3", "ENG-1", "10abcde"]
    assert len(found) == 50
    assert found[-1].key == "56abcde"


ADVERSARIES: dict[str, Callable[[int], str]] = {
    "capitals and underscores": lambda size: "A_" * (size // 2 - 1) + "a",
    "capitals": lambda size: "A" * size,
    "underscores": lambda size: "AAA" + "_" * (size - 3),
    "hyphens behind an at sign": lambda size: "@" + "a-" * (size // 2 - 1) + "/",
    "at signs": lambda size: "@a" * (size // 2),
    "folders": lambda size: "src/" * (size // 4),
    "dotted folders": lambda size: "src/" + ".a1" * (size // 3 - 2),
    "white space behind a method": lambda size: "GET" + " " * (size - 3),
    "methods": lambda size: "GET " * (size // 4),
    "dots behind a slash": lambda size: "GET /" + "." * (size - 5),
    "branches": lambda size: "branch: " * (size // 8),
    "colons behind a branch": lambda size: "branch" + ":" * (size - 6),
    "hexadecimal": lambda size: "a1" * (size // 2),
    "numbers": lambda size: "#1 " * (size // 3),
    "versions": lambda size: "version " * (size // 8),
    "digits behind a v": lambda size: "v" + "1" * (size - 1),
}


def seconds(body: str) -> float:
    found = event(body)
    times: list[float] = []
    for _ in range(5):
        began = process_time()
        score_significance(found), classify_by_rules(found), extract_entities(found)
        times.append(process_time() - began)
    return min(times)


@pytest.mark.parametrize("shape", ADVERSARIES)
def test_no_text_makes_the_rules_slow(shape: str):
    quarter, whole = seconds(ADVERSARIES[shape](2_500)), seconds(ADVERSARIES[shape](10_000))
    assert whole < 0.1
    # Four times the text: a quadratic rule would take sixteen times as long.
    assert whole < 8 * quarter + 0.002


def reference_entities(case: dict[str, JsonValue]) -> list[tuple[str, str, str | None, float, str]]:
    """Give the case's entities with the wanted differences applied: D-42, D-76 and nothing else."""
    refused = {"UTF-8", "SHA-256", "@example", "@repo"}  # D-76: standards, e-mail, scoped package
    entities = [
        (entity["category"], entity["key"], entity.get("value"), entity["confidence"], entity["evidence"])
        for entity in case["entities"]
        if entity["key"] not in refused and entity.get("value") != "deadbeefcafe"  # D-76: a hash without a digit
    ]
    if len(case["entities"]) == 50:  # D-42: the reference's cap lost the references
        entities += [from_reference(reference) for reference in case["event"]["references"]]
    trimmed = [trim_endpoint(entity) if entity[0] == "endpoint" else entity for entity in entities]
    return sorted(trimmed, key=lambda entity: -entity[3])[:50]


def from_reference(reference: dict[str, str]) -> tuple[str, str, str | None, float, str]:
    kind, name = reference["type"], reference["id"]
    category = "project" if kind in ("issue", "pr") else "reference"
    key = {"commit": name[:7], "branch": f"branch:{name}"}.get(kind, name)
    return category, key, reference.get("label"), 0.98, f"Reference: {kind}"


def trim_endpoint(entity: tuple[str, str, str | None, float, str]) -> tuple[str, str, str | None, float, str]:
    category, key, value, confidence, evidence = entity
    return category, key.rstrip(".,"), (value or "").rstrip(".,"), confidence, evidence


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="the reference's results are not part of the project")
def test_every_conformance_case_has_the_entities_of_the_reference_but_for_its_known_defects():
    cases = json.loads(CONFORMANCE.read_text())
    assert len(cases) == 73
    for case in cases:
        found = extract_entities(SourceEvent.model_validate(case["event"]))
        ours = [(each.category, each.key, each.value, each.confidence, each.evidence) for each in found]
        assert ours == reference_entities(case), case["index"]
