"""When a failed execution is tried again: pure arithmetic, no clock and no randomness of its own."""

from dataclasses import dataclass

_LARGEST_EXPONENT = 30
"""2^30 times any base is beyond every cap; more would only overflow."""

LONGEST_ASKED = 3600.0
"""Seconds of the longest pause that is made because somebody asks for it."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often an execution is tried again after its own errors, and the pauses between, in seconds."""

    extra_attempts: int
    base: float = 10.0
    longest: float = 600.0

    def pause_after(self, attempt: int, *, draw: float, asked: float | None = None) -> float | None:
        """Return the seconds to wait after the attempt of this number (from 1) failed, None if it was the last.

        Exponential back-off with equal jitter: half of min(longest, base * 2^(attempt - 1)) and, of the other half,
        the part that `draw` in [0, 1) says (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        It is no shorter than the pause that was `asked` for, up to an hour.
        """
        if attempt > self.extra_attempts:
            return None
        ceiling = min(self.longest, self.base * 2.0 ** min(attempt - 1, _LARGEST_EXPONENT))
        return max(ceiling / 2 * (1 + draw), min(asked or 0.0, LONGEST_ASKED))
