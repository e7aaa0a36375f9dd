"""The project's own work on events, outside Dagster: set-wise as in production, or one event per transaction.

Set-wise (`work_off_due`) is what sensors, runs and recorder do: assign, load, the ops of the room, settle.

Event by event (`one_event`) is the leanest honest way for a queue that hands over an event's id: nothing is assigned,
no batch is made, taken or settled for it. The event joins a batch that its worker process keeps all along, so that the
rooms' store step finds the fence it asks for; then come the same ops on a batch of one, and the lifecycle row moves to
its final state; all of it is one transaction. The workspace is locked meanwhile, as clusters are written as a whole: a
batch holds its workspaces for the same reason.
"""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import uuid4

from pydantic import PrivateAttr
from sqlalchemy import Connection, Engine, RowMapping

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import parse_incoming
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches, lifecycle, settlement
from neural_pipeline.store.batches import Token
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.store.sql import rows, scalar
from neural_pipeline.workflows.batch_work.claiming import Claim, LoadedBatch
from neural_pipeline.workflows.batch_work.events import BatchEvent
from neural_pipeline.workflows.observation_capture.loading import with_events
from neural_pipeline_tests.benchmarks.fast.rooms import LOAD, ROOMS, work_off

CAPTURE = FunctionId.OBSERVATION_CAPTURE
FOREVER = 86_400.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a queue hands over: an event of the inbox, whose work may begin at `due_at`."""

    event_id: int
    function_id: str
    workspace_id: str
    due_at: datetime | None = None


def work_off_due(pipeline: Pipeline, function_id: FunctionId) -> int:
    """Work off what is due of a function, as its sensor, a run and the recorder do; return how many batches were."""
    with pipeline.transaction() as connection:
        batches.assign(connection, function_id=function_id, limits=pipeline.limits_of(function_id))
        waiting = batches.open_batches(connection, function_id=function_id)
    done = 0
    for batch_id in waiting:
        run_id = str(uuid4())
        work_off(ROOMS[function_id], pipeline, run_id=run_id, batch_id=batch_id)
        pipeline.teardown_after_execution(cast("Any", None))  # ends the threads that keep leases
        with pipeline.transaction() as connection:
            done += _settled(connection, batch_id, run_id)
    return done


def _settled(connection: Connection, batch_id: int, run_id: str) -> bool:
    """Settle a batch that was this run's; another process may have taken it first."""
    mine = [token.batch_id for token in batches.batches_of(connection, run_id)]
    if batch_id not in mine:
        return False
    return settlement.settle(connection, batch_id, run_id=run_id, end=RunEnd.SUCCESS, isolating_losses=3)


class OneConnection(Pipeline):
    """The pipeline in a transaction that is open: all that ops do becomes part of it."""

    _connection: Any = PrivateAttr(default=None)

    @property
    def engine(self) -> Engine:
        """Stands for the engine: what begins with it goes on in the open transaction."""
        return cast("Engine", self)

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """Yield the connection of the open transaction."""
        yield self._connection

    def use(self, connection: Connection) -> None:
        """Go on in this transaction."""
        self._connection = connection


def standing_batch(engine: Engine, function_id: FunctionId) -> Token:
    """Open and take the batch that the events of a worker process join, one after the other."""
    with engine.begin() as connection:
        batch_id = batches.put_on_batch(connection, [], function_id=function_id, trigger=Trigger.AUTOMATIC)
        token = batches.take(connection, batch_id, run_id=str(uuid4()), seconds=FOREVER, lease=FOREVER)
    if token is None:
        raise RuntimeError("somebody else has taken a batch that was just made")
    return token


class PerEvent:
    """Works on single events of any function, each in one transaction."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._engine = pipeline.engine
        self._tokens = {function_id: standing_batch(pipeline.engine, function_id) for function_id in ROOMS}
        self._of_thread = threading.local()

    def work(self, job: Job) -> list[Job]:
        """Work on an event; return the executions that it has asked for. Nothing where it is done or superseded."""
        with self._engine.begin() as connection:
            pipeline = self._pipeline()
            pipeline.use(connection)
            if not one_event(connection, job, self._tokens[FunctionId(job.function_id)], pipeline=pipeline):
                return []
            return children_of(connection, job.event_id) if job.function_id == CAPTURE else []

    def _pipeline(self) -> OneConnection:
        """Return the pipeline of this thread: made once, as it reads the settings."""
        if not hasattr(self._of_thread, "pipeline"):
            self._of_thread.pipeline = OneConnection()
        return self._of_thread.pipeline


_BEGIN = """
with begun as (
  update incoming_events set batch_id = :batch_id, begun_at = clock_timestamp(), cause = null
  where id = :id and batch_id is null and outcome is null
  returning id, workspace_id, payload, attempt, reprocess
)
select e.*, w.clerk_org_id, r.repository_id from begun e
join lightfast_org_workspaces w on w.id = e.workspace_id
left join lightfast_workspace_workflow_runs r on r.event_id = e.id
"""

_HOLD = "select pg_advisory_xact_lock(hashtext(:function_id), hashtext(:workspace_id))"


def one_event(connection: Connection, job: Job, token: Token, *, pipeline: OneConnection) -> bool:
    """Work on one event to its completed row; False where there is nothing to be done any more."""
    function_id = FunctionId(job.function_id)
    scalar(connection, _HOLD, function_id=function_id, workspace_id=job.workspace_id)
    found = rows(connection, _BEGIN, batch_id=token.batch_id, id=job.event_id)
    if not found:
        return False
    loaded = _loaded(function_id, Claim(token, float("inf")), found)
    work_off(ROOMS[function_id], pipeline, run_id=token.run_id, given={LOAD: loaded})
    lifecycle.record_events(connection, [job.event_id])
    return True


def _loaded(function_id: FunctionId, claim: Claim, found: Sequence[RowMapping]) -> LoadedBatch[Any]:
    if function_id is CAPTURE:
        return with_events(claim, found)
    events = [
        BatchEvent(
            row["id"],
            row["workspace_id"],
            row["clerk_org_id"],
            row["repository_id"],
            parse_incoming(row["payload"]),
            row["attempt"],
        )
        for row in found
    ]
    return LoadedBatch(claim, tuple(events))


_CHILDREN = """
select id, function_id, workspace_id, due_at from incoming_events
where parent_event_id = :event_id and outcome is null order by id
"""


def children_of(connection: Connection, event_id: int) -> list[Job]:
    """Return the executions that an event has asked for and that are still to be done."""
    found = rows(connection, _CHILDREN, event_id=event_id)
    return [Job(row["id"], row["function_id"], row["workspace_id"], row["due_at"]) for row in found]


def is_all_done(connection: Connection) -> bool:
    """Tell whether nothing waits and nothing is being worked on."""
    return not scalar(connection, "select exists (select from incoming_events where outcome is null)")
