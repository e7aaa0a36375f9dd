"""Metrics for tests of views: rows as their writers make them, checked by the contract, of made-up executions."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from neural_pipeline.contracts.metrics import Metric, parse_metric

CAPTURE, PROFILE, SYNC = "neural.observation.capture", "neural.profile.update", "sync.orchestrator"
CAUSES = ("code_error", "worker_lost", "timeout", "rejected", None)

_INSERT = """
insert into lightfast_workspace_operations_metrics (clerk_org_id, workspace_id, type, value, unit, tags, timestamp)
select 'org_test', :workspace, type, value, unit, tags, at
from jsonb_to_recordset(cast(:metrics as jsonb)) as m (type text, value integer, unit text, tags jsonb, at timestamptz)
"""


def write_metrics(
    connection: Connection, metrics: Iterable[tuple[Metric, datetime]], *, workspace: str = "ws_test"
) -> None:
    """Write metrics, each with its timestamp, in their order."""
    found = [metric.to_json() | {"at": at.isoformat()} for metric, at in metrics]
    connection.execute(text(_INSERT), {"workspace": workspace, "metrics": json.dumps(found)})


def metric(type_: str, value: int = 1, **tags: Any) -> Metric:
    """Return a metric of a type, its tags named as in the tables; those that are None are left out."""
    unit = "ms" if type_ == "job_duration" else "count"
    kept = {name: tag for name, tag in tags.items() if tag is not None}
    return parse_metric({"type": type_, "value": value, "unit": unit, "tags": kept})


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that ended; without a queue wait, before its turn came. `documents`: of a successful one of SYNC."""

    at: datetime
    function: str = CAPTURE
    outcome: str = "completed"
    run_ms: int = 0
    queue_ms: int | None = None
    total_ms: int = 0
    cause: str | None = None
    source: str | None = None
    documents: int = 0

    @property
    def durations(self) -> dict[str, int]:
        """Return how long it took, by measure, in milliseconds."""
        begun = {} if self.queue_ms is None else {"queue": self.queue_ms, "run": self.run_ms}
        return begun | {"total": self.total_ms}

    @property
    def has_indexed(self) -> bool:
        """Tell whether it was a synchronisation that succeeded."""
        return self.function == SYNC and self.outcome == "completed" and self.queue_ms is not None

    def metrics(self) -> list[tuple[Metric, datetime]]:
        """Return the rows that the recorder writes for it."""
        begun = self.queue_ms is not None
        results = {"failed": "failure", "completed": "success" if begun else "superseded"}
        ended = metric(
            "job_duration",
            self.run_ms,
            jobType=self.function,
            trigger="webhook",
            outcome=self.outcome,
            result=results.get(self.outcome),
            begun=begun,
            sourceType=self.source,
            queueWaitMs=self.queue_ms,
            totalMs=self.total_ms,
        )
        found = [ended]
        if self.outcome == "failed":
            found.append(
                metric(
                    "errors", jobType=self.function, errorType="job_failure", cause=self.cause, sourceType=self.source
                )
            )
        if self.has_indexed:
            mode = "full" if self.documents % 2 else "incremental"
            indexed = metric(
                "documents_indexed", self.documents, jobType=SYNC, sourceType=self.source or "github", syncMode=mode
            )
            found.append(indexed)
        return [(one, self.at) for one in found]


def random_ending(draw: random.Random, at: datetime) -> Ended:
    """Return an execution that ended at a moment, however it may have; durations lie between 0 ms and a day."""
    outcome = draw.choices(["completed", "failed", "cancelled"], [6, 3, 1])[0]
    begun = outcome == "failed" or draw.random() < 0.8
    run_ms, queue_ms = (int(86_400_000 ** draw.random()) - 1 for _ in range(2))
    return Ended(
        at=at,
        function=draw.choice([CAPTURE, PROFILE, SYNC]),
        outcome=outcome,
        run_ms=run_ms if begun else 0,
        queue_ms=queue_ms if begun else None,
        total_ms=run_ms + queue_ms,
        cause=draw.choice(CAUSES) if outcome == "failed" else None,
        source=draw.choice(["github", "vercel", None]),
        documents=draw.randrange(50),
    )


def around(moment: datetime) -> list[datetime]:
    """Return a moment, and the last microsecond before it."""
    return [moment, moment - timedelta(microseconds=1)]
