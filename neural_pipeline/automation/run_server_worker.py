"""What a forked process does: executes one run as Dagster's code server would, or reports one whose process died.

Private modules of Dagster are used, as in the launcher; Dagster is pinned to one version.
"""

import os
import sys
import time
import traceback

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.origin import JobPythonOrigin
from dagster._grpc.impl import core_execute_run
from dagster._utils import get_run_crash_explanation
from dagster._utils.hosted_user_process import recon_job_from_origin
from dagster._utils.interrupts import capture_interrupts

from neural_pipeline.automation.run_server_process import worker_of
from neural_pipeline.automation.run_server_rehearsal import dagster_instance

_ENDS = {dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
_PAUSES = (0.0, 1.0, 3.0, 10.0)
"""Seconds before each attempt to report a death; run monitoring finds what could not be reported."""


def execute(run_id: str) -> int:
    """Execute a run in this process; return 0 if its end is in the event log, 1 if somebody should look."""
    with capture_interrupts(), dagster_instance() as instance:
        run = instance.get_run_by_id(run_id)
        if run is None or run.job_code_origin is None:
            sys.stderr.write(f"run {run_id} cannot be executed: it is not in Dagster's storage, or has no origin\n")
            return 1
        pid = os.getpid()
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid))
        is_ended = _execute(instance, run, run.job_code_origin)
        instance.report_engine_event(f"Process for run exited (pid: {pid}).", run)
    return 0 if is_ended else 1


def _execute(instance: dg.DagsterInstance, run: dg.DagsterRun, origin: JobPythonOrigin) -> bool:
    is_ended = False
    try:
        for event in core_execute_run(recon_job_from_origin(origin), run, instance, inject_env_vars=False):
            is_ended = is_ended or event.event_type in _ENDS
    except BaseException:  # it is in the run's event log already, where that could be written
        traceback.print_exc()
    return is_ended


def report_death(run_id: str, *, pid: int, exit_code: int) -> int:
    """Report a run as ended whose process has died, unless it had ended or is another process's."""
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            _report_death(run_id, pid, exit_code)
        except Exception:  # the storage may be away for a while
            traceback.print_exc()
        else:
            return 0
    return 1


def _report_death(run_id: str, pid: int, exit_code: int) -> None:
    with dagster_instance() as instance:
        run = instance.get_run_by_id(run_id)
        worker = worker_of(run) if run else None
        if run is None or run.is_finished or worker is None or worker.pid != pid:
            return
        message = get_run_crash_explanation(prefix=f"Run execution process for {run_id}", exit_code=exit_code)
        instance.report_engine_event(message, run)
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
        else:
            instance.report_run_failed(run)
