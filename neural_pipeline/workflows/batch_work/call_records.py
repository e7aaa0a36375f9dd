"""What is written about the calls of a run: reservations, how calls ended, and answers. No transaction spans a call."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from neural_pipeline.models.language import Answer, LanguageModel, Question, Shape, Usage
from neural_pipeline.store import model_answers, model_calls
from neural_pipeline.store.model_answers import KeptAnswer
from neural_pipeline.store.model_calls import NewCall
from neural_pipeline.store.refusals import is_fault_of_circumstances, is_fault_of_data
from neural_pipeline.workflows.batch_work.questions import Asked, Reply, question_hash, reckoned_tokens

_PATIENCE = (0.1, 0.5, 2.0)
"""Seconds waited before something is written again that a lost connection or a conflict threw back."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks whom, and within which bounds.

    `budget` is in tokens per day (UTC), None without a limit; `concurrency` is per workspace; no call is started after
    the `deadline` (monotonic).
    """

    engine: Engine
    model: LanguageModel
    function_id: str
    step: str
    budget: int | None
    concurrency: int
    deadline: float


def kept_answers(asker: Asker, questions: Sequence[Asked[Shape]]) -> dict[int, Answer[Shape]]:
    """Return what the same model has answered to the same questions before, by event id."""
    ids = [asked.event_id for asked in questions]
    with asker.engine.begin() as connection:
        kept = model_answers.kept(connection, ids, step=asker.step, model=asker.model.name)
    answers = {
        asked.event_id: _kept_answer(asker.model, asked.question, kept[asked.event_id])
        for asked in questions
        if asked.event_id in kept
    }
    return {event_id: answer for event_id, answer in answers.items() if answer is not None}


def _kept_answer(model: LanguageModel, question: Question[Shape], kept: KeptAnswer) -> Answer[Shape] | None:
    if kept.question_hash != question_hash(question):
        return None
    try:
        value = question.shape.model_validate(kept.answer)
    except ValidationError:
        # The shape's own checks have changed, which no hash shows.
        return None
    return Answer(value, model.name, Usage(kept.input_tokens, kept.output_tokens))


def reserve(asker: Asker, asked: Asked[Any]) -> int:
    """Reserve the tokens of a call; return its id. Raises BudgetExhausted, and what the database says."""
    call = NewCall(
        workspace_id=asked.workspace_id,
        event_id=asked.event_id,
        function_id=asker.function_id,
        step=asker.step,
        model=asker.model.name,
        reserved_tokens=reckoned_tokens(asked.question),
    )

    def write() -> int:
        with asker.engine.begin() as connection:
            return model_calls.reserve(connection, call, budget=asker.budget)

    return patiently(write)


def record(asker: Asker, call_id: int, asked: Asked[Any], reply: Reply[Any]) -> bool:
    """Write how a call ended and keep its answer; tell whether the database took all of it."""

    def write() -> bool:
        with asker.engine.begin() as connection:
            # The day is locked last, and only for a moment.
            is_kept = reply.answer_as_json is None or _keep(connection, asker, asked, reply)
            _finish(connection, call_id, reply)
            return is_kept

    try:
        return patiently(write)
    except SQLAlchemyError:
        return False


def _finish(connection: Connection, call_id: int, reply: Reply[Any]) -> None:
    tokens = reply.tokens
    model_calls.finish(
        connection,
        call_id,
        input_tokens=None if tokens is None else tokens.input_tokens,
        output_tokens=None if tokens is None else tokens.output_tokens,
        duration_ms=round(reply.seconds * 1000),
        outcome=reply.outcome,
        reason=reply.reason,
    )


def _keep(connection: Connection, asker: Asker, asked: Asked[Any], reply: Reply[Any]) -> bool:
    kept = KeptAnswer(
        question_hash=question_hash(asked.question),
        answer=reply.answer_as_json,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
    )
    try:
        with connection.begin_nested():
            model_answers.keep(connection, [(asked.event_id, kept)], step=asker.step, model=asker.model.name)
    except DBAPIError as error:
        if not is_fault_of_data(error):
            raise
        return False
    return True


def patiently(write: Callable[[], Result]) -> Result:
    """Write, again after a pause where the circumstances were at fault."""
    for pause in _PATIENCE:
        try:
            return write()
        except DBAPIError as error:
            if not is_fault_of_circumstances(error):
                raise
        time.sleep(pause)
    return write()
