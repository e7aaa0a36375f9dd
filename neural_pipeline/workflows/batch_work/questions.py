"""Questions of a batch to a language model, and what became of them; nothing here knows the database.

A question is recognised by its hash and reckoned with so many tokens. What is kept of a failure holds no key, whatever
a provider's client wrote into it.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from time import perf_counter
from typing import Any, Generic

from pydantic import BaseModel

from neural_pipeline.contracts.workflows import error_text
from neural_pipeline.models.language import Answer, LanguageModel, ModelFailed, Question, Shape, Trouble, Usage
from neural_pipeline.workflows.batch_work.steps import Clock, Failure, failure_of

BYTES_PER_TOKEN = 3
"""English has about four bytes to a token, code and JSON about three. Bytes of UTF-8, not characters: other scripts
take a token per character or so, which is two or three bytes."""
ANSWER_TOKENS = 4_000
"""What an answer is reckoned with: the most that a provider's model is allowed."""

_KEY = re.compile(r"(?i)(?<=bearer )[^\s'\"]+|\bsk-[\w-]+")
UNPAID = frozenset({Trouble.RATE_LIMITED, Trouble.UNAVAILABLE, Trouble.UNAUTHORIZED})
"""Troubles for which no provider charges. After any other, tokens that were not told may have been used."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[Shape]):
    """How a call ended and after how many seconds; an answer also stands there as JSON."""

    result: Answer[Shape] | ModelFailed | Failure
    seconds: float
    answer_as_json: Any = None

    @property
    def usage(self) -> Usage:
        """The tokens used as far as they were told."""
        return Usage() if isinstance(self.result, Failure) else self.result.usage

    @property
    def tokens(self) -> Usage | None:
        """The tokens used; None where nobody knows."""
        is_unpaid = isinstance(self.result, ModelFailed) and self.result.trouble in UNPAID
        return self.usage if is_unpaid or self.usage != Usage() else None

    @property
    def outcome(self) -> str:
        """`answered`, the trouble with the model, or `error` where something else went wrong."""
        match self.result:
            case Answer():
                return "answered"
            case ModelFailed():
                return self.result.trouble.value
            case Failure():
                return "error"

    @property
    def reason(self) -> str | None:
        """Why there is no answer."""
        match self.result:
            case Answer():
                return None
            case ModelFailed():
                return str(self.result)
            case Failure():
                return f"{self.result.error_class}: {self.result.message}"


@dataclass(frozen=True, slots=True)
class Asked(Generic[Shape]):
    """The question that an event has in this step."""

    event_id: int
    workspace_id: str
    question: Question[Shape]


@dataclass(slots=True)
class Answers(Generic[Shape]):
    """What became of the questions, by event id: each has an answer, has failed, or was not asked for want of time.

    `usage` and `calls` are this run's; a kept answer says what it took when it was given. `unrecorded` counts calls
    whose end or answer the database did not take: they are paid again if this run is lost.
    """

    found: dict[int, Answer[Shape]] = field(default_factory=dict[int, Answer[Shape]])
    failures: dict[int, ModelFailed | Failure] = field(default_factory=dict[int, ModelFailed | Failure])
    unasked: set[int] = field(default_factory=set[int])
    clock: Clock = field(default_factory=Clock)
    calls: int = 0
    kept: int = 0
    unrecorded: int = 0
    usage: Usage = field(default_factory=Usage)

    @property
    def troubles(self) -> Counter[str]:
        """How many events failed for which trouble; `error` where the program failed, not the model."""
        failures = self.failures.values()
        return Counter(f.trouble.value if isinstance(f, ModelFailed) else "error" for f in failures)

    def metadata(self) -> dict[str, int]:
        """Return the numbers that an op shows."""
        return {
            "model_calls": self.calls,
            "kept_answers": self.kept,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "unasked": len(self.unasked),
            "unrecorded_calls": self.unrecorded,
            **{f"trouble/{trouble}": number for trouble, number in self.troubles.items()},
        }

    def take(self, event_id: int, reply: Reply[Shape]) -> None:
        """Take in how one call ended."""
        self.clock.add(event_id, reply.seconds)
        if isinstance(reply.result, Answer):
            self.found[event_id] = reply.result
        else:
            self.failures[event_id] = reply.result
        used = reply.usage
        self.usage = Usage(self.usage.input_tokens + used.input_tokens, self.usage.output_tokens + used.output_tokens)


def put(model: LanguageModel, question: Question[Shape], *, step: str) -> Reply[Shape]:
    """Put a question to a model; whatever goes wrong is the reply."""
    began = perf_counter()
    try:
        answer = model.answer(question)
        as_json = answer.value.model_dump(mode="json", by_alias=True)
    except ModelFailed as failed:
        # A new one: what it was raised from can quote the request, headers and all.
        line, wait = without_keys(str(failed)), failed.retry_after
        failed = ModelFailed(failed.trouble, line, usage=failed.usage, retry_after=wait)
        return Reply(failed, perf_counter() - began)
    except Exception as error:
        return Reply(_bare(failure_of(error, step=step)), perf_counter() - began)
    return Reply(answer, perf_counter() - began, as_json)


def failure_of_model(failed: ModelFailed, *, step: str) -> Failure:
    """Return what is kept of a model's failure where no rules stand behind it: the event is tried again."""
    error_class = f"{type(failed).__qualname__}: {failed.trouble.value}"
    return Failure(step, error_text(str(failed)), error_class, retry_after=failed.retry_after)


def question_hash(question: Question[Any]) -> str:
    """Return what tells a question from another: prompt and shape of the answer."""
    parts = [question.prompt.instructions, question.prompt.data, _schema_of(question.shape)]
    return sha256(json.dumps(parts).encode()).hexdigest()


def reckoned_tokens(question: Question[Any]) -> int:
    """Return the most tokens that a call is reckoned with: the prompt, the schema that goes with it, and the answer."""
    parts = (question.prompt.instructions, question.prompt.data, _schema_of(question.shape))
    return sum(len(part.encode(errors="surrogatepass")) for part in parts) // BYTES_PER_TOKEN + ANSWER_TOKENS


def without_keys(text: str) -> str:
    """Return a text with what looks like a key taken out."""
    return _KEY.sub("[key]", text)


def _bare(failure: Failure) -> Failure:
    return replace(failure, message=without_keys(failure.message), stack=failure.stack and without_keys(failure.stack))


@cache
def _schema_of(shape: type[BaseModel]) -> str:
    return json.dumps(shape.model_json_schema(), sort_keys=True)
