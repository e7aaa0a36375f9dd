"""How long one event takes when nothing else is to be done, and at one and five events a second, through `neural up`.

`python -m neural_pipeline_tests.benchmarks.fast.own_latency [--events 50] [--short] [--launcher ... --dispatcher ...]`.
Fifty events take some three minutes, each other way of launching a minute or two, the two streams a minute and a half.

Children wait as long as they do by default. Acceptance is `received_at`, set by the server in the transaction that
admits the event. An outcome is committed, and a row completed, when another connection sees it: it looks every 20 ms.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from sqlalchemy import Connection, text

from neural_pipeline_tests.benchmarks.fast.events import webhook
from neural_pipeline_tests.benchmarks.fast.own_processes import Usage
from neural_pipeline_tests.benchmarks.fast.own_site import CAPTURES, Running, Site, metered, own_site
from neural_pipeline_tests.benchmarks.fast.own_telling import (
    Numbers,
    Trouble,
    add_choices,
    choices,
    in_one_line,
    say,
    shown,
    spread,
)

EVENTS = 50
PAUSE_SECONDS = (1.5, 4.0)
"""Between two events, drawn anew each time: the phases of what beats regularly must not agree with it."""

LOOK_SECONDS = 0.02
LONGEST = 90.0
STREAM_SECONDS = 30.0
STREAMS = (1.0, 5.0)
_WORKSPACE = "ws_latency"


@dataclass(frozen=True, slots=True)
class Way:
    """How `neural up` launches runs, and how many single events it is measured with."""

    launcher: str | None
    dispatcher: bool | None
    events: int
    streams: Sequence[float] = ()

    @property
    def name(self) -> str:
        """The same in words."""
        launcher = self.launcher or "default launcher"
        return launcher if not self.dispatcher else f"{launcher} and dispatcher"


def ways(events: int) -> list[Way]:
    """Return all ways of launching; the first is what `neural up` does by default, and is measured most."""
    some = max(5, events // 5)
    return [
        Way("warm", True, events, STREAMS),
        Way("warm", False, 2 * some),
        Way("stock", True, some),
        Way("stock", False, some),
    ]


_LOOK = """
select extract(epoch from clock_timestamp() - e.received_at)::float as since, e.outcome is not null as has_outcome,
  r.status in ('completed', 'failed', 'cancelled') as has_end, r.status,
  extract(epoch from e.outcome_at - e.received_at)::float as outcome_written,
  extract(epoch from r.updated_at - e.received_at)::float as row_written
from incoming_events e join lightfast_workspace_workflow_runs r on r.event_id = e.id where e.id = :id
"""
_STREAM = """
select extract(epoch from e.outcome_at - e.received_at)::float as outcome,
  extract(epoch from r.updated_at - e.received_at)::float as row
from incoming_events e join lightfast_workspace_workflow_runs r on r.event_id = e.id
where e.id > :after and e.function_id = 'neural.observation.capture' and r.status = 'completed'
"""
_LAST = "select coalesce(max(id), 0) from incoming_events"


@dataclass(frozen=True, slots=True)
class Single:
    """Seconds from an event's acceptance: to its outcome and row as written, and as seen by somebody else."""

    outcome_written: float
    row_written: float
    outcome_seen: float
    row_seen: float


def latency(way: Way, *, settings: Mapping[str, str] | None = None) -> Numbers:
    """Measure one way of launching; raises Trouble."""
    with own_site(settings) as site, site.up(launcher=way.launcher, dispatcher=way.dispatcher) as running:
        site.make_workspaces(_WORKSPACE)
        payloads = (json.dumps(webhook(0, place)).encode() for place in count())
        with metered(running) as meter:
            singles = list(islice(_singles(site, running, payloads), way.events))
        numbers = of_singles(singles) | _forked(running) | _cost(meter.usage, way.events)
        for rate in way.streams:
            numbers |= _stream(site, running, payloads, rate)
        return numbers


def of_singles(singles: Sequence[Single]) -> Numbers:
    """Return the percentiles of single events."""
    return (
        spread([one.outcome_seen for one in singles], "outcome")
        | spread([one.row_seen for one in singles], "row")
        | spread([one.outcome_written for one in singles], "outcome_written")
        | spread([one.row_written for one in singles], "row_written")
    )


def _forked(running: Running) -> Numbers:
    return {"is_warm": float(running.is_warm)}


def _cost(usage: Usage, events: int) -> Numbers:
    return {"cpu_s_per_event": (usage.python_cpu + usage.postgres_cpu) / events, "cores": sum(usage.cores.values())}


def _singles(site: Site, running: Running, payloads: Iterator[bytes]) -> Iterator[Single]:
    drawn = random.Random(6)  # noqa: S311 - only phases
    with site.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for payload in payloads:
            time.sleep(drawn.uniform(*PAUSE_SECONDS))
            site.hand_in(_WORKSPACE, payload)
            event_id = connection.execute(text(_LAST)).scalar_one()
            yield _watched(connection, running, event_id)


def _watched(connection: Connection, running: Running, event_id: int) -> Single:
    outcome_seen: float | None = None
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        row: Mapping[str, Any] = connection.execute(text(_LOOK), {"id": event_id}).mappings().one()
        if row["has_outcome"] and outcome_seen is None:
            outcome_seen = row["since"]
        if row["has_end"] and row["status"] != "completed":
            raise Trouble(f"a single event ended as {row['status']}")
        if row["has_end"] and outcome_seen is not None:
            return Single(row["outcome_written"], row["row_written"], outcome_seen, row["since"])
        time.sleep(LOOK_SECONDS)
    running.require_alive()
    raise Trouble(f"a single event had no completed row after {LONGEST:.0f} s")


def _stream(site: Site, running: Running, payloads: Iterator[bytes], rate: float) -> Numbers:
    """Hand in so many events a second for half a minute, as evenly as that goes."""
    with site.engine.begin() as connection:
        after = connection.execute(text(_LAST)).scalar_one()
    begin, number = time.monotonic(), round(rate * STREAM_SECONDS)
    with metered(running) as meter:
        for place in range(number):
            time.sleep(max(0.0, begin + place / rate - time.monotonic()))
            site.hand_in(_WORKSPACE, next(payloads))
        site.await_end(running, f"a stream of {rate:g}/s", seconds=4 * LONGEST, only=CAPTURES)
    with site.engine.begin() as connection:
        found = connection.execute(text(_STREAM), {"after": after}).mappings().all()
    if len(found) != number:
        raise Trouble(f"of {number} events of a stream {len(found)} were completed")
    name = f"{rate:g}_per_s"
    return (
        spread([row["outcome"] for row in found], f"{name}.outcome")
        | spread([row["row"] for row in found], f"{name}.row")
        | {f"{name}.{what}": number for what, number in _cost(meter.usage, number).items()}
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline_tests.benchmarks.fast.own_latency")
    parser.add_argument("--events", type=int, default=EVENTS, help="single events with the program's default way")
    parser.add_argument("--short", action="store_true", help="ten events instead")
    parser.add_argument("--no-streams", action="store_true", help="single events only")
    add_choices(parser)
    given = parser.parse_args(arguments)
    events = 10 if given.short else given.events
    chosen = choices(given)
    streams = () if given.no_streams else STREAMS
    named = any(choice is not None for choice in chosen.values())
    for way in [Way(**chosen, events=events, streams=streams)] if named else ways(events):
        say(f"latency with {way.name}, {way.events} single events:", *shown(latency(way)))


if __name__ == "__main__":
    in_one_line(main)
