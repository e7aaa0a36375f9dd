"""What an exception of a provider means to us: the trouble, one clear line, and whether to try once more.

Only for models of providers: importing this imports pydantic-ai.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelTimeoutError,
    OutputTokenLimitExceeded,
    UnexpectedModelBehavior,
)

from neural_pipeline.models.language import ModelFailed, Trouble, Usage

_FILTERED = {"content_filter", "content_policy_violation"}
_ODD_ANSWER = (ValueError, TypeError, LookupError, AttributeError)
"""What reading an answer of an unexpected form raises."""


@dataclass(frozen=True, slots=True)
class Failing:
    """How a call has failed; `passing` tells that it may well succeed in a moment, `retry_after` when."""

    trouble: Trouble
    message: str
    passing: bool = False
    retry_after: float | None = None

    def with_usage(self, usage: Usage) -> ModelFailed:
        """Return the exception to raise: one without a history, in which keys could stand."""
        return ModelFailed(self.trouble, self.message, usage=usage, retry_after=self.retry_after)


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains the exceptions of one model; `variable` is where its key is set, `scrub` takes the key out."""

    name: str
    variable: str
    scrub: Callable[[str], str]

    def __call__(self, error: Exception) -> Failing:
        """Explain an exception."""
        match error:
            case ModelHTTPError():
                return self._refusal(error)
            case ModelTimeoutError():
                return self._failing(Trouble.TIMED_OUT, "no answer in time")
            case ModelConnectionError():
                return self._connection(error)
            case ContentFilterError():
                return self._failing(Trouble.REFUSED, "the model refused to answer, or a content filter stopped it")
            case OutputTokenLimitExceeded():
                return self._failing(Trouble.CUT_OFF, "the answer reached the model's token limit and was cut off")
            case _:
                return self._unexpected(error)

    def _failing(self, trouble: Trouble, what: str) -> Failing:
        return Failing(trouble, f"{self.name}: {what}")

    def _refusal(self, error: ModelHTTPError) -> Failing:
        told = self.scrub(_told(error.body))
        line = f"{self.name}: HTTP status {error.status_code}{told and f', {told!r}'}"
        if error.provider_error_code in _FILTERED:
            return Failing(Trouble.REFUSED, line)
        if isinstance(error, ModelQuotaExceededError):
            exhausted = f"{line}: the account's quota is exhausted"
            return Failing(Trouble.RATE_LIMITED, exhausted, retry_after=error.retry_after)
        if error.status_code in (401, 403):
            return Failing(Trouble.UNAUTHORIZED, f"{line}: check {self.variable}")
        if error.status_code == 429:
            return Failing(Trouble.RATE_LIMITED, line, passing=True, retry_after=error.retry_after)
        return Failing(Trouble.UNAVAILABLE, line, passing=error.status_code >= 500, retry_after=error.retry_after)

    def _connection(self, error: ModelConnectionError) -> Failing:
        if any("complete message body" in str(cause) for cause in _causes(error)):
            return Failing(Trouble.CUT_OFF, f"{self.name}: the connection broke within the answer")
        deepest = [type(cause).__name__ for cause in _causes(error)][-1]
        return Failing(Trouble.UNAVAILABLE, f"{self.name}: no connection ({deepest})", passing=True)

    def _unexpected(self, error: Exception) -> Failing:
        invalid = next((cause for cause in _causes(error) if isinstance(cause, ValidationError)), None)
        if invalid is not None:
            return self._failing(Trouble.INVALID_ANSWER, f"the answer does not fit: {self.scrub(_misfits(invalid))}")
        cause = error.__cause__ if isinstance(error, ModelAPIError) else error
        if isinstance(cause, UnexpectedModelBehavior | ValueError) or isinstance(error, _ODD_ANSWER):
            return self._failing(Trouble.INVALID_ANSWER, f"the answer cannot be read ({type(cause).__name__})")
        return self._failing(Trouble.UNAVAILABLE, f"the call failed ({type(error).__name__})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(20):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _told(body: object) -> str:
    """Return the sentence in the body of a provider's refusal, wherever the provider puts it."""
    if isinstance(body, Mapping):
        fields = cast("Mapping[str, object]", body)
        return _told(fields.get("error", fields.get("message")))
    return body if isinstance(body, str) else ""


def _misfits(invalid: ValidationError) -> str:
    """Say where an answer does not fit and why, without what stands there: it may be made of the prompt."""
    errors = invalid.errors(include_url=False, include_input=False, include_context=False)[:3]
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or invalid.title}: {one['msg']}" for one in errors)
