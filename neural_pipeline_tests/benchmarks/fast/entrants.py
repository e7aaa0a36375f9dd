"""Who takes part beside this project, with how many hands, and whether each has left behind what the floor has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from neural_pipeline_tests.benchmarks.fast.end_state import EndState, differences, end_state
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.framework import QUEUE_LEFT
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured
from neural_pipeline_tests.benchmarks.fast.site import site_for
from neural_pipeline_tests.benchmarks.fast.working import Crew

FLOOR, LOOP = "floor", "loop"
FRAMEWORKS = ("on_pgqueuer", "on_procrastinate", "on_dbos")
_PACKAGE = "neural_pipeline_tests.benchmarks.fast"


class NotInstalled(Exception):
    """A queue cannot take part; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contestant of this package: its name, the crews to be tried, and how it is measured."""

    name: str
    crews: Sequence[Crew]
    run: Callable[[Events, BenchSite, Crew], Measured]

    def with_first_crew(self) -> "Entrant":
        """Return the same without a choice."""
        return replace(self, crews=self.crews[:1])


@dataclass(frozen=True, slots=True)
class Contested:
    """What a contestant came to, and what it has left behind."""

    measured: Measured
    state: EndState


def entrant(module: str) -> Entrant:
    """Return a contestant by the name of its module; raises NotInstalled."""
    try:
        found = import_module(f"{_PACKAGE}.{module}")
    except ImportError as error:
        raise NotInstalled(f"{error}: install the extra `bench` (make bench EXTRA=1)") from error
    return Entrant(found.NAME, found.CREWS, found.run)


def held(entrant: Entrant, events: Events, home: Path, *, crew: Crew) -> Contested:
    """Measure a contestant on a database of its own."""
    with site_for("contest", home, events) as site:
        measured = entrant.run(events, site, crew)
        return Contested(measured, end_state(site.engine))


def at_its_best(entrant: Entrant, events: Events, home: Path, *, trial: Events | None) -> Contested:
    """Measure a contestant with the crew that is fastest: in a trial on fewer events, or, without one, in earnest."""
    if len(entrant.crews) == 1:
        return held(entrant, events, home, crew=entrant.crews[0])
    tried = [(held(entrant, trial or events, home, crew=crew), crew) for crew in entrant.crews]
    fastest, best = max(tried, key=lambda one: one[0].measured.events_per_s)
    contested = fastest if trial is None else held(entrant, events, home, crew=best)
    rates = ", ".join(f"{crew}: {one.measured.events_per_s:.0f}/s" for one, crew in tried)
    tested = f"tried on {(trial or events).count} events: {rates}"
    note = f"{contested.measured.note}; {tested}"
    return Contested(replace(contested.measured, note=note), contested.state)


def complaints(contested: Contested, expected: EndState) -> list[str]:
    """Return, a line each, in what a contestant's end differs from the floor's, or that its queue is not empty."""
    left = contested.measured.details.get(QUEUE_LEFT, 0)
    rest = [f"{left:.0f} jobs are left in the queue"] if left else []
    return [*map(str, differences(contested.state, expected)), *rest]
