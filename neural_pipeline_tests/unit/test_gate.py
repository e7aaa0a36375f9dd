"""The gate: which of its reasons stops an event, and in which order they are asked."""

from collections.abc import Mapping
from typing import Any

import pytest

from neural_pipeline.contracts.events import Source
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.gate import UNREADABLE, Gated, GateKnowledge, Thresholds, gate
from neural_pipeline.workflows.observation_capture.logic import Subscription
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Filtered
from neural_pipeline_tests.building import source_event

NOTHING = GateKnowledge(frozenset(), {}, {})
DUPLICATE = Filtered("duplicate")
NOT_ALLOWED = Filtered("event_not_allowed")
WANTED = Subscription("github", is_active=True, events=("pull_request",))


def event(id_: int = 1, **changes: Any) -> CaptureEvent:
    return CaptureEvent(id_, "ws", "org", None, source_event(**{"title": "Plain", "body": "", **changes}))


def knowing(*, duplicate: bool = False, covering: tuple[Subscription, ...] = (), problem: str = "") -> GateKnowledge:
    return GateKnowledge(
        frozenset({1} if duplicate else ()),
        {("ws", "42"): covering} if covering else {},
        {"ws": problem} if problem else {},
    )


def judged(
    *events: CaptureEvent, knowledge: GateKnowledge = NOTHING, unreadable: Mapping[int, Failure] | None = None
) -> Gated:
    return gate(events, knowledge, Thresholds(), unreadable=unreadable or {})


def test_an_event_that_nothing_stops_passes_with_its_score():
    gated = judged(event())
    assert (gated.passed[1].score, gated.stopped) == (50, {})
    assert gated.open_events() == list(gated.events)
    assert gated.seconds.keys() == {1}


def test_the_reasons_are_asked_in_the_order_of_the_specification():
    noise = event(source_type="push", title="typo", metadata={"repoId": 42})
    deaf = (Subscription("github", is_active=True, events=("issues",)),)
    all_ears = (Subscription("github", is_active=True, events=("push",)),)
    assert judged(noise, knowledge=knowing(duplicate=True, covering=deaf, problem="bad")).stopped == {1: DUPLICATE}
    assert judged(noise, knowledge=knowing(covering=deaf, problem="bad")).stopped == {1: NOT_ALLOWED}
    below = judged(noise, knowledge=knowing(covering=all_ears, problem="bad")).stopped[1]
    assert below == Filtered("below_threshold", 15)
    rejected = judged(event(), knowledge=knowing(covering=(WANTED,), problem="bad")).stopped[1]
    assert isinstance(rejected, Failure)
    assert (rejected.step, rejected.message, rejected.rejected) == ("gate", "bad", True)


@pytest.mark.parametrize(
    ("covering", "stopped"),
    [
        ((), False),
        ((WANTED,), False),
        ((Subscription("github", is_active=False, events=("pull_request",)),), True),
        ((Subscription("github", is_active=True, events=("issues", "push")),), True),
        ((Subscription("github", is_active=True, events=()),), True),
        ((Subscription("vercel", is_active=True, events=("pull_request",)),), False),
        ((Subscription(UNREADABLE, is_active=False, events=()),), True),
        ((Subscription("github", is_active=False, events=("pull_request",)), WANTED), False),
    ],
    ids=[
        "no integration",
        "wanted",
        "inactive",
        "not wanted",
        "nothing wanted",
        "of another provider",
        "unreadable",
        "one of two",
    ],
)
def test_where_an_integration_covers_the_resource_its_subscription_decides(
    covering: tuple[Subscription, ...], stopped: bool
):
    assert judged(event(), knowledge=knowing(covering=covering)).stopped == ({1: NOT_ALLOWED} if stopped else {})


def test_an_integration_of_another_resource_or_workspace_decides_nothing():
    deaf = (Subscription("github", is_active=True, events=()),)
    knowledge = GateKnowledge(frozenset(), {("ws", "43"): deaf, ("ws_other", "42"): deaf}, {})
    assert judged(event(), knowledge=knowledge).stopped == {}


def test_an_event_is_significant_from_the_threshold_on():
    assert judged(event(source_type="issue.closed")).stopped == {}
    assert judged(event(source_type="deployment.created")).stopped == {1: Filtered("below_threshold", 30)}


def test_git_history_has_a_threshold_of_its_own():
    neutral = {"source_type": "push", "source_id": "git:1", "actor": None, "metadata": {}}
    assert judged(event(source=Source.GIT, **neutral)).stopped == {}
    assert judged(event(source=Source.GITHUB, **neutral)).stopped == {1: Filtered("below_threshold", 30)}
    assert judged(event(source=Source.GIT, **neutral | {"title": "typo"})).stopped[1] == Filtered("below_threshold", 15)


@pytest.mark.parametrize(
    ("thresholds", "source", "passes"),
    [
        (Thresholds(significance=50), Source.GITHUB, True),
        (Thresholds(significance=51), Source.GITHUB, False),
        (Thresholds(git_significance=50), Source.GIT, True),
        (Thresholds(git_significance=51), Source.GIT, False),
        (Thresholds(significance=0, git_significance=51), Source.VERCEL, True),
    ],
)
def test_the_thresholds_are_settings(thresholds: Thresholds, source: Source, passes: bool):
    gated = gate([event(source=source)], NOTHING, thresholds, unreadable={})
    assert bool(gated.passed) is passes


def test_unusable_settings_stop_their_own_workspace_only():
    other = CaptureEvent(2, "ws_other", "org", None, source_event())
    gated = judged(event(), other, knowledge=GateKnowledge(frozenset(), {}, {"ws": "bad"}))
    assert gated.stopped.keys() == {1}
    assert gated.open_events() == [other]


def test_an_event_that_cannot_be_read_keeps_its_failure_and_touches_no_other():
    failure = Failure("load", "no title", "ValidationError")
    stand_in = CaptureEvent(1, "ws", "org", None, source_event().model_construct(source_id="x", metadata={}))
    gated = judged(stand_in, event(2), knowledge=knowing(duplicate=True), unreadable={1: failure})
    assert gated.stopped == {1: failure}
    assert gated.passed.keys() == {2}


def test_an_event_whose_score_fails_fails_alone():
    broken = CaptureEvent(1, "ws", "org", None, source_event().model_construct(source_id="x", metadata={}))
    gated = judged(broken, event(2))
    failure = gated.stopped[1]
    assert isinstance(failure, Failure)
    assert (failure.step, failure.error_class) == ("gate", "AttributeError")
    assert gated.passed.keys() == {2}
