"""How the parts `own_*` tell what they have found: lines for people, numbers by name, trouble in one line."""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from neural_pipeline_tests.benchmarks.fast.measuring import Measured
from neural_pipeline_tests.benchmarks.fast.own_processes import Usage

Numbers = dict[str, float]
_MEGABYTE = 2**20


class Trouble(Exception):
    """Something did not work or took too long; the message is one line."""


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent of all do not exceed (nearest rank); raises Trouble if there are none."""
    if not values:
        raise Trouble("there is nothing to take a percentile of")
    ordered = sorted(values)
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)]


def spread(values: Sequence[float], name: str) -> Numbers:
    """Return median, 95th percentile and the largest of some seconds."""
    return {
        f"{name}_p50_s": percentile(values, 50),
        f"{name}_p95_s": percentile(values, 95),
        f"{name}_max_s": max(values),
    }


def of_roles(usage: Usage, *, events: int) -> Numbers:
    """Return what each role took: processor time per event, and memory at its peak."""
    cpu = {f"cpu_ms_per_event.{role}": 1000 * seconds / events for role, seconds in usage.cpu.items()}
    return cpu | of_memory(usage)


def of_memory(usage: Usage) -> Numbers:
    """Return the megabytes of each role at its peak, and of all at theirs."""
    memory = {f"memory_mb.{role}": size / _MEGABYTE for role, size in usage.memory.items()}
    return {"memory_mb": usage.memory_peak / _MEGABYTE} | memory


def lines_of(measured: Measured) -> list[str]:
    """Return what people read of a measurement."""
    rate = f"{measured.events} events in {measured.seconds:.1f} s = {measured.events_per_s:.0f} events/s"
    cost = f"{measured.cpu_ms_per_event:.2f} ms of processor time per event"
    return [f"{measured.name}: {rate}, {cost} ({measured.note})", *shown(measured.details)]


def shown(numbers: Mapping[str, float]) -> list[str]:
    """Return a line per number."""
    return [f"  {name:<52}{value:>14,.3f}" for name, value in numbers.items()]


def say(*lines: str) -> None:
    """Show lines at once: what comes next takes a while."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Let the caller choose launcher and dispatcher of `neural up`."""
    parser.add_argument("--launcher", choices=("warm", "stock"), help="default: the program's")
    parser.add_argument("--dispatcher", choices=("on", "off"), help="default: the program's")


def choices(given: argparse.Namespace) -> dict[str, Any]:
    """Return what was chosen, None where it is left to the program."""
    dispatcher = None if given.dispatcher is None else given.dispatcher == "on"
    return {"launcher": given.launcher, "dispatcher": dispatcher}


def in_one_line(main: Callable[[], None]) -> None:
    """Run a main function; trouble ends it as one line with exit code 1, SIGTERM in order, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        main()
    except Trouble as trouble:
        sys.exit(f"trouble: {trouble}")
