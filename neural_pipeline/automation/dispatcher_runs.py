"""Runs as the inbox sensors would have Dagster's daemon make them: same key, same tags, same origins; made here.

What a sensor leaves to the daemon stands in private modules of Dagster, which is therefore pinned to one version.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import dagster as dg
from dagster._core.code_pointer import CodePointer
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES
from dagster._core.storage.tags import RUN_KEY_TAG, SENSOR_NAME_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.tags import TagConcurrencyLimitsCounter

from neural_pipeline.automation.inbox import sensor_name
from neural_pipeline.automation.run_server_process import LAUNCHING_TAG, worker_of
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.workflows.batch_work.tags import FUNCTION_TAG

DEFINITIONS = "neural_pipeline.definitions"
LOCATION = "neural_pipeline"
"""Module and name of the code location, as in workspace.yaml."""

_ATTRIBUTE = "defs"


@runtime_checkable
class WarmLauncher(Protocol):
    """A launcher that needs no code server while it is warm."""

    def is_warm(self) -> bool:
        """Tell whether a run launched now would be forked."""
        ...


@dataclass(frozen=True, slots=True)
class Launchable:
    """A job, the plan of its runs, and where code servers and run workers find it."""

    job: dg.JobDefinition
    plan: ExecutionPlan
    remote_origin: RemoteJobOrigin
    code_origin: JobPythonOrigin

    def create_run(self, instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.DagsterRun:
        """Create the run that the sensor of the job would have asked for with this request."""
        own = {SENSOR_NAME_TAG: sensor_name(self.job.name), RUN_KEY_TAG: str(request.run_key)}
        return instance.create_run_for_job(
            job_def=self.job,
            execution_plan=self.plan,
            run_config={},
            tags={**self.job.run_tags, **request.tags, **own},
            remote_job_origin=self.remote_origin,
            job_code_origin=self.code_origin,
        )


def load_jobs(module: str = DEFINITIONS) -> Mapping[FunctionId, Launchable]:
    """Import a module of definitions and return the job of each function in it."""
    defs = cast("dg.Definitions", getattr(importlib.import_module(module), _ATTRIBUTE))
    repository = defs.get_repository_def()
    known = {function_id.value: function_id for function_id in FunctionId}
    jobs = [job for job in repository.get_all_jobs() if job.tags.get(FUNCTION_TAG) in known]
    return {known[job.tags[FUNCTION_TAG]]: _launchable(job, repository.name, module) for job in jobs}


def _launchable(job: dg.JobDefinition, repository: str, module: str) -> Launchable:
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name=module), LOCATION)
    code = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=CodePointer.from_module(module, _ATTRIBUTE, None),
        container_image=None,
        entry_point=DEFAULT_DAGSTER_ENTRY_POINT,
        container_context=None,
    )
    return Launchable(
        job=job,
        plan=create_execution_plan(job, run_config={}),
        remote_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, repository), job.name),
        code_origin=JobPythonOrigin(job.name, code),
    )


def start(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Launch a run at once if that needs no code server and keeps Dagster's limits; queue it otherwise."""
    nowhere = cast("Any", None)  # neither the queue nor a warm launcher looks at a workspace
    if may_start_at_once(instance, run):
        instance.add_run_tags(run.run_id, {LAUNCHING_TAG: run.run_id})
        instance.launch_run(run.run_id, nowhere)
    else:
        instance.submit_run(run.run_id, nowhere)


def unlaunched(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Return the runs that a dispatcher which is no more was launching, and on which no process works.

    A forked process is put down before it is let go, and ends with a dispatcher that has not done so.
    """
    starting = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING]))
    return [run for run in starting if run.tags.get(LAUNCHING_TAG) == run.run_id and not _is_worked_on(run)]


def _is_worked_on(run: dg.DagsterRun) -> bool:
    worker = worker_of(run)
    return worker is not None and (worker.is_elsewhere or worker.is_alive)


def may_start_at_once(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Tell whether the daemon would start the run next, and the launcher could do so without it."""
    launcher = instance.run_launcher
    if not isinstance(launcher, WarmLauncher) or not launcher.is_warm():
        return False
    limits = instance.get_concurrency_config().run_queue_config
    if limits is None:
        return True
    going = list(instance.get_runs(dg.RunsFilter(statuses=ACTIVE_RUN_STATUSES)))
    is_full = -1 < limits.max_concurrent_runs <= len(going)
    counter = TagConcurrencyLimitsCounter(limits.tag_concurrency_limits or [], going)
    return not is_full and not counter.is_blocked(run) and not _is_overtaking(instance, run)


def _is_overtaking(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """A run of the same job that waits in the queue comes first."""
    before = dg.RunsFilter(job_name=run.job_name, statuses=[dg.DagsterRunStatus.QUEUED])
    return bool(instance.get_runs(before, limit=1))
