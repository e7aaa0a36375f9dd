"""What a run does for its batch when one of its ops has failed: nobody knows the reason better than the worker.

A worker that is killed never gets here; the lifecycle sensors and the reconciler do its part.
"""

import time
import traceback

import dagster as dg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.contracts.workflows import error_text
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import batches, settlement
from neural_pipeline.store.batches import BatchLost
from neural_pipeline.store.outcomes import MAX_STACK, FailedAttempt
from neural_pipeline.store.refusals import describe_refusal, is_fault_of_circumstances
from neural_pipeline.store.settlement import RunEnd

_PAUSE_BETWEEN_TRIES = 1.0


def settle_failed_run(pipeline: Pipeline, run_id: str, error: BaseException, *, step: str) -> None:
    """Settle the batch of a run whose op failed; give it back unharmed where no event can be blamed.

    While the database cannot do even that it is asked again, for as long as a run may take: who waits here renews the
    lease as soon as that can be done, and nobody is blamed for the outage.
    """
    deadline = time.monotonic() + pipeline.settings.capture_timeout_seconds
    while True:
        try:
            with pipeline.transaction() as connection:
                _settle(connection, pipeline, run_id, error, step=step)
        except DBAPIError as refusal:
            if time.monotonic() > deadline or not is_fault_of_circumstances(refusal):
                raise
            time.sleep(_PAUSE_BETWEEN_TRIES)
        else:
            return


def _settle(connection: Connection, pipeline: Pipeline, run_id: str, error: BaseException, *, step: str) -> None:
    for token in batches.batches_of(connection, run_id):
        if is_fault_of_circumstances(error):
            reason = f"handed_back: {describe_refusal(error)}"
            try:
                settlement.hand_back(connection, token, reason=reason, pause=pipeline.settings.retry_base_seconds)
            except BatchLost:
                continue
        else:
            settlement.settle(
                connection,
                token.batch_id,
                run_id=run_id,
                end=RunEnd.FAILURE,
                isolating_losses=pipeline.limits.isolating_losses,
                trouble=_attempt(error, step=step),
            )


def _attempt(error: BaseException, *, step: str) -> FailedAttempt:
    stack = "".join(traceback.format_exception(error))[-MAX_STACK:]
    # The statement that SQLAlchemy adds says nothing to whoever reads the history.
    told = error.orig if isinstance(error, DBAPIError) and error.orig else error
    message = error_text(f"{told}".strip() or type(told).__name__)
    return FailedAttempt(step, message, type(told).__qualname__, stack, Cause.CODE_ERROR)


@dg.failure_hook(required_resource_keys={"pipeline"})
def settles_its_batch(context: dg.HookContext) -> None:
    """Settle the batch of this run: the hook of every job that works on batches."""
    if context.op_exception is not None:
        settle_failed_run(context.resources.pipeline, context.run_id, context.op_exception, step=context.op.name)
