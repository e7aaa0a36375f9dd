"""Checks what an embedding model gives and makes unit vectors of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neural_pipeline.models.language import ModelFailed, Trouble

NO_TEXT = "-"
"""Stands in for a blank text: OpenAI refuses it, and other models may make nothing of it."""


def unit_vectors(rows: Sequence[ArrayLike], *, count: int, dimension: int, name: str) -> NDArray[np.float32]:
    """Return one unit vector per row, shape (count, dimension); raises ModelFailed where rows are not that."""
    lengths = {np.shape(row) for row in rows} - {(dimension,)}
    if lengths:
        found = max(lengths)
        raise _unusable(f"{name}: gives vectors of {found[0] if found else 0} numbers, {dimension} are configured")
    if len(rows) != count:
        raise _unusable(f"{name}: gives {len(rows)} vectors for {count} texts")
    vectors = np.asarray(rows, dtype=np.float64).reshape(count, dimension)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise _unusable(f"{name}: gives a vector without a direction")
    return (vectors / norms).astype(np.float32)


def _unusable(message: str) -> ModelFailed:
    return ModelFailed(Trouble.INVALID_ANSWER, message)
