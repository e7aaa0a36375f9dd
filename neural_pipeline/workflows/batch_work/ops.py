"""What the ops of every room do: load its batch at the beginning, and at the end store what was concluded."""

from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import Any, TypeVar, cast

import dagster as dg
from pydantic import Field
from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import IncomingEvent, input_of, parse_incoming, run_name
from neural_pipeline.contracts.shape import Shape
from neural_pipeline.contracts.workflows import WorkflowOutput, failure_output, parse_output
from neural_pipeline.models.configured import Asking
from neural_pipeline.resources import ASKED_BY, Pipeline
from neural_pipeline.store import batch_events, batches
from neural_pipeline.store.batches import BatchLost, Token, WorkspaceHeld
from neural_pipeline.workflows.batch_work import reporting
from neural_pipeline.workflows.batch_work.asking import Asker
from neural_pipeline.workflows.batch_work.claiming import (
    STEP,
    Claim,
    LaunchRefused,
    LoadedBatch,
    Request,
    Terms,
    claim,
)
from neural_pipeline.workflows.batch_work.collector import calm_collector
from neural_pipeline.workflows.batch_work.committing import Report, Written
from neural_pipeline.workflows.batch_work.events import BatchEvent, Deferred
from neural_pipeline.workflows.batch_work.independent import IndependentEvents
from neural_pipeline.workflows.batch_work.steps import Failure, failure_of
from neural_pipeline.workflows.batch_work.tags import batch_named

Payload = TypeVar("Payload")
Effect = TypeVar("Effect")


class Launch(dg.Config):
    """What a person may ask for in the Launchpad; without anything the run works on whatever is due."""

    workspace_id: str | None = Field(default=None, description="Only this workspace.")


def named(op: dg.OpDefinition, name: str) -> Callable[..., Any]:
    """Return an op as a node of a job, by a name that other jobs use too: those of ops are unique in a location."""
    return cast("Any", op).alias(name)


def terms_of(pipeline: Pipeline, function_id: FunctionId) -> Terms:
    """Return what a run of a function must keep to."""
    settings = pipeline.settings
    timeout = pipeline.timeout_of(function_id)
    return Terms(
        function_id=function_id,
        limits=pipeline.limits_of(function_id),
        working=pipeline.working_seconds(function_id),
        timeout=timeout,
        lease=settings.lease_seconds,
        pause=settings.retry_base_seconds,
    )


def request_of(context: dg.OpExecutionContext, workspace_id: str | None) -> Request:
    """Return what a run is to work on."""
    return Request(context.run_id, batch_named(context.run.tags), workspace_id)


def claimed(pipeline: Pipeline, claiming: Callable[[Connection], Claim]) -> tuple[Claim, Sequence[RowMapping]]:
    """Claim the batch of a run, begin to renew its lease, and read the rows of its events.

    A launch that asks for what cannot be done fails with the reason.
    """
    calm_collector()
    try:
        with pipeline.transaction() as connection:
            mine = claiming(connection)
    except (WorkspaceHeld, LaunchRefused) as refusal:
        raise dg.Failure(str(refusal), allow_retries=False) from refusal
    if mine.token is None:
        return mine, ()
    pipeline.keep_lease(mine.token)
    with pipeline.transaction() as connection:
        return mine, batch_events.events_of(connection, mine.token.batch_id)


def load_batch(
    context: dg.OpExecutionContext,
    pipeline: Pipeline,
    *,
    payload: type[Payload],
    launch: Launch,
    function_id: FunctionId,
) -> LoadedBatch[BatchEvent[Payload]]:
    """Take or make the batch of this run and read its events, whose payloads are of the given kind."""
    request, terms = request_of(context, launch.workspace_id), terms_of(pipeline, function_id)
    mine, rows = claimed(pipeline, lambda connection: claim(connection, request, terms))
    loaded = _read(mine, rows, payload)
    report_loaded(context, loaded)
    return loaded


def _read(mine: Claim, rows: Sequence[RowMapping], payload: type[Payload]) -> LoadedBatch[BatchEvent[Payload]]:
    events: list[BatchEvent[Payload]] = []
    unreadable: dict[int, Failure] = {}
    for row in rows:
        read: Any = row["payload"]
        try:
            read = parse_incoming(row["payload"])
            if not isinstance(read, payload):
                raise TypeError(f"the payload is a {type(read).__name__}, not a {payload.__name__}")
        except (ValueError, TypeError) as error:
            unreadable[row["id"]] = failure_of(error, step=STEP, rejected=True)
        events.append(
            BatchEvent(row["id"], row["workspace_id"], row["clerk_org_id"], row["repository_id"], read, row["attempt"])
        )
    return LoadedBatch(mine, tuple(events), unreadable)


