"""Getting a batch for a run: take the one that its sensor assigned, or make one of what is due."""

import time
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy import Connection

from neural_pipeline.contracts.batching import Limits, plan_batches
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.store import batches, settlement
from neural_pipeline.store.batches import Token, WorkspaceHeld
from neural_pipeline.store.revision import SCHEMA_REVISION, current_revision
from neural_pipeline.workflows.batch_work.events import Worked
from neural_pipeline.workflows.batch_work.steps import Failure

STEP = "load"

Event = TypeVar("Event", bound=Worked)


class LaunchRefused(Exception):
    """A launch asks for something that cannot be done."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The batch a run has taken, and when it takes no further chunk; without a token `note` says why there is none."""

    token: Token | None = None
    deadline: float = 0.0
    note: str | None = None


@dataclass(frozen=True, slots=True)
class LoadedBatch(Generic[Event]):
    """A claim with its events in the order of their work; those that cannot be read stand in `unreadable` too."""

    claim: Claim = field(default_factory=Claim)
    events: tuple[Event, ...] = ()
    unreadable: dict[int, Failure] = field(default_factory=dict[int, Failure])


@dataclass(frozen=True, slots=True)
class Request:
    """What a run is to work on: an assigned batch, or what is due, of one workspace or of all."""

    run_id: str
    batch_id: int | None
    workspace_id: str | None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run must keep to: whose events it works on, the bounds of its batch, and its times.

    In seconds: `working` until it takes no further chunk, `timeout` until its batch is taken from it, `lease` without a
    sign of life, and the `pause` of a batch that is handed back.
    """

    function_id: FunctionId
    limits: Limits
    working: float
    timeout: float
    lease: float
    pause: float


def claim(connection: Connection, request: Request, terms: Terms) -> Claim:
    """Take or make the batch of a run; raises WorkspaceHeld.

    The caller commits before it reads the events: a worker that dies over them has taken its batch, and is counted.
    """
    if request.batch_id is not None:
        return take(connection, request.batch_id, request, terms)
    batch_id = batch_of_due_events(connection, request.workspace_id, terms)
    return Claim(note="nothing is due") if batch_id is None else take(connection, batch_id, request, terms)


def take(connection: Connection, batch_id: int, request: Request, terms: Terms, *, is_closed: bool = False) -> Claim:
    """Take a batch for a run and begin work on its events; unless it `is_closed` to them, due ones are added."""
    token = batches.take(connection, batch_id, run_id=request.run_id, seconds=terms.timeout, lease=terms.lease)
    if token is None:
        return Claim(note=f"batch {batch_id} is taken or closed: another run has done, or does, its work")
    if current_revision(connection) != SCHEMA_REVISION:
        settlement.hand_back(connection, token, reason="handed_back: schema", pause=terms.pause)
        return Claim(note=f"the database is not at revision {SCHEMA_REVISION}: the events wait for the right program")
    if not is_closed:
        batches.top_up(connection, token, function_id=terms.function_id, limits=terms.limits)
    batches.begin(connection, token)
    return Claim(token, time.monotonic() + terms.working)


def batch_of_due_events(connection: Connection, workspace_id: str | None, terms: Terms) -> int | None:
    """Put what is due, of one workspace or of all that nobody works on, on a batch; None if nothing is.

    Raises WorkspaceHeld, naming who holds the workspace asked for.
    """
    function_id, limits = terms.function_id, terms.limits
    batches.lock_assignment(connection, function_id=function_id)
    if workspace_id is not None:
        require_free(connection, workspace_id, function_id=function_id)
    due = batches.due_events(connection, function_id=function_id, at_most=limits.max_events, workspace_id=workspace_id)
    plans = plan_batches(due, slots=1, limits=limits)
    if not plans:
        return None
    return batches.put_on_batch(connection, plans[0], function_id=function_id, trigger=Trigger.MANUAL)


def require_free(connection: Connection, workspace_id: str, *, function_id: FunctionId) -> None:
    """Raise WorkspaceHeld, naming the holder, if a run of the function works on the workspace."""
    holder = batches.holder_of(connection, workspace_id, function_id=function_id)
    if holder is not None:
        raise WorkspaceHeld(f"workspace {workspace_id} is being worked on by {holder}: launch again when it is done")
