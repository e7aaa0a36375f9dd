"""What an embedder is to the rest of the project. Implementations live in modules of their own."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Turns texts into unit vectors; vectors of embedders with different names must not be compared."""

    @property
    def name(self) -> str:
        """Name the model and everything that changes its vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, shape (n, dimension)."""
        ...
