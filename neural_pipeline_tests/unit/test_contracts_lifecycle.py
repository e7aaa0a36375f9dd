"""The rules of a run's life, written out move by move."""

import pytest

from neural_pipeline.contracts.lifecycle import LEGAL_MOVES, TERMINAL, Cause, Disposition, RunStatus, Trigger, is_legal

LEGAL = {
    ("queued", "queued"),
    ("queued", "running"),
    ("queued", "completed"),
    ("queued", "failed"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "cancelled"),
}


@pytest.mark.parametrize("old", RunStatus)
@pytest.mark.parametrize("new", RunStatus)
def test_exactly_the_written_moves_are_legal(old: RunStatus, new: RunStatus) -> None:
    assert is_legal(old, new) == ((old.value, new.value) in LEGAL)


def test_terminal_states_are_those_that_are_never_left() -> None:
    assert {status for status in RunStatus if not LEGAL_MOVES[status]} == TERMINAL
    assert {status.value for status in TERMINAL} == {"completed", "failed", "cancelled"}


def test_the_rules_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        LEGAL_MOVES[RunStatus.FAILED] = frozenset({RunStatus.QUEUED})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (RunStatus, ["queued", "running", "completed", "failed", "cancelled"]),
        (Trigger, ["manual", "scheduled", "webhook", "automatic"]),
        (Cause, ["code_error", "worker_lost", "timeout", "rejected"]),
        (Disposition, ["accepted", "duplicate", "unsupported", "invalid"]),
    ],
)
def test_the_stored_words_are_the_specified_ones(words: type[RunStatus], expected: list[str]) -> None:
    assert [word.value for word in words] == expected
