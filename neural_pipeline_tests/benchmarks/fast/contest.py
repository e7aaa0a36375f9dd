"""One contest: everything measured in one go, on the same machine in the same minutes. What is shown is `report`."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from neural_pipeline_tests.benchmarks.fast import own_growth, own_idle, own_latency, own_throughput
from neural_pipeline_tests.benchmarks.fast.end_state import EndState
from neural_pipeline_tests.benchmarks.fast.entrants import (
    FLOOR,
    FRAMEWORKS,
    LOOP,
    Contested,
    NotInstalled,
    at_its_best,
    complaints,
    entrant,
)
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.measuring import Measured
from neural_pipeline_tests.benchmarks.fast.own_telling import Trouble
from neural_pipeline_tests.benchmarks.fast.report import Machine, Results
from neural_pipeline_tests.benchmarks.fast.site import durable_server, only_settings_of_the_contest
from neural_pipeline_tests.benchmarks.fast.working import NothingMoves

OWN, QUEUES, GROWTH = "own", "frameworks", "growth"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured.

    Events in all and by contestants that go event by event, numbers of workspaces (the ratios are of the first), events
    with which crews are tried (0: the first crew is taken), single events for latency, seconds of idleness, numbers of
    events and of rows before them between which the cost of an event is compared, and parts that are left out.
    """

    events: int = 10_000
    singly: int = 2_000
    workspaces: Sequence[int] = (20, 1)
    trial: int = 200
    single_events: int = own_latency.EVENTS
    idle_seconds: float = own_idle.SECONDS
    only_default_way: bool = False
    sizes: Sequence[int] = own_growth.SIZES
    past: int = own_growth.PAST
    without: Sequence[str] = ()

    def all_events(self) -> list[Events]:
        """Return the events of each number of workspaces."""
        return [Events(self.events, count) for count in self.workspaces]


SHORT = Plan(
    events=400,
    singly=60,
    workspaces=(20,),
    trial=0,
    single_events=10,
    idle_seconds=own_idle.SHORT_SECONDS,
    only_default_way=True,
    sizes=own_growth.SHORT_SIZES,
    past=0,
)


def say(line: str) -> None:
    """Show a line at once: what comes next takes a while."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Contest:
    """One contest as it goes; `states` are what the floor has left behind, by events."""

    plan: Plan
    results: Results = field(default_factory=lambda: Results(Machine.this_one()))
    states: dict[tuple[int, int], EndState] = field(default_factory=dict[tuple[int, int], EndState])

    def hold(self) -> Results:
        """Measure everything that is planned: the floor first, then this project, then those that go event by event."""
        with only_settings_of_the_contest(), durable_server() as home:
            for events in self.plan.all_events():
                self.results.floors.append(self._floor(events, home))
            self._own()
            self._one_by_one(home)
            self._own_numbers()
        # With servers of its own, and last: it fills databases.
        self._growth()
        return self.results

    def _floor(self, events: Events, home: Path) -> Measured:
        floor = at_its_best(entrant(FLOOR), events, home, trial=None)
        self.states[events.count, events.workspace_count] = floor.state
        return self._told(floor, events)

    def _one_by_one(self, home: Path) -> None:
        events = self.plan.all_events()[0].first(self.plan.singly)
        if (events.count, events.workspace_count) not in self.states:
            self._floor(events, home)  # so that their ends can be compared
        with self._left_out_if_it_fails(LOOP):
            self.results.loop = self._told(at_its_best(entrant(LOOP), events, home, trial=None), events)
        for name in FRAMEWORKS:
            if QUEUES in self.plan.without:
                self.results.left_out[name] = "not asked for"
                continue
            with self._left_out_if_it_fails(name):
                trial = events.first(self.plan.trial)
                queue = entrant(name)
                if not self.plan.trial:
                    queue = queue.with_first_crew()
                self.results.frameworks.append(self._told(at_its_best(queue, events, home, trial=trial), events))

    def _own(self) -> None:
        if OWN in self.plan.without:
            self.results.left_out["this project"] = "not asked for"
            return
        with self._left_out_if_it_fails("ingest alone"):
            self.results.ingest = own_throughput.ingest_alone(Events(self.plan.events, 1))
        for events in self.plan.all_events():
            with self._left_out_if_it_fails("this project"):
                done = own_throughput.throughput(events)
                self.results.own.append(self._told(Contested(done.measured, done.end_state), events))

    def _own_numbers(self) -> None:
        if OWN in self.plan.without:
            return
        ways = own_latency.ways(self.plan.single_events)
        for way in ways[:1] if self.plan.only_default_way else ways:
            heading = f"latency with {way.name}, {way.events} single events"
            with self._left_out_if_it_fails(heading):
                self.results.numbers[heading] = own_latency.latency(way)
                self.results.latency = self.results.latency or heading
                say(f"{heading}: median {self.results.numbers[heading]['outcome_p50_s']:.2f} s to the outcome")
        with self._left_out_if_it_fails("idle processes"):
            self.results.numbers["idle processes"] = own_idle.idle(self.plan.idle_seconds)

    def _growth(self) -> None:
        if GROWTH in self.plan.without:
            return
        heading = "cost of an event by the number of events, set-wise"
        with self._left_out_if_it_fails(heading):
            self.results.numbers[heading] = own_growth.growth(self.plan.sizes)
        heading = f"cost of an event with {self.plan.past:,} captures before it, set-wise"
        with self._left_out_if_it_fails(heading):
            if self.plan.past:
                self.results.numbers[heading] = own_growth.with_a_past(self.plan.past)

    def _told(self, contested: Contested, events: Events) -> Measured:
        """Show what a contestant came to, and note in what its end differs from the floor's."""
        one = contested.measured
        cost = f"{one.cpu_ms_per_event:.2f} ms of processor time per event"
        say(f"{one.name} ({one.note}): {one.events} events, {one.events_per_s:.0f} events/s, {cost}")
        lines = complaints(contested, self.states[events.count, events.workspace_count])
        if lines:
            self.results.complaints[one.name] = lines
            for line in lines:
                say(f"  ENDED DIFFERENTLY {line}")
        return one

    @contextmanager
    def _left_out_if_it_fails(self, name: str) -> Generator[None]:
        """Let one contestant fail without the others."""
        try:
            yield
        except NotInstalled as missing:
            self.results.left_out[name] = str(missing)
            say(f"{name} is left out: {missing}")
        except (Trouble, NothingMoves, OSError) as trouble:
            self.results.complaints[name] = [str(trouble)]
            say(f"{name} FAILED: {trouble}")
