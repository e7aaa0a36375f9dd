"""The run launcher that dagster.yaml names: runs are forked by the run server, or started as Dagster does by default.

What a launcher is stands in a private module of Dagster, which is therefore pinned to one version.
"""

import os
from pathlib import Path

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus

from neural_pipeline.automation.run_server_process import LAUNCHING_TAG, WORKER_TAG, Worker, worker_of
from neural_pipeline.automation.run_server_socket import FolderNotPrivate, line_to, place_of
from neural_pipeline.settings import Settings

_ANSWER_WITHIN = 30.0
"""Seconds: the server may be loading changed code."""

_STATE_WITHIN = 5.0


class NoWayToLaunch(Exception):
    """The run server does not take the run, and who asks has no code server at hand either."""


class WarmRunLauncher(dg.DefaultRunLauncher):
    """Has runs forked by the run server; falls back to Dagster's own way where that cannot be reached."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process of a run; raises NoWayToLaunch, and what the default launcher raises."""
        run, settings = context.dagster_run, Settings.load()
        if context.workspace is not None and run.tags.get(LAUNCHING_TAG):
            self._instance.add_run_tags(run.run_id, {LAUNCHING_TAG: ""})
        if settings.run_launcher == "warm":
            path = self._path(settings)
            refusal = self._launch_warm(run, path)
            if refusal is None:
                self._run_ids.add(run.run_id)  # pyright: ignore[reportUnknownMemberType] - dagster says `set()` only
                return
            if context.workspace is None:
                raise NoWayToLaunch(f"not forked: {refusal}; and there is no workspace with a code server")
            if os.path.exists(path):  # noqa: PTH110 - that of pathlib raises; where no run server was started at all, that is how runs are launched
                self._tell(run, f"Launched through the code server, not forked: {refusal}.")
        super().launch_run(context)

    def is_warm(self) -> bool:
        """Tell whether a run launched now would be forked."""
        settings = Settings.load()
        if settings.run_launcher != "warm":
            return False
        try:
            with line_to(self._path(settings), seconds=_STATE_WITHIN) as line:
                line.send({"state": None})
                return line.receive().get("ready") is True
        except (OSError, EOFError, ValueError, FolderNotPrivate):
            return False

    def terminate(self, run_id: str) -> bool:
        """Ask the process of a run to stop; return False if there is none any more."""
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        worker = worker_of(run) if run else None
        if run is None or worker is None:
            return super().terminate(run_id)
        if run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        if worker.interrupt():
            return True
        self._tell(run, f"Process {worker.pid} on {worker.host} cannot be told to stop: it is gone or elsewhere.")
        return False

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring may ask after forked processes."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Tell whether the process of a run is there; of one that the code server watches nothing bad is said."""
        worker = worker_of(run)
        if worker is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "started by a code server, which watches it")
        if worker.is_elsewhere:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"on {worker.host}, which cannot be seen from here")
        if worker.is_alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(worker.pid))
        return CheckRunHealthResult(WorkerStatus.FAILED, f"process {worker.pid} is gone")

    def _launch_warm(self, run: dg.DagsterRun, path: Path) -> str | None:
        """Return None if the run server has taken the run, else why not.

        A forked process waits until it is told to go on, and ends if the connection does: whatever is lost on the way
        before that, the run is nobody's and can be launched otherwise.
        """
        is_named = False
        try:
            with line_to(path, seconds=_ANSWER_WITHIN) as line:
                line.send({"launch": run.run_id, "module": _module_of(run)})
                match line.receive():
                    case {"host": str(host), "pid": int(pid), "born": float(born)}:
                        self._instance.add_run_tags(run.run_id, Worker(run.run_id, host, pid, born).tags())
                        is_named = True
                        line.send({"go": True})
                    case {"running": pid}:
                        self._tell(run, f"Not launched again: process {pid} works on it.")
                    case {"refused": str(reason)}:
                        return reason
                    case answer:
                        return f"the run server answers {answer}"
        except (OSError, EOFError, ValueError, FolderNotPrivate) as problem:
            if is_named:
                self._instance.add_run_tags(run.run_id, {WORKER_TAG: ""})
            return f"the run server does not answer at {path} ({type(problem).__name__}: {problem})"
        return None

    def _path(self, settings: Settings) -> Path:
        return place_of(settings, dagster_home=Path(self._instance.root_directory))

    def _tell(self, run: dg.DagsterRun, message: str) -> None:
        self._instance.report_engine_event(message, run, cls=type(self))


def _module_of(run: dg.DagsterRun) -> str | None:
    """Return the module whose definitions the run is of; runs of a file or of a package are not forked."""
    origin = run.job_code_origin
    return getattr(origin.repository_origin.code_pointer, "module", None) if origin else None
