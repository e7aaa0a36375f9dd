"""The significance score: every rule of the table, its order, its limits, and the reference's own results."""

import json
from pathlib import Path

import pytest

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.workflows.observation_capture.logic import SIGNIFICANCE_THRESHOLD, score_significance

CONFORMANCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "conformance.json"

WORD_OF = {
    "crit": ("critical_keyword", "urgent"),
    "inc": ("incident_keyword", "outage"),
    "imp": ("important_keyword", "major"),
    "feat": ("feature_keyword", "new"),
    "fix": ("fix_keyword", "bug"),
    "rout": ("routine_keyword", "chore"),
    "triv": ("trivial_keyword", "typo"),
    "wip": ("wip_keyword", "draft"),
}


def event(source_type: str, title: str = "Plain", body: str = "", *, references: int = 0) -> SourceEvent:
    return SourceEvent.model_validate(
        {
            "source": "vercel" if source_type.startswith("deployment") else "github",
            "sourceType": source_type,
            "sourceId": "id",
            "title": title,
            "body": body,
            "occurredAt": "2024-01-05T09:15:00Z",
            "references": [{"type": "label", "id": f"l{number}"} for number in range(references)],
        }
    )


@pytest.mark.parametrize(
    ("source_type", "factors", "references", "score"),
    [
        ("push", "crit feat", 2, 64),
        ("push", "crit inc fix", 2, 76),
        ("push", "", 2, 36),
        ("push", "crit rout", 2, 46),
        ("push", "feat fix", 2, 49),
        ("pull-request.opened", "feat mod", 5, 75),
        ("pull-request.opened", "feat triv mod", 5, 60),
        ("pull-request.merged", "crit feat mod", 5, 100),
        ("pull-request.merged", "crit fix mod", 6, 100),
        ("pull-request.merged", "fix mod", 5, 82),
        ("issue.opened", "feat triv mod", 2, 46),
        ("issue.closed", "crit feat mod", 3, 79),
        ("release.published", "crit imp feat mod", 1, 100),
        ("release.published", "inc imp fix rout mod", 1, 100),
        ("deployment.succeeded", "crit inc fix wip", 4, 82),
        ("deployment.succeeded", "", 4, 52),
        ("deployment.error", "rout wip", 4, 62),
        ("deployment.error", "inc fix wip", 4, 92),
    ],
)
def test_the_golden_events_score_as_in_the_reference(source_type: str, factors: str, references: int, score: int):
    names = [name for name in factors.split() if name != "mod"]
    body = "z" * 201 if "mod" in factors else ""
    title = "Plain " + " ".join(WORD_OF[name][1] for name in names)
    found = score_significance(event(source_type, title, body, references=references))
    expected = [f"base:{source_type}", *(WORD_OF[name][0] for name in names), f"references:{references}"]
    assert found.factors == (*expected, *(["moderate_content"] if body else []))
    assert found.score == score


@pytest.mark.parametrize(
    ("source_type", "references", "score"),
    [
        ("push", 2, 36),
        ("discussion.created", 1, 38),
        ("deployment.created", 4, 42),
        ("issue.closed", 1, 43),
        ("pull-request.reopened", 2, 46),
        ("release.created", 0, 70),
        ("pull-request.closed", 0, 45),
        ("pull-request.ready-for-review", 0, 45),
        ("issue.reopened", 0, 40),
        ("discussion.answered", 0, 40),
        ("deployment.ready", 0, 40),
        ("deployment.canceled", 0, 65),
        ("pull-request.synchronize", 0, 35),
    ],
)
def test_an_event_with_neutral_text_scores_its_weight_and_its_references(source_type: str, references: int, score: int):
    assert score_significance(event(source_type, references=references)).score == score


def test_the_threshold_drops_a_neutral_push_and_keeps_a_neutral_deployment():
    assert score_significance(event("push", references=2)).score < SIGNIFICANCE_THRESHOLD
    assert score_significance(event("deployment.created", references=4)).score >= SIGNIFICANCE_THRESHOLD == 40


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        ("critical_keyword", "breaking critical urgent security vulnerability CVE-2024"),
        ("incident_keyword", "hotfix emergency incident outage downtime"),
        ("important_keyword", "major important significant release deploy"),
        ("feature_keyword", "feature feat new"),
        ("fix_keyword", "fix bug patch resolve"),
        ("routine_keyword", "chore deps dependencies bump update upgrade"),
        ("trivial_keyword", "typo whitespace formatting lint"),
        ("wip_keyword", "wip draft temp test"),
    ],
)
def test_each_keyword_counts_as_a_whole_word_in_any_case(factor: str, words: str):
    for word in words.split():
        assert score_significance(event("push", f"({word.upper()})!")).factors == ("base:push", factor)
        assert score_significance(event("push", "Plain", f"see {word.lower()}-x")).factors == ("base:push", factor)
        assert score_significance(event("push", f"x{word}")).factors == ("base:push",)
        assert score_significance(event("push", f"{word}_x")).factors == ("base:push",)


def test_a_keyword_counts_once_however_often_it_occurs():
    assert score_significance(event("push", "fix fix bug", "patch")).score == 35


def test_letters_outside_ascii_bound_a_word():
    assert "fix_keyword" in score_significance(event("push", "éfixé")).factors


def test_the_label_of_the_title_takes_part_in_matching():
    assert "important_keyword" in score_significance(event("push", "[Release Published] v1")).factors
    assert "important_keyword" not in score_significance(event("push", "[Deployment Ready]")).factors


def test_references_earn_three_points_each_up_to_fifteen():
    scores = [score_significance(event("push", references=count)).score for count in range(8)]
    assert scores == [30, 33, 36, 39, 42, 45, 45, 45]


@pytest.mark.parametrize(
    ("length", "points", "factors"),
    [
        (200, 0, ()),
        (201, 2, ("moderate_content",)),
        (500, 2, ("moderate_content",)),
        (501, 5, ("substantial_content",)),
    ],
)
def test_long_bodies_earn_points_above_their_bounds(length: int, points: int, factors: tuple[str, ...]):
    found = score_significance(event("push", body="z" * length))
    assert (found.score, found.factors) == (30 + points, ("base:push", *factors))


def test_the_score_never_falls_below_zero():
    every = "chore typo draft"
    assert score_significance(event("push", every)).score == 0


def test_only_the_first_ten_thousand_characters_of_the_body_are_read():
    padding = "z" * 9_995
    assert "fix_keyword" in score_significance(event("push", body=f"{padding} fix ")).factors
    assert "fix_keyword" not in score_significance(event("push", body=f"{padding}zzzzz fix")).factors


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="the reference's results are not part of the project")
def test_every_conformance_case_scores_as_in_the_reference():
    cases = json.loads(CONFORMANCE.read_text())
    found = [score_significance(SourceEvent.model_validate(case["event"])) for case in cases]
    assert len(cases) == 73
    assert [(each.score, list(each.factors)) for each in found] == [(case["score"], case["factors"]) for case in cases]
