"""What becomes of an error text before it is stored."""

import pytest

from neural_pipeline.contracts.workflows import MAX_ERROR, error_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("boom", "boom"),
        ("", "no error message"),
        (" \n", "no error message"),
        ("a\0b", "a\ufffdb"),
        ("a\udcffb", "a?b"),
        ("\U0001f600" * 1001, "\U0001f600" * MAX_ERROR),
    ],
)
def test_an_error_text_is_always_one_that_postgres_can_store(text: str, expected: str) -> None:
    assert error_text(text) == expected
