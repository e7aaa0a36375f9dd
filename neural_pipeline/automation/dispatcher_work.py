"""What the dispatcher does when something is announced: what inbox and lifecycle sensors do, with their functions.

Whatever is not done here, because of an error or because nothing was announced, the sensors do.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import dagster as dg
from sqlalchemy import Connection

from neural_pipeline.automation.dispatcher_runs import Launchable, start, unlaunched
from neural_pipeline.automation.inbox import assign_due, run_request
from neural_pipeline.automation.lifecycle import ENDS, record_run
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import lifecycle
from neural_pipeline.store.announcements import PATIENCE, Due, asking_for_runs, look_for_due, running_batches


@dataclass(frozen=True)
class Desk:
    """The pipeline, Dagster, the jobs, and the dispatcher's own connection, whose statements are transactions."""

    pipeline: Pipeline
    instance: dg.DagsterInstance
    jobs: Mapping[FunctionId, Launchable]
    connection: Connection

    def look_for_due(self) -> Due:
        """Look which functions have something to do, now and next."""
        return look_for_due(self.connection, [function_id.value for function_id in self.jobs])

    def start_due(self, function_id: FunctionId) -> list[int] | None:
        """Put what is due on batches and start their runs; return the batches, None if the sensor is at it just now."""
        with asking_for_runs(self.connection, function_id=function_id) as is_ours:
            if not is_ours:
                return None
            trusted_until = time.monotonic() + PATIENCE / 3
            with self.pipeline.brief_transaction() as connection:
                batch_ids = assign_due(connection, self.pipeline, function_id).batch_ids
            for batch_id in batch_ids:
                if time.monotonic() > trusted_until:  # the sensor will ask for the others
                    break
                request = run_request(self.pipeline, function_id, batch_id)
                start(self.instance, self.jobs[function_id].create_run(self.instance, request))
        return batch_ids

    def give_up_unlaunched(self) -> list[str]:
        """Report runs as failed that a dispatcher died over while it launched them; return them."""
        left = unlaunched(self.instance)
        for run in left:
            self.instance.report_run_failed(
                run, "its launch was not completed: the dispatcher ended in the middle of it"
            )
        return [run.run_id for run in left]

    def running(self) -> dict[int, str]:
        """Return the batches that are being worked on, each with its run."""
        return dict(running_batches(self.connection))

    def record(self, batch_id: int) -> int:
        """Project the outcomes of a batch onto its lifecycle rows; return how many moved."""
        with self.pipeline.brief_transaction() as connection:
            return lifecycle.record_batch(connection, batch_id)

    def settle_ended(self, run_ids: Collection[str]) -> set[str]:
        """Settle the batches of those runs that have ended; return these runs."""
        ended = self.instance.get_runs(dg.RunsFilter(run_ids=list(run_ids), statuses=list(ENDS)))
        for run in ended:
            record_run(self.pipeline, self.instance, run, run.status)
        return {run.run_id for run in ended}
