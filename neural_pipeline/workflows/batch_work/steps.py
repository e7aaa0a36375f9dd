"""What each step of a run found out about the events of its batch, why it failed for some, and the time it took."""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Generic, Self, TypeVar

from neural_pipeline.contracts.workflows import error_text
from neural_pipeline.workflows.batch_work.events import Worked

MAX_STACK = 4_000

Found = TypeVar("Found")
Event = TypeVar("Event", bound=Worked)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an event's work cannot be done: the step that failed and what it said.

    What is `rejected` no retry heals; before `retry_after` seconds are over none has a chance.
    """

    step: str
    message: str
    error_class: str
    stack: str | None = None
    rejected: bool = False
    retry_after: float | None = None


@dataclass(slots=True)
class Clock:
    """Seconds of work per event id; what is done for many at once is shared out evenly."""

    seconds: dict[int, float] = field(default_factory=dict[int, float])

    def add(self, event_id: int, seconds: float) -> None:
        """Count time spent on one event."""
        self.seconds[event_id] = self.seconds.get(event_id, 0.0) + seconds

    def share(self, event_ids: Iterable[int], seconds: float) -> None:
        """Count time spent on several events together."""
        ids = list(event_ids)
        for event_id in ids:
            self.add(event_id, seconds / len(ids))


@dataclass(frozen=True, slots=True)
class Step(Generic[Found]):
    """What one step found: a result or a failure per event id, and the time it took."""

    found: dict[int, Found]
    failures: dict[int, Failure]
    clock: Clock

    @classmethod
    def empty(cls) -> Self:
        """Return a step that has found nothing yet."""
        return cls({}, {}, Clock())

    def take_in(self, other: "Step[Found]") -> None:
        """Add what was found about other events."""
        self.found.update(other.found)
        self.failures.update(other.failures)
        self.clock.seconds.update(other.clock.seconds)


def each(step: str, events: Iterable[Event], work: Callable[[Event], Found], *, into: Step[Found]) -> None:
    """Run a step for event after event; one event's error is its own failure and touches no other."""
    for event in events:
        began = perf_counter()
        try:
            into.found[event.id] = work(event)
        except Exception as error:
            into.failures[event.id] = failure_of(error, step=step)
        into.clock.add(event.id, perf_counter() - began)


def failure_of(error: Exception, *, step: str, rejected: bool = False) -> Failure:
    """Return what is kept of an exception: message, class and the end of its stack."""
    stack = "".join(traceback.format_exception(error))[-MAX_STACK:]
    message = error_text(f"{error}" or type(error).__name__)
    return Failure(step=step, message=message, error_class=type(error).__qualname__, stack=stack, rejected=rejected)
