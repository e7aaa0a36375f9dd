"""The part of the examination that asks Dagster's storage, which may be another database, and may be empty."""

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from neural_pipeline.cli import checkup_dagster
from neural_pipeline.cli.cautious import cautious_engine, cautious_url
from neural_pipeline.cli.checkup import functions_with_a_job
from neural_pipeline.cli.environment import deployment_file
from neural_pipeline.cli.findings import Finding, failed, skipped, warning
from neural_pipeline.postgres.requirements import describe_connection_error
from neural_pipeline.postgres.target import Target
from neural_pipeline.settings import Settings
from neural_pipeline.store.drain import DaemonPlace
from neural_pipeline.store.health import tables_missing
from neural_pipeline.store.leases import UnfinishedBatch

OF_DAGSTER = ("heartbeats", "sensors", "ticks", "runs")
_NOT_STARTED = "Dagster has not been started on this database"
_MAIN_TABLES = ("event_logs", "instance_info", "jobs", "runs")
"""Where one of them is missing, Dagster makes its tables as soon as its storage is opened."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of our side when Dagster is asked: who holds the daemon's place, and the unfinished batches."""

    place: DaemonPlace | None
    batches: Sequence[UnfinishedBatch]


def examine_dagster(target: Target, settings: Settings, known: Known, *, patience: float) -> list[Finding]:
    """Make the checks that need Dagster's storage."""
    try:
        with cautious_engine(target.dagster_url, patience=patience) as engine, engine.connect() as connection:
            missing = tables_missing(connection, *_MAIN_TABLES)
    except DBAPIError as error:
        found = describe_connection_error(error, target.dagster_url)
        return _cannot(
            failed("heartbeats", f"Dagster's storage: {found}", "`neural settings` shows NEURAL_DAGSTER_URL")
        )
    if missing:
        return _cannot(warning("heartbeats", _NOT_STARTED, "`neural up`"), why=_NOT_STARTED)
    try:
        return _judged(target, settings, known, patience=patience)
    except Exception as error:  # whatever Dagster may raise
        reason = _without_password(str(error).strip().partition("\n")[0], target.dagster_url)
        return _cannot(failed("heartbeats", f"Dagster's storage cannot be read: {reason}", "see logs/dagster.log"))


def _cannot(finding: Finding, *, why: str = "Dagster's storage does not answer") -> list[Finding]:
    return [finding, *skipped(OF_DAGSTER[1:], why)]


def _judged(target: Target, settings: Settings, known: Known, *, patience: float) -> list[Finding]:
    # Only now: importing Dagster takes longer than all the rest.
    from neural_pipeline.cli.dagster_facts import read_facts
    from neural_pipeline.cli.instance import dagster_instance

    bound = longest_idle(settings)
    run_ids = [batch.run_id for batch in known.batches if batch.run_id is not None]
    jobs = sorted(function.name.lower() for function in functions_with_a_job())
    with _untouched(target, patience=patience) as looked_at, dagster_instance(looked_at) as instance:
        facts = read_facts(instance, run_ids=run_ids, jobs=jobs, older_than=bound)
    return [
        checkup_dagster.judge_heartbeats(facts.heartbeats, known.place),
        checkup_dagster.judge_switches(facts.starters, workspace=deployment_file("workspace.yaml")),
        checkup_dagster.judge_ticks(facts.starters),
        checkup_dagster.judge_gaps(known.batches, known=facts.known, unfinished=facts.unfinished, bound=bound),
    ]


def longest_idle(settings: Settings) -> float:
    """Return the seconds after which a run of Dagster's must have a batch or be over."""
    timeouts = (
        settings.capture_timeout_seconds,
        settings.profile_timeout_seconds,
        settings.summary_timeout_seconds,
        settings.extraction_timeout_seconds,
    )
    return float(max(settings.max_wait_seconds, 2 * max(timeouts)))


@contextmanager
def _untouched(target: Target, *, patience: float) -> Generator[Target]:
    """Yield the target as it may be looked at: a read-only storage, and a home folder of its own for Dagster."""
    with tempfile.TemporaryDirectory(prefix="neural-doctor-") as home:
        yield replace(target, dagster_url=cautious_url(target.dagster_url, patience=patience), home=Path(home))


def _without_password(text: str, url: URL) -> str:
    return text.replace(str(url.password), "***") if url.password else text
