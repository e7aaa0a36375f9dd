"""Classification by rules, held against the expressions of the reference and its own results."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.workflows.observation_capture.logic import Classification, classify_by_rules

CONFORMANCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "conformance.json"

WHITE = r"[\s\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
EXPRESSIONS = {
    "release": rf"^release_|\brelease\b|\bversion{WHITE}+\d|\bv\d+\.\d+",
    "deployment": r"^deployment\.|\bdeploy|\bshippe?d?\b",
    "security": r"\bsecurity\b|\bvulnerability\b|\bCVE-\d+|\bauth\b|\bpermission",
    "incident": r"\bincident\b|\boutage\b|\bdowntime\b|\bemergency\b|\bhotfix\b",
    "bug_fix": r"\bfix(es|ed|ing)?\b|\bbug\b|\bpatch\b|\bresolve[sd]?\b|\bcorrect",
    "feature": rf"\bfeat(ure)?(:|{WHITE})|\badd(s|ed|ing)?\b|\bnew\b|\bimplement|\bintroduce",
    "performance": r"\bperf(ormance)?\b|\boptimiz|\bspeed|\bfaster\b|\bslow",
    "testing": r"\btest(s|ing)?\b|\bspec\b|\bcoverage\b|\be2e\b|\bunit\b",
    "documentation": r"\bdocs?\b|\breadme\b|\bcomment|\bjsdoc\b|\bdocumentation\b",
    "infrastructure": r"\bci\b|\bcd\b|\bpipeline\b|\bworkflow\b|\bdocker|\bconfig|\binfra",
    "refactor": r"\brefactor|\brestructure|\breorganize|\bcleanup\b|\bchore\b",
    "discussion": r"^discussion_|\brfc\b|\bproposal\b|\bdiscuss",
    "decision": r"\bdecision\b|\bdecide[sd]?\b|\badr\b|\barchitecture\b",
}
COMPILED = {category: re.compile(text, re.ASCII | re.IGNORECASE) for category, text in EXPRESSIONS.items()}

TRICKY_WORDS = (
    "release release_ releases version version1 v1 v1.2 v12.x rv1.2 deployment. deploy deployed redeploy ship shipp "
    "shippe shippd shipped security vulnerability cve-1 CVE- xcve-1 auth author permissions incident outage downtime "
    "emergency hotfix fix fixes fixed fixing fixer bug bugs patch resolve resolves resolved resolver correctly "
    "incorrect feat feat: feature feature: features xfeat: add adds added adding address new news implements "
    "introduced perf performance optimize speedy faster slower test tests testing tester spec coverage e2e unit doc "
    "docs readme comments jsdoc documentation ci cd pipeline workflow dockerfile configure infra refactored "
    "restructure reorganized cleanup chore discussion_ rfc proposal discussing decision decide decides decided adr "
    "architecture 1 2.0 _ . : / - é İ"
)
PIECES = TRICKY_WORDS.split()
SEPARATORS = ["", " ", "\n", ":", "-", "_", ".", "\u00a0", "\u2003", "é"]


def event(title: str, body: str = "", source_type: str = "push") -> SourceEvent:
    return SourceEvent.model_validate(
        {
            "source": "github",
            "sourceType": source_type,
            "sourceId": "id",
            "title": title,
            "body": body,
            "occurredAt": "2024-01-05T09:15:00Z",
        }
    )


def by_expressions(found: SourceEvent) -> tuple[str, tuple[str, ...]]:
    text = f"{found.source_type} {found.title} {found.body}".lower()
    primary, *others = [name for name, compiled in COMPILED.items() if compiled.search(text)] or ["other"]
    return primary, tuple(others[:3])


def result(found: SourceEvent) -> tuple[str, tuple[str, ...]]:
    classification = classify_by_rules(found)
    return classification.primary, classification.secondaries


@pytest.mark.parametrize("piece", PIECES)
def test_each_word_is_classified_as_the_reference_expressions_say(piece: str):
    for found in (event(piece), event(f"x {piece} 1"), event(f"x{piece}"), event(f"{piece}x"), event("x", piece)):
        assert result(found) == by_expressions(found)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(SEPARATORS)), min_size=1, max_size=6),
    st.sampled_from(["push", "issue.opened", "deployment.ready", "release_made", "discussion_made", "xdeployment.y"]),
)
def test_any_text_is_classified_as_the_reference_expressions_say(pieces: list[tuple[str, str]], source_type: str):
    found = event("x", "".join(f"{piece}{separator}" for piece, separator in pieces), source_type)
    assert result(found) == by_expressions(found)


def test_the_first_matching_category_is_primary_and_the_next_three_are_secondary():
    found = classify_by_rules(event("docs: add tests, fix slow auth"))
    assert found == Classification("security", ("bug_fix", "feature", "performance"), confidence=0.5, topics=())


def test_a_text_without_keywords_is_other():
    assert classify_by_rules(event("Plain")) == Classification("other", (), confidence=0.5)


def test_the_source_type_takes_part_in_matching():
    assert classify_by_rules(event("Plain", source_type="deployment.ready")).primary == "deployment"


def test_only_the_first_ten_thousand_characters_of_the_body_are_read():
    padding = "z" * 9_995
    assert classify_by_rules(event("Plain", f"{padding} fix ")).primary == "bug_fix"
    assert classify_by_rules(event("Plain", f"{padding}zzzzz fix")).primary == "other"


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="the reference's results are not part of the project")
def test_every_conformance_case_is_classified_as_in_the_reference():
    cases = json.loads(CONFORMANCE.read_text())
    expected = [(case["fallback"]["primaryCategory"], tuple(case["fallback"]["secondaryCategories"])) for case in cases]
    assert [result(SourceEvent.model_validate(case["event"])) for case in cases] == expected
    assert len(cases) == 73
