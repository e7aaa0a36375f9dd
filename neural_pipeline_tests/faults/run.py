"""Running scenarios one after the other, and the table of what came out."""

import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from neural_pipeline_tests.faults.events import work
from neural_pipeline_tests.faults.scenarios import Scenario
from neural_pipeline_tests.faults.site import NotInTime, Site
from neural_pipeline_tests.faults.verdict import Verdict, Witness, judge

_AT_MOST = 1_500.0
"""Seconds that a scenario may take after its fault, whatever goes on."""


@dataclass(frozen=True)
class Result:
    """What a scenario left: the figures, the events there were, and the seconds from the fault to the last end."""

    scenario: Scenario
    events: int
    verdict: Verdict
    seconds: float


def run_scenario(scenario: Scenario, *, count: int) -> Result:
    """Do `count` events with a fault in between; what goes on unfinished beyond the scenario's patience is stuck."""
    base = Path(tempfile.mkdtemp(prefix="neural-faults-"))
    base.chmod(0o711)
    site = Site(base, dict(scenario.settings))
    given = work(count, special=scenario.special)
    witness = Witness(site)
    try:
        site.prepare(given)
        witness.start()
        scenario.before(site)
        if not site.daemons:
            site.start_daemon()
        began, problem = time.monotonic(), ""
        try:
            scenario.fault(site)
            began = time.monotonic()
            _await_end(site, patience=scenario.patience)
        except NotInTime as late:
            problem = str(late)
        seconds = time.monotonic() - began
        verdict = judge(site, given.ends, witness, may_cancel=scenario.may_cancel)
    finally:
        site.close()
    if verdict.is_clean and not problem:
        shutil.rmtree(base, ignore_errors=True)
    else:
        verdict = Verdict(
            verdict.lost, verdict.doubled, verdict.stuck + bool(problem), [problem, f"see {base}", *verdict.findings]
        )
    return Result(scenario, len(given.events), verdict, seconds)


def _await_end(site: Site, *, patience: float) -> None:
    """Wait while executions go on ending, however slow the machine is; raises NotInTime."""
    beginning = last = time.monotonic()
    finished = site.finished()
    while not _is_done(site):
        if (now := site.finished()) > finished:
            finished, last = now, time.monotonic()
        if time.monotonic() - last > patience or time.monotonic() - beginning > _AT_MOST:
            raise NotInTime(f"{site.unfinished()} executions do not end")
        time.sleep(0.2)


def _is_done(site: Site) -> bool:
    site.keep_daemon()
    return not site.unfinished() and not site.scalar("select count(*) from event_batches where state <> 'closed'")


def table(results: Iterable[Result]) -> list[str]:
    """Return the lines of the table in Markdown."""
    lines = ["| fault | events | lost | doubled | stuck | seconds to recover |", "|---|---|---|---|---|---|"]
    for one in results:
        figures = (one.events, one.verdict.lost, one.verdict.doubled, one.verdict.stuck, f"{one.seconds:.0f}")
        lines.append(f"| {one.scenario.says} | {' | '.join(map(str, figures))} |")
    return lines


def closing_line(results: list[Result]) -> str:
    """Return the line that says it all."""
    lost, doubled, stuck = (sum(getattr(one.verdict, name) for one in results) for name in ("lost", "doubled", "stuck"))
    return f"faults {len(results)} lost {lost} doubled {doubled} stuck {stuck}"
