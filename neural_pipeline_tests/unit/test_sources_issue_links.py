"""Issues that a text closes: keywords, forms, places, duplicates, and the cost of hostile text."""

import time

import pytest

from neural_pipeline.sources.references import Mention, issue_links

HOME = "https://github.com/acme/platform"
KEYWORDS = {
    "fixes": ["fix", "fixes", "fixed"],
    "closes": ["close", "closes", "closed"],
    "resolves": ["resolve", "resolves", "resolved"],
}


def links(text: str, home: str | None = HOME) -> list[Mention]:
    return list(issue_links(text, "acme/platform", home))


def ids(text: str) -> list[str | None]:
    return [link.id for link in links(text)]


@pytest.mark.parametrize(("label", "word"), [(label, word) for label, words in KEYWORDS.items() for word in words])
def test_every_keyword_links_under_one_of_three_labels(label: str, word: str) -> None:
    wanted = [Mention("issue", "#12", f"{HOME}/issues/12", label)]
    assert links(f"{word} #12") == links(f"{word.upper()}: #12") == wanted


@pytest.mark.parametrize(
    "form",
    ["#12", "acme/platform#12", "ACME/Platform#12", f"{HOME}/issues/12", "http://github.com/acme/platform/issues/12"],
)
def test_an_issue_of_the_same_repository_is_named_by_its_number(form: str) -> None:
    assert links(f"Closes {form}.") == [Mention("issue", "#12", f"{HOME}/issues/12", "closes")]


@pytest.mark.parametrize("form", ["other/lib.js#7", "https://github.com/other/lib.js/issues/7"])
def test_an_issue_of_another_repository_keeps_the_repository(form: str) -> None:
    assert links(f"resolves {form}") == [
        Mention("issue", "other/lib.js#7", "https://github.com/other/lib.js/issues/7", "resolves")
    ]


def test_an_enterprise_server_links_to_itself() -> None:
    home = "https://git.corp.example/acme/platform"
    assert links("fixes #3, fixes x/y#4, fixes https://git.corp.example/x/y/issues/5", home) == [
        Mention("issue", "#3", f"{home}/issues/3", "fixes"),
        Mention("issue", "x/y#4", "https://git.corp.example/x/y/issues/4", "fixes"),
        Mention("issue", "x/y#5", "https://git.corp.example/x/y/issues/5", "fixes"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "prefix #12",
        "fix#12",
        "fixing #12",
        "#12",
        "fixes #12abc",
        "fixes #0",
        "fixes 12",
        "unresolved #4",
        "fixes #12345678901",
        "fixes https://evil.example/acme/platform/issues/12",
    ],
)
def test_what_only_looks_like_a_link_is_none(text: str) -> None:
    assert ids(text) == []


def test_several_links_come_in_order() -> None:
    assert ids("Fixes #12, closes #13 and resolves #14; fixed #15") == ["#12", "#13", "#14", "#15"]


def test_nothing_after_ten_thousand_characters_is_read() -> None:
    assert ids("x " * 5_000 + "fixes #1") == []
    assert ids("x " * 4_990 + "fixes #1") == ["#1"]


@pytest.mark.parametrize(
    "piece",
    [
        "fix ",
        "fixes:",
        "fix" + " " * 50,
        "fixes a/",
        "fixes https://",
        "fixes a/a",
        "close https://a.a/a-a/",
        "a-",
        "resolve:   :  ",
    ],
)
def test_hostile_text_is_searched_in_little_time(piece: str) -> None:
    started = time.process_time()
    links(piece * 100_000)
    assert time.process_time() - started < 0.5
