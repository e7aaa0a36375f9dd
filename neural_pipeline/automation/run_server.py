"""The run server: a process with everything imported that forks one process per run, on the launcher's request.

Run as `python -m neural_pipeline.automation.run_server` in the environment of Dagster's processes. It has one thread
and, when it forks, no connection to any database, so that a fork is safe; it ends with its parent. Code that has
changed on disk is loaded anew before the next fork.
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, cast

from neural_pipeline.automation import run_server_code
from neural_pipeline.automation.run_server_code import Code
from neural_pipeline.automation.run_server_process import Worker
from neural_pipeline.automation.run_server_socket import Line, listen, place_of
from neural_pipeline.settings import Settings

DEFINITIONS = "neural_pipeline.definitions"
_TICK = 1.0
_REQUEST_WITHIN = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


class RunServer:
    """Listens, forks, and sees to it that a process that dies is reported."""

    def __init__(
        self, listener: socket.socket, path: Path, code: Code, *, workers: dict[int, str], parent: int
    ) -> None:
        self.listener, self.path, self.code = listener, path, code
        self.workers = workers
        self._is_stopped = False
        self._parent = parent
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def serve(self) -> None:
        """Serve until a signal says otherwise or the parent has ended; runs at work go on."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        while not self._is_stopped and os.getppid() == self._parent:
            self._reap()
            readable, _, _ = select.select([self.listener, self._wake_read], [], [], _TICK)
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
            if self.listener in readable:
                self._accept()
        self.path.unlink(missing_ok=True)

    def _stop(self, _number: int, _frame: object) -> None:
        self._is_stopped = True

    def _accept(self) -> None:
        try:
            if self.code.is_changed:
                self._start_anew()
            connection, _ = self.listener.accept()
            with connection:
                line = Line(connection, seconds=_REQUEST_WITHIN)
                self._answer(line, line.receive())
        except (OSError, EOFError, ValueError) as problem:
            _say(f"a request came to nothing: {problem}")

    def _answer(self, line: Line, request: dict[str, object]) -> None:
        match request:
            case {"launch": str(run_id), "module": module}:
                refusal = self.code.trouble or self._not_ours(module)
                if refusal:
                    line.send({"refused": refusal})
                elif (pid := self._worker_on(run_id)) is not None:
                    line.send({"running": pid})
                else:
                    pid = self._fork(partial(_work, line, run_id))
                    self.workers[pid] = run_id
            case _:
                line.send({"ready": self.code.trouble is None, "trouble": self.code.trouble, "pid": os.getpid()})

    def _not_ours(self, module: object) -> str | None:
        return None if module == self.code.module else f"it forks runs of {self.code.module}, not of {module}"

    def _worker_on(self, run_id: str) -> int | None:
        return next((pid for pid, its_run in self.workers.items() if its_run == run_id), None)

    def _reap(self) -> None:
        """Take note of the processes that have ended; what the storage has to be told is another fork's affair."""
        while ended := _ended_child():
            pid, exit_code = ended
            run_id = self.workers.pop(pid, None)
            if run_id is not None and exit_code:
                _say(f"process {pid} of run {run_id} ended with code {exit_code}")
                try:
                    self._fork(partial(_report, run_id, pid, exit_code))
                except OSError as problem:  # then it is for run monitoring to find out
                    _say(f"its end cannot be reported: {problem}")

    def _fork(self, task: Callable[[], int]) -> int:
        # A signal that came before the child has handlers of its own would go to those of the server.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(task)
        finally:  # where there are no more processes to be had, too
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return pid

    def _become(self, task: Callable[[], int]) -> NoReturn:
        exit_code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self.listener.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            exit_code = task()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)

    def _start_anew(self) -> NoReturn:
        """Become a new process image with the code on disk; who waits at the socket is answered by that."""
        _say("the code has changed: loading it anew")
        sys.stderr.flush()
        self.listener.set_inheritable(True)
        command = [sys.executable, "-m", "neural_pipeline.automation.run_server"]
        kept = ["--listener", str(self.listener.fileno()), "--workers", json.dumps(self.workers)]
        kept += ["--module", self.code.module, "--parent", str(self._parent)]
        os.execv(sys.executable, [*command, *kept])  # noqa: S606 - this very program


def _work(line: Line, run_id: str) -> int:
    """Say who works on the run, and do so once the launcher has put that down: before, it may go another way."""
    line.connection.settimeout(None)
    try:
        line.send(_answer_of(Worker.this_process(run_id)))
        line.receive()
    except (OSError, EOFError):
        _say(f"run {run_id} is not wanted from here any more")
        return 0
    line.connection.close()
    from neural_pipeline.automation.run_server_worker import execute

    return execute(run_id)


def _answer_of(worker: Worker) -> dict[str, object]:
    return {"host": worker.host, "pid": worker.pid, "born": worker.born}


def _report(run_id: str, pid: int, exit_code: int) -> int:
    from neural_pipeline.automation.run_server_worker import report_death

    return report_death(run_id, pid=pid, exit_code=exit_code)


def _ended_child() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def _do_nothing(_number: int, _frame: object) -> None:
    """A handler, so that the end of a child wakes the server."""


def _say(line: str) -> None:
    sys.stderr.write(f"run server {os.getpid()}: {line}\n")


def main() -> None:
    """Serve at the socket of this environment's Dagster home and database."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline.automation.run_server")
    parser.add_argument("--module", default=DEFINITIONS)
    parser.add_argument("--listener", type=int)
    parser.add_argument("--workers", type=json.loads, default={})
    # Before anything is loaded: a parent that ends meanwhile must be missed afterwards.
    parser.add_argument("--parent", type=int, default=os.getppid())
    given = parser.parse_args()
    workers = {int(pid): run_id for pid, run_id in cast("dict[str, str]", given.workers).items()}
    settings = Settings.load()
    path = place_of(settings, dagster_home=settings.home / "dagster")
    code = run_server_code.load(given.module)
    listener = listen(path) if given.listener is None else socket.socket(fileno=given.listener)
    listener.set_inheritable(False)
    _say(code.trouble or f"ready to fork runs of {code.module}")
    RunServer(listener, path, code, workers=workers, parent=given.parent).serve()


if __name__ == "__main__":
    main()
