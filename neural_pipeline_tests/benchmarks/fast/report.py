"""The results of a contest: as JSON, as Markdown with ratios, and as the line it ends with."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import psutil

from neural_pipeline_tests.benchmarks.fast.measuring import Measured

Numbers = Mapping[str, float]
IDLE_P50 = "outcome_p50_s"
LOW_FLOOR = 1_600
"""The floor's events per second without which a thousand are not asked of this project, but 0.6 of the floor."""

_MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the contest was held."""

    cores: int
    processor: str
    memory_gb: float
    system: str
    python: str
    load_before: float

    @classmethod
    def this_one(cls) -> "Machine":
        """Return this machine."""
        return cls(
            cores=os.cpu_count() or 0,
            processor=_processor(),
            memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            load_before=round(os.getloadavg()[0], 2),
        )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - not there on other systems
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@dataclass(slots=True)
class Results:
    """All that was measured. `own` and `floors` begin with the number of workspaces that the ratios are taken of."""

    machine: Machine
    begun_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    floors: list[Measured] = field(default_factory=list[Measured])
    own: list[Measured] = field(default_factory=list[Measured])
    loop: Measured | None = None
    frameworks: list[Measured] = field(default_factory=list[Measured])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    complaints: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    ingest: Measured | None = None
    numbers: dict[str, Numbers] = field(default_factory=dict[str, Numbers])
    """Further numbers by heading: latency of each way of launching, first the default one, idle processes, growth."""

    latency: str | None = None
    """The heading of the latency that the last line shows."""

    @property
    def own_rate(self) -> float | None:
        """The events per second of this project."""
        return self.own[0].events_per_s if self.own else None

    @property
    def floor_ratio(self) -> float | None:
        """This project's rate as a share of the floor's."""
        return _ratio(self.own_rate, self.floors[0].events_per_s if self.floors else None)

    @property
    def framework_ratio(self) -> float | None:
        """How many times the rate of the fastest queue this project has."""
        return _ratio(self.own_rate, max((one.events_per_s for one in self.frameworks), default=None))

    @property
    def idle_p50_s(self) -> float | None:
        """The median of seconds from acceptance to committed outcome when idle."""
        return self.numbers.get(self.latency or "", {}).get(IDLE_P50)

    @property
    def measured(self) -> list[Measured]:
        """All contestants, in the order of the table."""
        return [*self.own, *self.floors, *([self.loop] if self.loop else []), *self.frameworks]


def _ratio(rate: float | None, to: float | None) -> float | None:
    return rate / to if rate and to else None


def as_json(results: Results) -> str:
    """Return everything, the ratios too."""
    ratios = {
        "events_per_s": results.own_rate,
        "floor_ratio": results.floor_ratio,
        "framework_ratio": results.framework_ratio,
        "idle_p50_s": results.idle_p50_s,
    }
    return json.dumps({**ratios, **asdict(results)}, indent=2) + "\n"


def end_line(results: Results) -> str:
    """Return the line that the contest ends with; `-` for what was not measured."""
    return (
        f"events_per_s {_shown(results.own_rate, 0)} floor_ratio {_shown(results.floor_ratio, 2)}"
        f" framework_ratio {_shown(results.framework_ratio, 1)} idle_p50_s {_shown(results.idle_p50_s, 2)}"
    )


def _shown(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def as_markdown(results: Results) -> str:
    """Return the tables."""
    return "\n".join([*_head(results), *_contestants(results), *_remarks(results), *_numbers(results)]) + "\n"


def _head(results: Results) -> Iterator[str]:
    machine = results.machine
    yield f"{machine.cores} cores ({machine.processor}), {machine.memory_gb:.0f} GB, {machine.system}, "
    yield f"Python {machine.python}; load before: {machine.load_before}; begun {results.begun_at}."
    yield ""


def _contestants(results: Results) -> Iterator[str]:
    titles = ("contestant", "events", "seconds", "events/s", "this project is", "CPU ms/event: Python", "Postgres")
    yield from _row(*titles, "peak MB", "how")
    yield from _row("---", *["---:"] * 7, "---")
    for one in results.measured:
        is_own = one in results.own
        ratio = "" if is_own or not results.own_rate else f"{results.own_rate / one.events_per_s:.2f} x"
        yield from _row(
            one.name,
            str(one.events),
            f"{one.seconds:.1f}",
            f"{one.events_per_s:.0f}",
            ratio,
            f"{1000 * one.python_cpu_s / one.events:.2f}",
            f"{1000 * one.postgres_cpu_s / one.events:.2f}",
            f"{one.peak_rss_bytes / _MEGABYTE:.0f}",
            one.note,
        )


def _row(*cells: str) -> Sequence[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"]


def _remarks(results: Results) -> Iterator[str]:
    yield ""
    if results.ingest is not None:
        yield f"Ingest alone: {results.ingest.events_per_s:.0f} events/s ({results.ingest.note})."
    if results.floors and (floor := results.floors[0].events_per_s) < LOW_FLOOR:
        yield f"The floor lies below {LOW_FLOOR} events/s on this machine: {0.6 * floor:.0f}, 0.6 of it, is what binds."
    for name, reason in results.left_out.items():
        yield f"Left out: {name}: {reason}."
    for name, lines in results.complaints.items():
        yield from (f"**{name} ended differently**: {line}" for line in lines)
    if results.measured and not results.complaints:
        yield "All ended alike: payloads, outcomes, observations, vectors, entities, actors, rows, metrics are equal."


def _numbers(results: Results) -> Iterator[str]:
    shown = results.numbers | {f"details: {one.name}": one.details for one in results.measured if one.details}
    for heading, numbers in shown.items():
        yield from ("", f"### {heading}", "", *_row("what", "value"), *_row("---", "---:"))
        for name, value in numbers.items():
            yield from _row(name, f"{value:,.3f}".rstrip("0").rstrip("."))
