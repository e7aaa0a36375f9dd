"""Asking a language model: what a question and an answer are, how asking may fail. Which model answers is elsewhere.

A question carries how the rules would answer it: the offline model does that, and so does a caller that falls back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is told: `instructions` are ours, `data` comes from outside and is fenced by whoever builds this."""

    instructions: str
    data: str


@dataclass(frozen=True, slots=True)
class Question(Generic[Shape]):
    """A question whose answer has a shape; `rules` names the rules by which `by_rules` answers it without a model."""

    prompt: Prompt
    shape: type[Shape]
    rules: str
    by_rules: Callable[[], Shape]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a call has used; none where rules answered."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer(Generic[Shape]):
    """An answer, who gave it (`openai:gpt-5-mini`, `offline:extractive`), and what that took."""

    value: Shape
    answered_by: str
    usage: Usage = Usage()


class Trouble(StrEnum):
    """Why a model gave no answer that can be used."""

    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    CUT_OFF = "cut_off"
    INVALID_ANSWER = "invalid_answer"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    BUDGET_EXHAUSTED = "budget_exhausted"


class ModelFailed(Exception):
    """A model gave no answer; the message says why in one line and never holds a key.

    `usage` is what the attempt cost all the same, as far as the provider told; `retry_after` are the seconds for which
    it asked not to be asked again.
    """

    def __init__(
        self, trouble: Trouble, message: str, *, usage: Usage = Usage(), retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.usage = usage
        self.retry_after = retry_after


class LanguageModel(Protocol):
    """Answers questions. Safe to call from several threads at once."""

    @property
    def name(self) -> str:
        """The name of the model as rows show it."""
        ...

    @property
    def is_offline(self) -> bool:
        """Whether rules answer: then nothing is paid, nothing is waited for, and nothing needs to be kept."""
        ...

    def answer(self, question: Question[Shape]) -> Answer[Shape]:
        """Answer a question; raises ModelFailed."""
        ...
