"""How due events are spread over batches: the arithmetic alone, without a database."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.contracts.batching import DueEvent, Limits, allowed_size, plan_batches

LIMITS = Limits(max_events=8, max_bytes=1_000, max_open=4)


def events(*workspaces: str, size: int = 1, losses: int = 0) -> list[DueEvent]:
    return [DueEvent(id_, workspace, size, losses) for id_, workspace in enumerate(workspaces)]


@st.composite
def due_events(draw: st.DrawFn) -> list[DueEvent]:
    drawn = draw(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 1_500), st.integers(0, 4)), max_size=40))
    return [DueEvent(id_, workspace, size, losses) for id_, (workspace, size, losses) in enumerate(drawn)]


@given(due_events(), st.integers(1, 4))
def test_a_workspace_stands_in_one_batch_only(due: list[DueEvent], slots: int) -> None:
    batches = plan_batches(due, slots=slots, limits=LIMITS)
    places = Counter(workspace for batch in batches for workspace in {event.workspace_id for event in batch})
    assert set(places.values()) <= {1}


@given(due_events(), st.integers(1, 4))
def test_no_more_batches_are_made_than_slots_are_free_and_none_is_empty(due: list[DueEvent], slots: int) -> None:
    batches = plan_batches(due, slots=slots, limits=LIMITS)
    assert len(batches) <= slots
    assert all(batches)


@given(due_events(), st.integers(1, 4))
def test_a_batch_keeps_to_its_count_and_bytes_unless_one_event_alone_is_heavier(
    due: list[DueEvent], slots: int
) -> None:
    for batch in plan_batches(due, slots=slots, limits=LIMITS):
        assert len(batch) <= LIMITS.max_events
        assert len(batch) == 1 or sum(event.bytes for event in batch) <= LIMITS.max_bytes


@given(due_events(), st.integers(1, 4))
def test_events_of_a_workspace_keep_their_order(due: list[DueEvent], slots: int) -> None:
    for batch in plan_batches(due, slots=slots, limits=LIMITS):
        for workspace in {event.workspace_id for event in batch}:
            ids = [event.id for event in batch if event.workspace_id == workspace]
            assert ids == sorted(ids)


@given(due_events(), st.integers(1, 4))
def test_events_of_different_suspicion_never_share_a_batch(due: list[DueEvent], slots: int) -> None:
    for batch in plan_batches(due, slots=slots, limits=LIMITS):
        losses = {event.losses for event in batch}
        assert len(losses) == 1
        assert len(batch) <= allowed_size(LIMITS, losses=losses.pop())


@given(due_events(), st.integers(1, 4))
def test_planning_again_and_again_loses_no_event_and_gives_none_out_twice(due: list[DueEvent], slots: int) -> None:
    left, given_out = list(due), []
    while batches := plan_batches(left, slots=slots, limits=LIMITS):
        taken = [event.id for batch in batches for event in batch]
        given_out += taken
        left = [event for event in left if event.id not in set(taken)]
    assert sorted(given_out) == [event.id for event in due]


@given(st.integers(1, 30), st.integers(2, 6))
def test_a_full_batch_takes_equal_shares_of_the_workspaces_in_it(backlog: int, count: int) -> None:
    due = events(*"a" * (backlog + 20), *("b" * backlog), *("cdef"[: count - 2]))
    [batch] = plan_batches(due, slots=1, limits=LIMITS)
    shares = Counter(event.workspace_id for event in batch)
    assert set(shares) == {event.workspace_id for event in due}
    assert shares["b"] >= min(backlog, shares["a"] - 1)


def test_workspaces_are_spread_over_all_free_slots() -> None:
    batches = plan_batches(events("a", "b", "c", "a"), slots=3, limits=LIMITS)
    assert [[event.workspace_id for event in batch] for batch in batches] == [["a", "a"], ["b"], ["c"]]


def test_an_event_heavier_than_a_batch_goes_alone_rather_than_never() -> None:
    [batch] = plan_batches(events("a", "a", size=5_000), slots=1, limits=LIMITS)
    assert [event.id for event in batch] == [0]


@pytest.mark.parametrize(("losses", "size"), [(0, 20_000), (1, 737), (2, 27), (3, 1), (7, 1)])
def test_batches_shrink_with_every_loss_until_an_event_stands_alone(losses: int, size: int) -> None:
    assert allowed_size(Limits(max_events=20_000, max_bytes=1, max_open=1), losses=losses) == size


def test_the_most_suspicious_events_of_a_slot_go_first_and_without_the_others() -> None:
    due = [*events("a", "b"), DueEvent(7, "a", 1, 3), DueEvent(8, "b", 1, 3)]
    [batch] = plan_batches(due, slots=1, limits=LIMITS)
    assert [event.id for event in batch] == [7]


def test_a_workspace_under_suspicion_does_not_hold_up_the_others() -> None:
    due = [DueEvent(1, "suspicious", 1, 3), DueEvent(2, "clean", 1, 0), DueEvent(3, "other", 1, 0)]
    planned = [{one.workspace_id for one in batch} for batch in plan_batches(due, slots=2, limits=LIMITS)]
    assert planned == [{"suspicious"}, {"clean", "other"}]


def test_with_one_slot_the_kind_that_has_waited_longest_goes_first_and_alone() -> None:
    due = [DueEvent(1, "clean", 1, 0), DueEvent(2, "suspicious", 1, 1), DueEvent(3, "other", 1, 0)]
    [batch] = plan_batches(due, slots=1, limits=LIMITS)
    assert {one.workspace_id for one in batch} == {"clean", "other"}
    [batch] = plan_batches(due[1:], slots=1, limits=LIMITS)
    assert {one.workspace_id for one in batch} == {"suspicious"}
