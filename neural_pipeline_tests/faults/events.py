"""The body of work: source events whose every outcome is known beforehand, whatever happens while they are done."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline_tests.building import source_event

WORKSPACES = ("ws_one", "ws_two", "ws_three", "ws_four")

POISON = "poison"
HANG = "hang"
"""In a title: what kills the worker that classifies it, and what keeps it for ever."""

Ends = Counter[tuple[str, str, str]]
"""How often each (workspace, source id) ends in which way."""


@dataclass
class Work:
    """Events per workspace, and how they must end."""

    events: list[tuple[str, SourceEvent]] = field(default_factory=list[tuple[str, SourceEvent]])
    ends: Ends = field(default_factory=Ends)

    def add(self, workspace: str, event: SourceEvent, end: str) -> None:
        """Add an event that must end so."""
        self.events.append((workspace, event))
        self.ends[workspace, event.source_id, end] += 1


def work(count: int, *, special: tuple[str, str] | None = None) -> Work:
    """Return `count` events; `special` is the title of one more, in the middle, and how it ends."""
    made = Work()
    for number, (workspace, event, end) in enumerate(_ordinary(count)):
        if special and number == count // 2:
            made.add(workspace, source_event("special", title=special[0]), special[1])
        made.add(workspace, event, end)
    return made


def _ordinary(count: int) -> Iterator[tuple[str, SourceEvent, str]]:
    for number in range(count):
        workspace = WORKSPACES[number % len(WORKSPACES)]
        own = number // len(WORKSPACES)
        if own % 10 == 9:
            # The same source id as the event before: one of the two is captured, whichever comes first.
            yield workspace, _significant(own - 1), "duplicate"
        elif own % 10 == 5:
            trivial = source_event(f"pr-{own}", title="chore: fix a typo in the wip draft")
            yield workspace, trivial, "below_threshold"
        else:
            yield workspace, _significant(own), "success"


_PROSE = " Thanks to Jane Roe, who moved the sessions from PostgreSQL to Redis last week." * 3
"""Makes a body long enough to be read for entities."""


def _significant(number: int) -> SourceEvent:
    body = (
        f"The checkout of service-{number % 37} failed for @dev{number % 11}, see #{number} and API_KEY_{number % 5}."
    ) + (_PROSE if number % 3 == 0 else "")
    return source_event(f"pr-{number}", title=f"[PR Opened] Fix checkout number {number}", body=body)
