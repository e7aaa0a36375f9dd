"""The garbage collector during a run: what a batch is made of stays until the run ends, so it is not searched."""

import gc
from functools import lru_cache

_YOUNG, _MIDDLE, _OLD = 50_000, 20, 100
"""Objects made before the youngest are searched, and how many such searches come before one of the older ones."""


@lru_cache(maxsize=1)
def calm_collector() -> None:
    """Search the objects of a batch seldom, and those of imported modules never again; once per process.

    At Python's own pace, searching half a million objects for cycles took an eighth of a capture's time.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
