"""What clusters are called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.contracts.events import Source
from neural_pipeline.workflows.observation_capture.labels import MAX_LABEL, label_of, prominence
from neural_pipeline_tests.building import source_event


def named(title: str, body: str = "", **changes: object) -> str:
    return label_of(source_event(title=title, body=body, **changes))


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("[PR Opened] Fix the checkout", "Fix the checkout"),
        ("[Issue Closed] Flaky: cart-sync.spec.ts", "Flaky: cart-sync.spec.ts"),
        ("[PR Opened] [WIP] Fix", "[WIP] Fix"),
        ("Fix [a] b", "Fix [a] b"),
        ("[PR Opened] feat(search): index the catalogue", "search: index the catalogue"),
        ("[Push] feat(search)!: index the catalogue (#615)", "search: index the catalogue"),
        ("[Push] hotfix: cap the retries (#307) (PAY-142)", "cap the retries"),
        ("[PR Opened] PAY-142: cap the retries", "cap the retries"),
        ("[PR Opened] [PAY-142] fix: cap the retries", "cap the retries"),
        ("[Push] CI: two faults", "CI: two faults"),
        ("[Push] note: no kind of commit", "note: no kind of commit"),
        ("[Issue Opened] UTF-8 names are broken", "UTF-8 names are broken"),
        ("[Issue Opened] CVE-2026-99914: tokens", "CVE-2026-99914: tokens"),
        ("[PR Opened] Follow-up of (#12) in the cart", "Follow-up of (#12) in the cart"),
        ("[Push] fix: (#12)", "fix: (#12)"),
        ("[PR Opened]  ", "[PR Opened]"),
        ("   ", "pull-request.opened"),
        ("[Issue Opened] a\tb \n c", "a b c"),
    ],
)
def test_a_label_is_the_title_without_what_tools_and_habits_add(title: str, label: str):
    assert named(title) == label


@pytest.mark.parametrize(
    ("body", "label"),
    [
        ("Merge pull request #12 from acme/feature/search-index\n\nIndex the catalogue (#12)", "Index the catalogue"),
        ("Merge pull request #12 from acme/feature/search-index", "feature search index"),
        ("Merge branch 'priya/token_rotation' into main", "priya token rotation"),
        ("Merge branch 'main' of example.com:acme/shop\n\n\n", "main"),
        ("Merge the two carts\n\nBoth are kept.", "Merge the two carts"),
    ],
)
def test_a_merge_is_called_after_what_was_merged(body: str, label: str):
    assert named(f"[Push] {body.splitlines()[0]}", body, source_type="push") == label


def test_a_deployment_is_called_after_the_commit_that_it_brings():
    deployed = {"source": Source.VERCEL, "source_type": "deployment.ready"}
    title, state = "[Deployment Ready] shop from main", "+ Deployment Ready"
    assert (
        named(title, f"{state}\nfix(cart): wait for the answer (#3)\n\nMore", **deployed) == "cart: wait for the answer"
    )
    assert named(title, f"{state}\nMerge pull request #3 from acme/cart\n\nWait", **deployed) == "Wait"
    assert named(title, state, **deployed) == "shop from main"


def test_a_title_that_was_cut_is_read_from_the_body_which_repeats_it():
    whole = (
        "The retries are capped "
        + "and counted " * 5
        + "whatever the gateway says, so that nothing is starved any more"
    )
    assert len(whole) > MAX_LABEL
    label = named(f"[PR Opened] {whole[:100]}", f"{whole}\nIt was slow.")
    assert label == whole[: len(label) - 1] + "\u2026"
    assert whole[len(label) - 1] == " ", "cut between words"
    assert len(label) > 90


def test_a_body_that_tells_something_else_does_not_name_anything():
    assert named("[Release Published] v2.0.0 - API v2", "Version 2 of the checkout API.") == "v2.0.0 - API v2"


def test_a_word_without_an_end_is_cut_anywhere():
    assert named("[PR Opened] ab " + "x" * 180) == "ab " + "x" * 96 + "\u2026"


@given(st.text(min_size=1, max_size=200), st.text(max_size=300), st.sampled_from(Source))
def test_whatever_comes_a_label_is_one_line_that_fits_and_is_never_empty(title: str, body: str, source: Source):
    label = named(title, body, source=source)
    assert 1 <= len(label) <= MAX_LABEL
    assert label == " ".join(label.split())


def test_people_name_better_than_commits_and_commits_better_than_deployments():
    kinds = [
        "pull-request.merged",
        "issue.opened",
        "discussion.created",
        "push",
        "release.published",
        "deployment_ready",
    ]
    assert [prominence(("github", kind, "fix")) for kind in kinds] == [2, 2, 2, 1, 1, 0]
    assert prominence(("push", "issue.closed")) == prominence(("issue.closed", "push")) == 2
    assert prominence(()) == 0
