"""When the dispatcher acts on what is announced again and again: at once after a rest, and then not too often."""

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """Something to be done as soon as it is announced, but not within `rest` seconds of the last time.

    The rest is longer where doing it takes long: `share` times as long as that. Times are those of one clock.
    """

    rest: float
    share: float
    due_at: float | None = None
    rests_until: float = 0.0

    def announce(self, now: float, *, after: float = 0.0) -> None:
        """Have it done, `after` so many seconds if not sooner for another reason."""
        at = max(now + after, self.rests_until)
        self.due_at = at if self.due_at is None else min(self.due_at, at)

    def is_due(self, now: float) -> bool:
        """Tell whether it is to be done now."""
        return self.due_at is not None and self.due_at <= now

    def begin(self) -> None:
        """Forget what was announced: what is announced from here on is not seen by what begins now."""
        self.due_at = None

    def end(self, began: float, now: float) -> None:
        """Rest, after having done it."""
        self.rests_until = now + max(self.rest, (now - began) * self.share)
        if self.due_at is not None:
            self.due_at = max(self.due_at, self.rests_until)
