"""Which clusters are summarised, and what the rules write about them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.contracts.answers import SummaryAnswer
from neural_pipeline.workflows.cluster_summary.extractive import (
    MAX_SUMMARY,
    central_titles,
    cut,
    key_topics,
    status_of,
    summarise,
)
from neural_pipeline.workflows.cluster_summary.logic import (
    ClusterFacts,
    Observed,
    Picture,
    Requested,
    SummaryRules,
    objection,
    plan,
    who_took_part,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ENOUGH = ClusterFacts(observations=5, summarised_at=None, asked_at=NOON)


def observed(kind: str = "push", title: str = "[Push] Fix the checkout", *, days: float = 0.0, **rest: Any) -> Observed:
    """An observation so many days before noon."""
    fields: dict[str, Any] = {"actor": "ada", "snippet": "A text."}
    return Observed(kind, title, occurred_at=NOON - days * DAY, **(fields | rest))


def picture(*latest: Observed, **changes: Any) -> Picture:
    """A cluster of these observations, newest first, whose workspace was active last when the cluster was."""
    kinds: dict[str, int] = {}
    for one in latest:
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    fields: dict[str, Any] = {
        "label": "Fix the checkout",
        "kinds": kinds,
        "first_at": min((one.occurred_at for one in latest), default=NOON),
        "last_at": max((one.occurred_at for one in latest), default=NOON),
        "newest_at": max((one.occurred_at for one in latest), default=NOON),
        "latest": latest,
    }
    return Picture(**(fields | changes))


RECENT = ClusterFacts(observations=5, summarised_at=NOON - timedelta(hours=23, minutes=59), asked_at=NOON)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (None, "cluster_not_found"),
        (ClusterFacts(0, NOON, NOON), "no_observations"),
        (ClusterFacts(4, NOON, NOON), "below_threshold"),
        (RECENT, "summary_recent"),
        (ClusterFacts(5, NOON - timedelta(hours=24), NOON), None),
        (ENOUGH, None),
    ],
)
def test_a_cluster_is_refused_for_the_first_reason_that_holds(facts: ClusterFacts | None, expected: str | None):
    assert objection(facts, SummaryRules()) == expected


def test_the_settings_decide_what_is_enough_and_what_is_recent():
    assert objection(ENOUGH, SummaryRules(min_observations=6)) == "below_threshold"
    assert objection(RECENT, SummaryRules(min_age=timedelta(hours=23))) is None


def test_the_first_request_for_a_cluster_is_worked_on_and_later_ones_repeat_it():
    requests = [Requested(1, "ws", "7"), Requested(2, "ws", "7"), Requested(3, "other", "7"), Requested(4, "ws", "07")]
    made = plan(requests, {("ws", 7): ENOUGH, ("other", 7): ENOUGH}, SummaryRules())
    assert made.wanted == {1: ("ws", 7), 3: ("other", 7)}
    assert made.repeats == {2: 1, 4: 1}
    assert made.skipped == {}


@pytest.mark.parametrize("spelled", ["", "seven", "7.0", "-7", " 7", "\u0667", "9" * 19, "7;drop"])
def test_what_is_no_number_is_no_cluster(spelled: str):
    made = plan([Requested(1, "ws", spelled)], {("ws", 7): ENOUGH}, SummaryRules())
    assert made.skipped[1].reason == "cluster_not_found"


def test_another_workspace_s_cluster_does_not_exist():
    made = plan([Requested(1, "other", "7")], {("ws", 7): ENOUGH}, SummaryRules())
    assert made.skipped[1].reason == "cluster_not_found"
    assert made.wanted == {}


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["pull-request.merged", "pull-request.opened"], "completed"),
        (["push", "push", "issue.closed", "issue.opened"], "completed"),
        (["release.published"], "completed"),
        (["deployment_succeeded", "deployment_created"], "completed"),
        (["discussion.answered", "discussion.created"], "completed"),
        (["pull-request.reopened", "pull-request.closed"], "active"),
        (["pull-request.ready-for-review", "pull-request.merged"], "active"),
        (["deployment_error", "deployment_succeeded"], "active"),
        (["push", "push"], "active"),
        ([], "active"),
    ],
)
def test_the_latest_observation_that_opens_or_closes_something_decides_on_the_status(kinds: list[str], expected: str):
    assert status_of(picture(*(observed(kind, days=n) for n, kind in enumerate(kinds)))) == expected


def test_a_cluster_is_stalled_when_the_workspace_went_on_without_it_for_more_than_two_weeks():
    rested = picture(observed("issue.opened"))
    assert status_of(picture(observed("issue.opened"), newest_at=NOON + 14 * DAY)) == "active"
    assert status_of(picture(observed("issue.opened"), newest_at=NOON + 14.01 * DAY)) == "stalled"
    assert status_of(picture(observed("issue.closed"), newest_at=NOON + 99 * DAY)) == "completed"
    assert status_of(rested) == "active", "imported history is as old as its workspace"


def test_topics_are_what_most_observations_share_but_never_the_source_or_the_bare_type():
    found = key_topics(
        picture(
            observed(
                "pull-request.opened", "[PR Opened] Fix the checkout", topics=("github", "pull-request.opened", "fix")
            ),
            observed("push", "[Push] Checkout totals", topics=("git", "push", "fix", "bug_fix")),
            observed("deployment_succeeded", "[Deployment] shop", topics=("vercel", "deployment_succeeded", "other")),
            observed("push", "[Push] Totals", topics=("fix", "payments")),
        )
    )
    assert found == ("fix", "checkout", "totals", "bug_fix", "payments")


def test_of_equally_frequent_topics_and_words_the_topics_come_first():
    both = [observed(title="[Push] Alpha beta", topics=("zeta",)) for _ in range(2)]
    assert key_topics(picture(*both)) == ("zeta", "alpha", "beta")


def test_a_cluster_whose_observations_share_nothing_is_named_by_its_keywords_and_else_by_its_words():
    alone = observed("push", "[Push] Checkout", topics=("push",))
    assert key_topics(picture(alone, keywords=("github", "push", "payments"))) == ("payments",)
    assert key_topics(picture(alone, keywords=("github", "push"))) == ("checkout",)


def test_central_titles_share_most_words_with_the_others_and_do_not_repeat_each_other():
    titles = [
        "[Push] Update the licence",
        "[PR Merged] Round checkout totals for tax",
        "[PR Opened] Round checkout totals for tax",
        "[Push] Checkout totals rounding for tax in Norway",
        "[Issue Opened] Checkout shows wrong tax",
        "[Push] Tidy",
    ]
    found = central_titles([observed(title=title) for title in titles])
    assert found == ["Round checkout totals for tax", "Checkout shows wrong tax"]


def test_titles_that_share_nothing_are_told_as_the_latest_ones():
    titles = ["Tidy", "Update the licence", "Bump numpy", "Round totals"]
    summary = summarise(picture(*(observed(title=f"[Push] {title}") for title in titles))).summary
    assert summary.startswith('Latest: "Tidy"; "Update the licence"; "Bump numpy". 4 events')


def test_a_summary_names_central_titles_the_latest_one_the_period_and_the_kinds():
    answer = summarise(
        picture(
            observed("push", "[Push] Prepare the release"),
            observed("pull-request.merged", "[PR Merged] Round checkout totals", days=1),
            observed("pull-request.opened", "[PR Opened] Round checkout totals", days=2),
            kinds={"push": 4, "pull-request.merged": 1, "pull-request.opened": 1},
            people=("ada", "bob", "ada"),
        )
    )
    assert answer.summary == (
        'Mostly about "Round checkout totals". Latest: "Prepare the release". 6 events from 2026-02-28 to 2026-03-02:'
        " push (4), pull request merged (1), pull request opened (1)."
    )
    assert answer.key_contributors == ("ada", "bob")
    assert answer.status == "completed"


def test_the_latest_title_is_told_where_it_is_not_among_the_central_ones():
    titles = ["Bump numpy", "Checkout totals", "Checkout tax", "Totals by tax", "Checkout totals by tax region"]
    summary = summarise(picture(*(observed(title=f"[Push] {title}") for title in titles))).summary
    assert 'Latest: "Bump numpy".' in summary


@pytest.mark.parametrize(("title", "kinds"), [("", {"push": 1}), ("\x00 \n", {}), ("[Push] ", {"push": 3})])
def test_a_summary_is_never_empty(title: str, kinds: dict[str, int]):
    assert "event" in summarise(picture(observed(title=title), kinds=kinds)).summary


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(st.lists(st.tuples(TEXT, TEXT, st.lists(TEXT, max_size=4)), max_size=8), st.lists(TEXT, max_size=8))
def test_whatever_stands_in_a_cluster_the_answer_keeps_its_limits(
    stored: list[tuple[str, str, list[str]]], people: list[str]
):
    latest = [observed(kind, title, topics=tuple(topics)) for kind, title, topics in stored]
    answer = summarise(picture(*latest, people=tuple(people)))
    assert 0 < len(answer.summary) <= MAX_SUMMARY
    assert len(answer.key_topics) <= 5
    assert len(answer.key_contributors) <= 5
    assert answer == summarise(picture(*latest, people=tuple(people))), "the same cluster, the same summary"
    assert SummaryAnswer.model_validate(json.loads(json.dumps(answer.to_json()))) == answer


def test_an_over_long_text_ends_with_a_sentence_or_else_with_a_word():
    assert cut("short", 20) == "short"
    assert cut("One sentence here. Another one", 25) == "One sentence here."
    assert cut("A. An over-long sentence", 15) == "A. An..."
    assert cut("x" * 30, 10) == "x" * 7 + "..."
    assert cut("Ends exactly here.", 18) == "Ends exactly here."
    assert cut("Was cut in the mid", 18) == "Was cut in the..."


def test_a_title_that_fits_is_told_whole_and_a_longer_one_ends_with_an_ellipsis():
    fits = "Round the totals of the checkout for each tax region. Then show them in the cart"
    assert len(fits) == 80
    assert f'"{fits}"' in summarise(picture(observed(title=f"[Push] {fits}"))).summary
    longer = summarise(picture(observed(title=f"[Push] {fits}s"))).summary
    assert '"Round the totals of the checkout for each tax region. Then show them in the..."' in longer


def test_contributors_are_only_those_who_took_part_as_the_cluster_spells_them():
    cluster = picture(observed(actor="Ada"), observed(actor="unknown"), people=("bob", "Ada", "Unknown"))
    named = ("BOB", "Mallory", "unknown", "ada", "Ada")
    assert who_took_part(named, cluster) == ("bob", "Ada")
    assert who_took_part(("x" * 100,), picture(observed(actor="x" * 120))) == ("x" * 100,)
