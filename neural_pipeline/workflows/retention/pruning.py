"""One prune from beginning to end. It lives here as the command and the scheduled job both call it.

They stand side by side in the layer above and may not import each other. The SQL is in `store.retention`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from neural_pipeline.settings import Settings
from neural_pipeline.store import leases, retention
from neural_pipeline.store.exclusive import Taken, exclusively
from neural_pipeline.store.retention import BEGINNING, EPOCH, Cutoffs, Place, Removed, Step
from neural_pipeline.store.retention_payloads import remove_refused, remove_spare, take_payloads
from neural_pipeline.store.retention_preview import preview
from neural_pipeline.store.retention_records import remove_batches, remove_calls, remove_metrics, remove_records
from neural_pipeline.store.revision import SCHEMA_REVISION, current_revision
from neural_pipeline.workflows.retention.dagster_records import DagsterRecords, Unfinished

_LOCK = "hashtext('neural.prune'), 0"

STEPS: tuple[Step, ...] = (
    take_payloads,
    remove_spare,
    remove_refused,
    remove_records,
    remove_batches,
    remove_metrics,
    remove_calls,
)
"""Payloads go before the records they belong to, records before the batches they were on."""


class PruneRefused(Exception):
    """Nothing was removed; the message says why."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The records of one database, Dagster's own ones among them where it has any, and how long each is kept."""

    engine: Engine
    settings: Settings
    dagster: DagsterRecords | None

    def preview(self) -> Removed:
        """Count what would go; write nothing."""
        now = self._now()
        with self.engine.begin() as connection:
            counted = preview(connection, cutoffs(now, self.settings))
        if self.dagster:
            counted += self.dagster.preview(self._dagster_cutoff(now), self._unfinished())
        return counted

    def prune(self) -> Removed:
        """Remove what is old; raises PruneRefused while somebody else does."""
        with self._alone():
            now = self._now()
            removed = self._prune_tables(cutoffs(now, self.settings))
            if self.dagster:
                removed += self.dagster.remove(self._dagster_cutoff(now), self._unfinished())
        return removed

    def _prune_tables(self, old: Cutoffs) -> Removed:
        removed = Removed()
        for step in STEPS:
            place: Place | None = BEGINNING
            while place is not None:
                with self.engine.begin() as connection:
                    page = step(connection, place, old)
                removed += page.removed
                place = page.next
        return removed

    @contextmanager
    def _alone(self) -> Generator[None]:
        try:
            # Beside the work no transaction stays open.
            with exclusively(self.engine, _LOCK) as connection:
                if current_revision(connection) != SCHEMA_REVISION:
                    raise PruneRefused(f"the database is not at revision {SCHEMA_REVISION}: nothing was removed")
                yield
        except Taken:
            raise PruneRefused("another prune is at work on this database: nothing was removed") from None

    def _now(self) -> datetime:
        with self.engine.begin() as connection:
            return retention.now(connection)

    def _dagster_cutoff(self, now: datetime) -> datetime:
        return days_before(now, self.settings.keep_dagster_days)

    def _unfinished(self) -> Unfinished:
        with self.engine.begin() as connection:
            found = leases.unfinished_batches(connection)
        return Unfinished(
            frozenset(batch.id for batch in found), frozenset(batch.run_id for batch in found if batch.run_id)
        )


def cutoffs(now: datetime, settings: Settings) -> Cutoffs:
    """Return the moments that the settings stand for; no payload is kept longer than the record it belongs to.

    Metrics go by whole days (UTC), as they are added up by days.
    """
    return Cutoffs(
        payload=days_before(now, min(settings.keep_payload_days, settings.keep_run_days)),
        failed_payload=days_before(now, min(settings.keep_failed_payload_days, settings.keep_failed_run_days)),
        record=days_before(now, settings.keep_run_days),
        failed_record=days_before(now, settings.keep_failed_run_days),
        metric=days_before(now, settings.keep_metric_days)
        .astimezone(UTC)
        .replace(hour=0, minute=0, second=0, microsecond=0),
    )


def days_before(now: datetime, days: int) -> datetime:
    """Return the moment so many days ago; however many that are, no earlier than any time can be."""
    return now - min(timedelta(days=min(days, timedelta.max.days)), now - EPOCH)
