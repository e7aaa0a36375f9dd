"""What Dagster's storage says of its daemons, sensors and runs, in this program's words. Nothing is changed.

Importing this module takes as long as importing Dagster does.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorTick, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from neural_pipeline.cli.checkup_dagster import FAILURES_IN_A_ROW, Heartbeat, KnownRun, Starter
from neural_pipeline.workflows.batch_work.tags import batch_named

LOCATION = "neural_pipeline"
"""What the names of this program's code location begin with, however it was started."""

TABLES = ("daemon_heartbeats", "event_logs", "instance_info", "instigators", "job_ticks", "jobs", "run_tags", "runs")
"""Tables of Dagster without which its storage would make them when opened."""

_MOST_RUNS = 1000
_LONGEST_ERROR = 200
_FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


@dataclass(frozen=True, slots=True)
class DagsterFacts:
    """What was read: daemons, sensors and schedules, the runs that were asked for, and those that are not finished."""

    heartbeats: list[Heartbeat]
    starters: list[Starter]
    known: dict[str, KnownRun]
    unfinished: list[KnownRun]


def read_facts(
    instance: dg.DagsterInstance, *, run_ids: Sequence[str], jobs: Iterable[str], older_than: float
) -> DagsterFacts:
    """Read everything; `unfinished` are runs of the jobs made more than `older_than` seconds ago."""
    now = time.time()
    # Dagster refuses an empty list.
    known = _runs(instance, dg.RunsFilter(run_ids=list(run_ids)), now) if run_ids else []
    return DagsterFacts(
        heartbeats=heartbeats(instance, now=now),
        starters=starters(instance, now=now),
        known={run.run_id: run for run in known},
        unfinished=[run for job in jobs for run in _unfinished(instance, job, older_than=older_than, now=now)],
    )


def heartbeats(instance: dg.DagsterInstance, *, now: float) -> list[Heartbeat]:
    """Return the daemons that this instance needs, heard or not."""
    heard = instance.get_daemon_heartbeats()
    return [_heartbeat(daemon, heard.get(daemon), now) for daemon in sorted(instance.get_required_daemon_types())]


def _heartbeat(daemon: str, heard: DaemonHeartbeat | None, now: float) -> Heartbeat:
    if heard is None:
        return Heartbeat(daemon, None)
    return Heartbeat(daemon, now - heard.timestamp, _first_line(next(iter(heard.errors or ()), None)))


def starters(instance: dg.DagsterInstance, *, now: float) -> list[Starter]:
    """Return the sensors and schedules of this program's code location that Dagster has stored anything about."""
    states = [state for state in instance.all_instigator_state() if _is_ours(state)]
    return sorted((_starter(instance, state, now) for state in states), key=lambda one: one.name)


def _is_ours(state: InstigatorState) -> bool:
    return state.repository_selector.location_name.startswith(LOCATION)


def _starter(instance: dg.DagsterInstance, state: InstigatorState, now: float) -> Starter:
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=FAILURES_IN_A_ROW + 2)
    failures = _failures_in_a_row(ticks)
    return Starter(
        name=state.instigator_name,
        kind=state.instigator_type.value.lower(),
        # What is declared as running in the code is stored as such and is on.
        is_on=state.status is not InstigatorStatus.STOPPED,
        seconds=now - ticks[0].timestamp if ticks else None,
        failures=len(failures),
        error=_first_line(failures[0].error) if failures else None,
    )


def _failures_in_a_row(ticks: Sequence[InstigatorTick]) -> list[InstigatorTick]:
    ended = [tick for tick in ticks if tick.status is not TickStatus.STARTED]
    return list(takewhile(lambda tick: tick.status is TickStatus.FAILURE, ended))


def _first_line(error: SerializableErrorInfo | None) -> str | None:
    """Return the first line of the innermost error: the outer ones only say that user code failed."""
    if error is None:
        return None
    while error.cause is not None:
        error = error.cause
    return error.message.strip().partition("\n")[0][:_LONGEST_ERROR]


def _unfinished(instance: dg.DagsterInstance, job: str, *, older_than: float, now: float) -> list[KnownRun]:
    going = [status for status in dg.DagsterRunStatus if status not in _FINISHED]
    before = datetime.fromtimestamp(now, UTC) - timedelta(seconds=older_than)
    return _runs(instance, dg.RunsFilter(job_name=job, statuses=going, created_before=before), now)


def _runs(instance: dg.DagsterInstance, wanted: dg.RunsFilter, now: float) -> list[KnownRun]:
    return [_known(record, now) for record in instance.get_run_records(wanted, limit=_MOST_RUNS)]


def _known(record: dg.RunRecord, now: float) -> KnownRun:
    run = record.dagster_run
    since = record.create_timestamp.timestamp()
    if run.is_finished:
        since = record.end_time or record.update_timestamp.timestamp()
    return KnownRun(run.run_id, run.status.value, run.is_finished, now - since, batch_named(run.tags))
