"""The processes of `neural up`: which role each of them has, and what time and memory each role takes while it works.

Processes that begin and end between two looks are counted too: the kernel adds the time of an ended child to its
parent's, and what nobody was seen with goes to the role of the children that such a parent has.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import psutil

from neural_pipeline.postgres.folders import Folders
from neural_pipeline.postgres.postmaster import living_processes

POSTGRES = "postgres"
RUN_WORKER = "run worker"
OTHER = "other"

_SIGNS = (
    # First: its words hold those of the command that it keeps.
    ("neural_pipeline.cli.keeper", "keeper"),
    ("neural_pipeline.automation.run_server", "run server"),
    ("neural_pipeline.automation.dispatcher", "dispatcher"),
    ("dagster._daemon", "daemon"),
    ("dagster_webserver", "webserver"),
    ("dagster code-server", "code server"),
    ("dagster api grpc", "code server"),
    ("dagster api execute_run", RUN_WORKER),
    ("dagster dev", "dagster dev"),
    ("neural up", "neural up"),
)
_WORDS = 6
"""Words of a command line that tell what it is; those behind may quote anything."""

_HEIRS = {"code server": RUN_WORKER, "run server": RUN_WORKER, POSTGRES: POSTGRES}
_LOOK_SECONDS = 0.5
_MEMORY_SECONDS = 2.0


def role_of(words: Sequence[str], *, parent: str | None) -> str:
    """Return the role of a process by the words of its command line and the role of its parent."""
    if not words:
        return OTHER
    if words[0].startswith("postgres:") or PurePath(words[0]).name == "postgres":
        return POSTGRES
    if parent in {"run server", RUN_WORKER}:  # a fork keeps the words of what it was forked from
        return RUN_WORKER
    line = " ".join(PurePath(word).name if word.startswith("/") else word for word in words[:_WORDS])
    if parent == "code server" and "multiprocessing.spawn" in line:
        return RUN_WORKER
    return next((role for sign, role in _SIGNS if sign in line), OTHER)


@dataclass(slots=True)
class _Seen:
    """A process: its role, and the seconds of its own and of its ended children, when first and when last seen."""

    role: str
    parent: tuple[int, float] | None
    first: tuple[float, float]
    last: tuple[float, float]
    is_alive: bool = True
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """What the roles took within some seconds: seconds of processor time, and bytes of memory at their peak."""

    seconds: float
    cpu: Mapping[str, float]
    memory: Mapping[str, int]
    memory_peak: int
    python_peak: int
    """Without Postgres."""

    looking: float
    """Seconds of processor time that looking took here."""

    @property
    def python_cpu(self) -> float:
        """The seconds of all roles but Postgres."""
        return sum(seconds for role, seconds in self.cpu.items() if role != POSTGRES)

    @property
    def postgres_cpu(self) -> float:
        """The seconds of all server processes."""
        return self.cpu.get(POSTGRES, 0.0)

    @property
    def cores(self) -> dict[str, float]:
        """The share of one core that each role took, the busiest first."""
        return {role: seconds / self.seconds for role, seconds in sorted(self.cpu.items(), key=lambda one: -one[1])}


@dataclass
class Meter:
    """Looks at some processes and all below them, now and then, for the length of a `with` block."""

    roots: Sequence[int]
    look_seconds: float = _LOOK_SECONDS
    memory_seconds: float = _MEMORY_SECONDS
    _seen: dict[tuple[int, float], _Seen] = field(default_factory=dict[tuple[int, float], _Seen])
    _memory: Counter[str] = field(default_factory=Counter[str])
    _peaks: tuple[int, int] = (0, 0)
    _looking: float = 0.0

    def __enter__(self) -> "Meter":
        self._look(is_first=True)
        self._weigh()
        self._begin = time.perf_counter()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="looks at processes", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._look()
        self._weigh()
        self._seconds = time.perf_counter() - self._begin

    @property
    def usage(self) -> Usage:
        """What came out, after the block."""
        total, python = self._peaks
        return Usage(self._seconds, self._cpu(), dict(self._memory), total, python, self._looking)

    def processes(self) -> list[psutil.Process]:
        """Return the processes there are now."""
        return [process for process, _ in _families(self.roots)]

    def _watch(self) -> None:
        weighed = time.monotonic()
        while not self._stopped.wait(self.look_seconds):
            begin = time.thread_time()
            self._look()
            if time.monotonic() - weighed >= self.memory_seconds:
                weighed = time.monotonic()
                self._weigh()
            self._looking += time.thread_time() - begin

    def _look(self, *, is_first: bool = False) -> None:
        alive = set[tuple[int, float]]()
        for process, parent in _families(self.roots):
            with suppress(psutil.Error):
                times = process.cpu_times()
                now = (times.user + times.system, times.children_user + times.children_system)
                key = _key(process)
                alive.add(key)
                seen = self._seen.setdefault(key, _Seen(OTHER, None, now if is_first else (0.0, 0.0), now))
                seen.last = now
                if seen.role == OTHER or seen.is_new:  # one just forked has the words of its parent for a moment
                    seen.is_new = seen.role == OTHER
                    seen.parent = None if parent is None else _key(parent)
                    seen.role = role_of(words_of(process), parent=self._role(seen.parent))
        for key, seen in self._seen.items():
            seen.is_alive = key in alive

    def _role(self, key: tuple[int, float] | None) -> str | None:
        return self._seen[key].role if key in self._seen else None

    def _weigh(self) -> None:
        weights = Counter[str]()
        for process, _ in _families(self.roots):
            seen = self._seen.get(_key(process))
            with suppress(psutil.Error):
                weights[seen.role if seen else OTHER] += weight_of(process)
        self._memory |= weights  # the larger of the two, role by role
        total = weights.total()
        self._peaks = max(self._peaks[0], total), max(self._peaks[1], total - weights[POSTGRES])

    def _cpu(self) -> dict[str, float]:
        spent, inherited = Counter[str](), Counter[tuple[int, float]]()
        for seen in self._seen.values():
            spent[seen.role] += seen.last[0] - seen.first[0]
            if not seen.is_alive and seen.parent is not None:
                inherited[seen.parent] += sum(seen.last)
        for key, seen in self._seen.items():
            unseen = seen.last[1] - seen.first[1] - inherited[key]
            spent[_HEIRS.get(seen.role, OTHER)] += max(0.0, unseen)
        return {role: seconds for role, seconds in spent.items() if seconds}


def weight_of(process: psutil.Process) -> int:
    """Return the bytes of a process, with its share of what it has in common with others where the system tells."""
    try:
        weight = process.memory_full_info()
    except psutil.AccessDenied:
        return process.memory_info().rss
    return int(getattr(weight, "pss", weight.uss))


def words_of(process: psutil.Process) -> list[str]:
    """Return the words of a process's command line, none where it is gone or may not be seen."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def processes_of(home: Path) -> list[psutil.Process]:
    """Return every living process of a home folder, whosever child it is: by its environment, or as its server's."""
    found = living_processes(Folders.of(home))
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("NEURAL_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _key(process: psutil.Process) -> tuple[int, float]:
    return process.pid, process.create_time()


def _families(roots: Sequence[int]) -> Iterator[tuple[psutil.Process, psutil.Process | None]]:
    """Yield the processes with the parent of each, parents first."""
    for root in roots:
        with suppress(psutil.Error):
            first = psutil.Process(root)
            found = {first.pid: first} | {one.pid: one for one in first.children(recursive=True)}
            for process in found.values():
                with suppress(psutil.Error):
                    yield process, None if process is first else found.get(process.ppid())
