"""Judgement on Dagster's side: facts in, findings out. Reading them is `dagster_facts`; this imports no Dagster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neural_pipeline.cli.findings import Finding, failed, lasting, named, numbers, ok, warning
from neural_pipeline.store.drain import DaemonPlace
from neural_pipeline.store.leases import UnfinishedBatch

SILENT_SECONDS = 180
"""Seconds without a heartbeat or a tick after which somebody counts as silent; Dagster beats every 30."""

FORGOTTEN_SECONDS = 86_400
"""A sensor that has been silent for longer was removed from the code, or Dagster has long been down."""

STARTING_SECONDS = 120
FAILURES_IN_A_ROW = 3
GAP_SECONDS = 60
"""Seconds the lifecycle sensors and the reconciler get to settle the batch of a run that has ended."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A daemon that this installation needs: seconds since its last heartbeat, and an error it reported with it."""

    daemon: str
    seconds: float | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Starter:
    """A sensor or schedule as Dagster remembers it: seconds since its last tick, failed ticks in a row, their error."""

    name: str
    kind: str
    is_on: bool
    seconds: float | None = None
    failures: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run of one of our jobs as Dagster has it; seconds since it ended, else since it was made."""

    run_id: str
    status: str
    is_finished: bool
    seconds: float
    batch_id: int | None = None


def judge_heartbeats(heartbeats: Sequence[Heartbeat], place: DaemonPlace | None) -> Finding:
    """Judge the daemons: silence is harmless where nobody has started them, and a moment after the start."""
    silent = [one for one in heartbeats if one.seconds is None or one.seconds > SILENT_SECONDS]
    beating = [one for one in heartbeats if one not in silent]
    if silent:
        found = f"silent: {named([_silence(one) for one in silent])}"
        is_starting = place is not None and place.seconds is not None and place.seconds < STARTING_SECONDS
        if is_starting:
            return warning("heartbeats", f"Dagster is starting; {found}", "`neural doctor` again in a minute")
        if place is None and not beating:
            return warning("heartbeats", f"Dagster's daemon does not run; {found}", "`neural up`")
        return failed("heartbeats", found, "stop `neural up` (Ctrl-C) and start it again")
    troubled = [one for one in heartbeats if one.error]
    if troubled:
        return warning("heartbeats", f"{troubled[0].daemon} reports: {troubled[0].error}", "see logs/dagster.log")
    oldest = max((one.seconds or 0.0 for one in heartbeats), default=0.0)
    return ok("heartbeats", f"{numbers(len(heartbeats), 'daemon')}, the oldest heartbeat {lasting(oldest)} ago")


def _silence(one: Heartbeat) -> str:
    return f"{one.daemon} (never heard)" if one.seconds is None else f"{one.daemon} ({lasting(one.seconds)})"


def judge_switches(starters: Sequence[Starter], *, workspace: object) -> Finding:
    """Judge whether every sensor and schedule is on."""
    if not starters:
        return warning("sensors", "Dagster has seen none of this program's sensors yet", "`neural up`")
    off = [one for one in starters if not one.is_on]
    if not off:
        return ok("sensors", f"{numbers(len(starters), 'sensor or schedule', plural='sensors and schedules')}, all on")
    found = f"{len(off)} of {len(starters)} switched off: {named([one.name for one in off])}"
    first = f"dagster {off[0].kind} start -w {workspace} {off[0].name}"
    return failed("sensors", found, f'`eval "$(neural env)"; {first}`, or in Dagster\'s user interface')


def judge_ticks(starters: Sequence[Starter]) -> Finding:
    """Judge the last ticks of what is on: failures in a row, and sensors that have stopped ticking."""
    on = [one for one in starters if one.is_on]
    failing = [one for one in on if one.failures >= FAILURES_IN_A_ROW]
    if failing:
        told = "; ".join(f"{one.name}, {one.failures} in a row: {one.error}" for one in failing)
        return warning("ticks", f"failing: {told}", "see the ticks in Dagster's user interface")
    silent = [one for one in on if one.kind == "sensor" and _is_silent(one)]
    if silent:
        names = named([f"{one.name} ({lasting(one.seconds or 0)})" for one in silent])
        return warning("ticks", f"no tick for long: {names}", "`neural up`; see heartbeats and logs/dagster.log")
    ages = [one.seconds for one in on if one.kind == "sensor" and one.seconds is not None]
    if not ages:
        return ok("ticks", "none to look at")
    return ok("ticks", f"of {numbers(len(ages), 'sensor')}, the last one {lasting(min(ages))} ago")


def _is_silent(one: Starter) -> bool:
    return one.seconds is not None and SILENT_SECONDS < one.seconds < FORGOTTEN_SECONDS


def judge_gaps(
    batches: Sequence[UnfinishedBatch], *, known: Mapping[str, KnownRun], unfinished: Sequence[KnownRun], bound: float
) -> Finding:
    """Judge where Dagster's runs and our batches disagree: a batch without its run, a run without its batch.

    `known` are the runs of the batches; `unfinished` are the runs of our jobs that Dagster believes to be going.
    """
    dead = [told for batch in batches if (told := _dead_run_of(batch, known))]
    if dead:
        found = f"{numbers(len(dead), 'batch', plural='batches')} of dead runs: {named(dead)}"
        return failed("runs", found, "have the sensor `reconciler` work again (see sensors and ticks; `neural up`)")
    idle = [run for run in unfinished if run.seconds > bound and not _has_batch(run, batches)]
    if idle:
        names = named([f"{run.run_id} ({run.status}, {lasting(run.seconds)})" for run in idle])
        return failed(
            "runs", f"unfinished in Dagster without a batch: {names}", "terminate it in Dagster's user interface"
        )
    working = sum(batch.run_id is not None for batch in batches)
    return ok(
        "runs", f"{numbers(working, 'batch', plural='batches')} at work, {len(unfinished)} runs unfinished in Dagster"
    )


def _dead_run_of(batch: UnfinishedBatch, known: Mapping[str, KnownRun]) -> str | None:
    if batch.run_id is None:
        return None
    run = known.get(batch.run_id)
    if run is None:
        is_missing = batch.running_seconds > GAP_SECONDS
        return f"batch {batch.id}, run {batch.run_id} is unknown to Dagster" if is_missing else None
    if run.is_finished and run.seconds > GAP_SECONDS:
        return f"batch {batch.id}, run {run.run_id} ended as {run.status} {lasting(run.seconds)} ago"
    return None


def _has_batch(run: KnownRun, batches: Sequence[UnfinishedBatch]) -> bool:
    return any(batch.run_id == run.run_id or (batch.run_id is None and batch.id == run.batch_id) for batch in batches)
