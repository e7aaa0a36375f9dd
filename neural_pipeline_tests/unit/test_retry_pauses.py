"""Pauses between attempts: they double up to a cap, never vanish, differ by chance, and end with the last attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.contracts.retries import RetryPolicy

DRAWS = st.floats(0, 1, exclude_max=True)


def test_pauses_double_with_every_attempt_up_to_the_longest() -> None:
    policy = RetryPolicy(6, base=10, longest=100)
    assert [policy.pause_after(n, draw=0.0) for n in range(1, 7)] == [5, 10, 20, 40, 50, 50]


@pytest.mark.parametrize("extra", [0, 2, 3])
def test_after_the_last_extra_attempt_there_is_no_other(extra: int) -> None:
    policy = RetryPolicy(extra)
    given_pauses = [policy.pause_after(n, draw=0.5) is not None for n in range(1, extra + 3)]
    assert given_pauses == [True] * extra + [False, False]


@given(attempt=st.integers(1, 10_000), draw=DRAWS)
def test_a_pause_lies_between_half_its_ceiling_and_the_whole(attempt: int, draw: float) -> None:
    policy = RetryPolicy(10_000, base=10, longest=600)
    pause = policy.pause_after(attempt, draw=draw)
    assert pause is not None
    ceiling = min(600.0, 10.0 * 2.0 ** (attempt - 1)) if attempt < 60 else 600.0
    assert ceiling / 2 <= pause <= ceiling


def test_chance_spreads_the_pauses_over_the_upper_half() -> None:
    policy = RetryPolicy(3, base=10, longest=600)
    assert [policy.pause_after(1, draw=draw) for draw in (0.0, 0.5, 0.75)] == [5.0, 7.5, 8.75]


@pytest.mark.parametrize(
    ("asked", "pause"), [(None, 7.5), (0.0, 7.5), (7.0, 7.5), (90.0, 90.0), (1e6, 3600.0), (float("inf"), 3600.0)]
)
def test_a_longer_pause_that_is_asked_for_is_made_up_to_an_hour(asked: float | None, pause: float) -> None:
    assert RetryPolicy(1, base=10, longest=600).pause_after(1, draw=0.5, asked=asked) == pause


def test_asking_for_a_pause_gives_no_further_attempt() -> None:
    assert RetryPolicy(1).pause_after(2, draw=0.5, asked=5.0) is None
