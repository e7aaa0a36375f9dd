"""What `neural up` takes while nothing is to be done: processor time as a share of one core, and memory, by role.

`python -m neural_pipeline_tests.benchmarks.fast.own_idle [--seconds 60] [--launcher ... --dispatcher ...]`.
About a minute beside the seconds that are measured.
"""

import argparse
import time
from collections.abc import Sequence

from neural_pipeline_tests.benchmarks.fast.own_processes import POSTGRES, Usage
from neural_pipeline_tests.benchmarks.fast.own_site import IN_HASTE, Running, metered, own_site
from neural_pipeline_tests.benchmarks.fast.own_telling import (
    Numbers,
    add_choices,
    choices,
    in_one_line,
    of_memory,
    say,
    shown,
)

SECONDS = 60.0
SHORT_SECONDS = 15.0
_CALM_SECONDS = 5.0
_LOOK_SECONDS = 2.0


def idle(seconds: float = SECONDS, *, launcher: str | None = None, dispatcher: bool | None = None) -> Numbers:
    """Measure an idle `neural up` that has done some events before; raises Trouble."""
    with own_site(IN_HASTE) as site, site.up(launcher=launcher, dispatcher=dispatcher) as running:
        return idle_now(running, seconds)


def idle_now(running: Running, seconds: float) -> Numbers:
    """Measure one that is running and has nothing to do."""
    time.sleep(_CALM_SECONDS)
    with metered(running, look_seconds=_LOOK_SECONDS) as meter:
        time.sleep(seconds)
    running.require_alive()
    return of_idle(meter.usage)


def of_idle(usage: Usage) -> Numbers:
    """Return shares of a core in all, of Postgres and of each role, and the memory of each."""
    cores = usage.cores
    all_of_them = {"idle_cores": sum(cores.values()), "idle_cores_postgres": cores.get(POSTGRES, 0.0)}
    return all_of_them | {f"idle_cores.{role}": share for role, share in cores.items()} | of_memory(usage)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline_tests.benchmarks.fast.own_idle")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--short", action="store_true", help=f"{SHORT_SECONDS:.0f} seconds instead")
    add_choices(parser)
    given = parser.parse_args(arguments)
    seconds = SHORT_SECONDS if given.short else given.seconds
    say(f"idle over {seconds:.0f} s, in cores and megabytes:", *shown(idle(seconds, **choices(given))))


if __name__ == "__main__":
    in_one_line(main)
