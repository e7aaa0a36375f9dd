"""Dagster's own records: runs with their event logs, and the ticks of sensors and schedules, through its own API."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, TickStatus

from neural_pipeline.store.retention import Kind, Removed

PAGE = 200
"""Runs, or ticks of one sensor, asked for at once."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_ENDED_TICKS = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The batches that are not closed, and the runs that have taken them."""

    batch_ids: frozenset[int]
    run_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class DagsterRecords:
    """What one Dagster instance has stored; `batch_of` reads the batch a run is for from its tags."""

    instance: dg.DagsterInstance
    batch_of: Callable[[Mapping[str, str]], int | None]

    def preview(self, before: datetime, unfinished: Unfinished) -> Removed:
        """Count what is older than a moment."""
        found = Removed(kind for _, kind in self._old_runs(before, unfinished))
        for _, _, ticks in self._old_ticks(before):
            found += ticks
        return found

    def remove(self, before: datetime, unfinished: Unfinished) -> Removed:
        """Remove runs, with their event logs, that finished before a moment, and older ticks."""
        removed = Removed()
        for run_id, kind in list(self._old_runs(before, unfinished)):
            self.instance.delete_run(run_id)
            removed[kind] += 1
        for state, moment, ticks in self._old_ticks(before):
            self.instance.purge_ticks(state.instigator_origin_id, state.selector_id, moment, _ENDED_TICKS)
            removed += ticks
        return removed

    def _old_runs(self, before: datetime, unfinished: Unfinished) -> Iterator[tuple[str, Kind]]:
        wanted = dg.RunsFilter(statuses=_FINISHED, created_before=before)
        last: str | None = None
        while page := self.instance.get_run_records(wanted, limit=PAGE, ascending=True, cursor=last):
            last = page[-1].dagster_run.run_id
            for record in page:
                run = record.dagster_run
                if _ended_at(record) < before and not self._is_needed(run, unfinished):
                    yield run.run_id, Kind("Dagster run", run.status.value.lower())

    def _is_needed(self, run: dg.DagsterRun, unfinished: Unfinished) -> bool:
        """A run that is gone counts as lost, and its run key as never used: its batch has to be closed first."""
        return run.run_id in unfinished.run_ids or self.batch_of(run.tags) in unfinished.batch_ids

    def _old_ticks(self, before: datetime) -> Iterator[tuple[InstigatorState, float, Removed]]:
        """Go through the moments up to which ticks may go, page by page and oldest first, with what goes by then."""
        for state in self.instance.all_instigator_state():
            newest = self._ticks(state, before=None, limit=1)
            # The newest tick tells Dagster where to go on: without it a schedule begins anew.
            end = min([before.timestamp(), *(tick.timestamp for tick in newest)])
            yield from reversed(list(self._pages_of_ticks(state, end)))

    def _pages_of_ticks(self, state: InstigatorState, end: float) -> Iterator[tuple[InstigatorState, float, Removed]]:
        kind = "sensor tick" if state.instigator_type is InstigatorType.SENSOR else "schedule tick"
        while page := self._ticks(state, before=end, limit=PAGE):
            yield state, end, Removed(Kind(kind, tick.status.value.lower()) for tick in page)
            end = page[-1].timestamp

    def _ticks(self, state: InstigatorState, *, before: float | None, limit: int) -> Sequence[InstigatorTick]:
        statuses = None if before is None else _ENDED_TICKS
        return self.instance.get_ticks(
            state.instigator_origin_id, state.selector_id, before=before, limit=limit, statuses=statuses
        )


def _ended_at(record: dg.RunRecord) -> datetime:
    ended = record.end_time
    return record.update_timestamp if ended is None else datetime.fromtimestamp(ended, UTC)