def report_loaded(context: dg.OpExecutionContext, loaded: LoadedBatch[Any]) -> None:
    """Show how many events of how many workspaces there are."""
    note = loaded.claim.note
    workspaces = {event.workspace_id for event in loaded.events}
    context.log.info("loaded %d events of %d workspaces. %s", len(loaded.events), len(workspaces), note or "")
    numbers = {"events": len(loaded.events), "unreadable": len(loaded.unreadable), "workspaces": len(workspaces)}
    context.add_output_metadata(reporting.counts(numbers) | ({"note": note} if note else {}))


def store_conclusions(
    context: dg.OpExecutionContext,
    pipeline: Pipeline,
    *,
    loaded: LoadedBatch[BatchEvent[Payload]],
    conclusions: Mapping[int, Effect | Failure | Deferred],
    keep: Callable[[Connection, Sequence[tuple[BatchEvent[Payload], Effect]]], Mapping[int, Written]],
    function_id: FunctionId,
    seconds: Mapping[int, float] | None = None,
) -> None:
    """Commit what was concluded about each event of a batch, by id, while the batch is this run's.

    `keep` as in `IndependentEvents`; `seconds` of work per event so far. What could not be read fails by itself.
    """
    token = loaded.claim.token
    if token is None:
        return
    committing = IndependentEvents[Payload, Effect](
        engine=pipeline.engine,
        token=token,
        chunk=min(pipeline.settings.capture_chunk, pipeline.settings.capture_max_batch),
        seconds=seconds or {},
        deadline=loaded.claim.deadline,
        retries=pipeline.retries_of(function_id),
        draw=random,
        keep=keep,
        failed=lambda event, failure: _failure_output(event, failure, function_id),
    )
    every = {**conclusions, **loaded.unreadable}
    report = fenced(pipeline, token, lambda: committing.conclude(loaded.events, every))
    subjects = {event.id: (event.workspace_id, _subject(event)) for event in loaded.events}
    report_stored(context, report, subjects)


def asker_of(pipeline: Pipeline, asking: Asking, mine: Claim, *, step: str) -> Asker:
    """Return who asks the model of a workflow during the work on a batch."""
    return Asker(
        engine=pipeline.engine,
        model=pipeline.language_model(asking),
        function_id=ASKED_BY[asking],
        step=step,
        budget=pipeline.settings.model_daily_tokens,
        concurrency=pipeline.concurrency_of(asking),
        deadline=mine.deadline,
    )


def fenced(pipeline: Pipeline, token: Token, commit: Callable[[], Report]) -> Report:
    """Commit; where the batch is no longer this run's, count the late write and fail."""
    try:
        return commit()
    except BatchLost as lost:
        with pipeline.transaction() as connection:
            batches.count_stale_write(connection, token)
        raise dg.Failure(f"{lost}: nothing more was written", allow_retries=False) from lost


def report_stored(context: dg.OpExecutionContext, report: Report, subjects: Mapping[int, tuple[str, str]]) -> None:
    """Show what became of the events; `subjects` has the workspace and the subject of each by id."""
    numbers = {**report.outcomes, "chunks repeated": report.repeats, "left to a later run": report.released}
    context.log.info("stored: %s", ", ".join(f"{name} {value}" for name, value in numbers.items()))
    failures = reporting.failure_table(report.failures, subjects)
    context.add_output_metadata(reporting.counts(numbers) | {"failures": failures})


def _subject(event: BatchEvent[Any]) -> str:
    payload: Any = event.payload
    return run_name(cast("IncomingEvent", payload)) if isinstance(payload, Shape) else "a payload that cannot be read"


_NAMED_BY = {
    FunctionId.PROFILE_UPDATE: "actorId",
    FunctionId.CLUSTER_SUMMARY: "clusterId",
    FunctionId.LLM_ENTITY_EXTRACTION: "observationId",
}
"""What the failure output of a function must name; a payload that cannot be read may have it all the same."""


def _failure_output(event: BatchEvent[Any], failure: Failure, function_id: FunctionId) -> WorkflowOutput:
    payload: Any = event.payload
    if not isinstance(payload, Shape):
        name = _NAMED_BY[function_id]
        named = str(cast("dict[str, Any]", payload).get(name, "unknown"))
        output = {"inngestFunctionId": function_id, "status": "failure", "error": failure.message, name: named}
        return parse_output(output | {"step": failure.step}, function_id=function_id)
    return failure_output(
        function_id, input_of(cast("IncomingEvent", payload)), error=failure.message, step=failure.step
    )
