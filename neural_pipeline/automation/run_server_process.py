"""Which process works on a run, told by a tag of the run: so that any other process can check it, or end it."""

import json
import os
import signal
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg
import psutil

WORKER_TAG = "neural/worker"

LAUNCHING_TAG = "neural/launching"
"""The id of a run that the dispatcher launches itself; empty if somebody with a workspace does so instead.

A run that is executed again has the tags of the first one, but another id.
"""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process, known by more than its number, which may be given again."""

    run_id: str
    host: str
    pid: int
    born: float

    @classmethod
    def this_process(cls, run_id: str) -> "Worker":
        """Return this process as the one that works on a run."""
        return cls(run_id, socket.gethostname(), os.getpid(), _birth_of(os.getpid()))

    def tags(self) -> dict[str, str]:
        """Return the tag to put on the run."""
        return {WORKER_TAG: json.dumps(asdict(self))}

    @property
    def is_elsewhere(self) -> bool:
        """Tell whether nothing can be known of it here."""
        return self.host != socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Tell whether it is still going."""
        try:
            process = psutil.Process(self.pid)
            return _birth_of(self.pid) == self.born and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def interrupt(self) -> bool:
        """Ask it to stop, as Dagster's code server asks its workers; return False if it is gone or elsewhere."""
        if self.is_elsewhere or not self.is_alive:
            return False
        try:
            os.kill(self.pid, signal.SIGINT)
        except ProcessLookupError:
            return False
        return True


def worker_of(run: dg.DagsterRun) -> Worker | None:
    """Return the forked process that works on a run; None if its process was started otherwise.

    A run that is executed again has the tags of the first one: its worker is not the same.
    """
    with suppress(ValueError, TypeError):
        worker = Worker(**json.loads(run.tags.get(WORKER_TAG) or "null"))
        return worker if worker.run_id == run.run_id else None
    return None


def _birth_of(pid: int) -> float:
    """Return when a process was started; raises NoSuchProcess.

    Where the system counts from its own start, that is taken: a clock that is put right must not change it.
    """
    status = Path(f"/proc/{pid}/stat")
    try:
        return float(status.read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return psutil.Process(pid).create_time()
