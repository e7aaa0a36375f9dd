"""What a contestant is given and what it gives back, and the stopwatch for it: time, processor time, memory.

Every contestant is a function `(events: Events, site: BenchSite) -> Measured`. Its time runs from the first payload
handed in to the last completed row, children included.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from neural_pipeline.postgres.server import status
from neural_pipeline.store.database import engine_for
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.own_processes import weight_of

_MEMORY_SECONDS = 1.0
"""Between two looks at the memory: a look costs some milliseconds per process."""


@dataclass(frozen=True, slots=True)
class BenchSite:
    """What a contestant has for itself: a database with schema and workspaces, a folder, and the settings of all.

    `home` is the folder of the durable server that all databases are on.
    """

    home: Path
    url: URL
    folder: Path
    settings: Mapping[str, str]

    @property
    def engine(self) -> Engine:
        """The engine of this process for the contestant's database."""
        return engine_for(self.url)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a process of this contestant needs: its database and the settings."""
        return {"DATABASE_URL": self.url.render_as_string(hide_password=False), **self.settings}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one contestant came to; `details` are further numbers for the JSON file."""

    name: str
    events: int
    seconds: float
    events_per_s: float
    python_cpu_s: float
    postgres_cpu_s: float
    peak_rss_bytes: int
    note: str = ""
    details: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def cpu_ms_per_event(self) -> float:
        """The milliseconds of processor time per event, Python and Postgres together."""
        return 1000 * (self.python_cpu_s + self.postgres_cpu_s) / max(1, self.events)


Contestant = Callable[[Events, BenchSite], Measured]


class Stopwatch:
    """Measures what happens between `with` and its end: of processes named by their ids with all below them.

    Without `pids` that is this process. Processor time of children counts when they have ended, too.
    """

    def __init__(self, home: Path, *pids: int) -> None:
        self._python = [psutil.Process(pid) for pid in pids] or [psutil.Process()]
        postmaster = status(home).pid
        self._postgres = [psutil.Process(postmaster)] if postmaster else []
        self._stopped = threading.Event()
        self._peak = 0
        self.seconds = self.python_cpu_s = self.postgres_cpu_s = 0.0

    def __enter__(self) -> "Stopwatch":
        self._before = self._cpu()
        self._sampler = threading.Thread(target=self._watch_memory, name="memory of contestants", daemon=True)
        self._sampler.start()
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begin
        after = self._cpu()
        self.python_cpu_s, self.postgres_cpu_s = (end - begin for end, begin in zip(after, self._before, strict=True))
        self._stopped.set()
        self._sampler.join()

    def measured(self, name: str, events: int, *, note: str = "", **details: float) -> Measured:
        """Return what came out."""
        return Measured(
            name=name,
            events=events,
            seconds=self.seconds,
            events_per_s=events / self.seconds,
            python_cpu_s=self.python_cpu_s,
            postgres_cpu_s=self.postgres_cpu_s,
            peak_rss_bytes=self._peak,
            note=note,
            details=details,
        )

    def _cpu(self) -> tuple[float, float]:
        return cpu_of(self._python), cpu_of(self._postgres)

    def _watch_memory(self) -> None:
        while not self._stopped.is_set():
            self._peak = max(self._peak, memory_of(self._python))
            self._stopped.wait(_MEMORY_SECONDS)


def cpu_of(roots: list[psutil.Process]) -> float:
    """Return the seconds that processes and all below them have worked, those that have ended and were waited for too.

    Of a living process its own and its ended children's count, so nothing counts twice.
    """
    total = 0.0
    for process in _all_of(roots):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_of(roots: list[psutil.Process]) -> int:
    """Return the bytes that processes and all below them hold; what they share counts once where that is told."""
    total = 0
    for process in _all_of(roots):
        with suppress(psutil.Error):
            total += weight_of(process)
    return total


def _all_of(roots: list[psutil.Process]) -> Iterator[psutil.Process]:
    for root in roots:
        with suppress(psutil.Error):
            yield root
            yield from root.children(recursive=True)
