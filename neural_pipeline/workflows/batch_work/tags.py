"""The tags by which a run and its batch find each other."""

from collections.abc import Mapping

BATCH_TAG = "neural/batch"
"""The run tag that names the batch a sensor has assigned."""

FUNCTION_TAG = "neural/function"
"""The job tag that names the workflow function."""

CHILD_TAGS = {"neural/child": "true"}
"""Beside it on workflows that captures ask for: dagster.yaml bounds how many of their runs go on at once."""

_LONGEST_ID = 18
"""Digits that fit into a bigint whatever they are."""


def batch_named(tags: Mapping[str, str]) -> int | None:
    """Return the batch that a run's tags name; what somebody typed there and is no number names none."""
    tag = tags.get(BATCH_TAG, "")
    return int(tag) if tag.isascii() and tag.isdigit() and len(tag) <= _LONGEST_ID else None
