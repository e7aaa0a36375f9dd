"""`neural prune`: remove what the settings say is old. In which order that goes is in `workflows.retention`."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import text

from neural_pipeline.cli.database import reach, ready_engine
from neural_pipeline.cli.output import cell, console, print_json, table, warn
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.postgres.target import Target, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.retention import Removed

if TYPE_CHECKING:
    from neural_pipeline.workflows.retention.dagster_records import DagsterRecords


def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove what is older than the settings say: payloads, records, metrics, and Dagster's own runs and ticks.

    Failures are kept longer, observations for ever, and whatever is unfinished stays however old it is.
    `neural settings` shows the ages (NEURAL_KEEP_...).
    """
    settings = Settings.load()
    engine = ready_engine(settings)
    # Only now: importing Dagster takes longer than all the rest.
    from neural_pipeline.workflows.retention.pruning import PruneRefused, Retention

    with _dagster_records(resolve_database(settings)) as dagster:
        retention = Retention(engine, settings, dagster)
        try:
            removed = retention.preview() if dry_run else retention.prune()
        except PruneRefused as refused:
            raise Refusal(str(refused)) from None
    _show(removed, as_json=as_json, is_dry_run=dry_run)


@contextmanager
def _dagster_records(target: Target) -> Generator["DagsterRecords | None"]:
    """Open Dagster's records where there are any: opening its storage makes its tables."""
    with reach(target.dagster_url) as connection:
        is_there = connection.execute(text("select to_regclass('runs') is not null")).scalar_one()
    if not is_there:
        yield None
        return
    from neural_pipeline.cli.instance import dagster_instance
    from neural_pipeline.workflows.batch_work.tags import batch_named
    from neural_pipeline.workflows.retention.dagster_records import DagsterRecords

    with dagster_instance(target) as instance:
        yield DagsterRecords(instance, batch_named)


def _show(removed: Removed, *, as_json: bool, is_dry_run: bool) -> None:
    counts = sorted(removed.items())
    if as_json:
        listed = [{"kind": kind.name, "state": kind.state, "count": count} for kind, count in counts]
        print_json({"dry_run": is_dry_run, "removed": listed})
        return
    if not counts:
        warn("nothing is old enough to go")
        return
    shown = table(("kind", "state", "would go" if is_dry_run else "removed"))
    for kind, count in counts:
        shown.add_row(cell(kind.name), cell(kind.state), cell(count))
    console().print(shown)
