"""The embed step with a provider's embedder: guilty texts fail alone, a provider at fault leaves the rest waiting."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from neural_pipeline.contracts.integrations import EmbeddingSettings
from neural_pipeline.models.language import ModelFailed, Trouble, Usage
from neural_pipeline.workflows.batch_work.recorded_embedding import RecordedEmbedder, recorded
from neural_pipeline.workflows.observation_capture.embedding import Embeddings, embed_by_workspace
from neural_pipeline.workflows.observation_capture.work import CaptureEvent
from neural_pipeline_tests.building import SETTINGS, source_event

FOR_EVER = float("inf")
DIMENSION = 8
POISON = "poison"


@dataclass(frozen=True)
class Vectors:
    vectors: NDArray[np.float32]
    usage: Usage


@dataclass
class Provider:
    """Embeds for tokens; `fails` says why a call fails, None if it does not."""

    fails: Callable[[Sequence[str]], Exception | None] = lambda texts: None
    asked: list[int] = field(default_factory=list[int])
    tokens_per_text: int = 1
    name: str = "made-up:vectors@8"
    dimension: int = DIMENSION

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.embed_with_usage(texts).vectors

    def embed_with_usage(self, texts: Sequence[str]) -> Vectors:
        self.asked.append(len(texts))
        if error := self.fails(texts):
            raise error
        return Vectors(
            np.eye(1, DIMENSION, dtype=np.float32).repeat(len(texts), axis=0),
            Usage(self.tokens_per_text * len(texts), 0),
        )


def failing(trouble: Trouble) -> Callable[[Sequence[str]], Exception | None]:
    return lambda texts: ModelFailed(trouble, "the provider said no")


def poisoned(texts: Sequence[str]) -> Exception | None:
    is_guilty = any(POISON in one for one in texts)
    return ModelFailed(Trouble.UNAVAILABLE, "400: too long for the model") if is_guilty else None


def events(count: int, *, poison: Sequence[int] = ()) -> list[CaptureEvent]:
    return [
        CaptureEvent(
            number, "ws_test", "org", None, source_event(f"e{number}", title=POISON if number in poison else "t")
        )
        for number in range(count)
    ]


def embedded(
    engine: Engine,
    provider: Provider,
    work: Sequence[CaptureEvent],
    *,
    deadline: float = FOR_EVER,
    budget: int | None = None,
) -> tuple[Embeddings, RecordedEmbedder]:
    embedder = recorded(
        provider, engine, workspace_id="ws_test", function_id="neural.observation.capture", budget=budget
    )
    assert isinstance(embedder, RecordedEmbedder)

    def chosen(workspace_id: str, settings: EmbeddingSettings) -> RecordedEmbedder:
        return embedder

    return embed_by_workspace(work, {"ws_test": SETTINGS}, chosen, deadline=deadline), embedder


def calls(engine: Engine) -> list[tuple[str, int | None]]:
    with engine.begin() as connection:
        rows = connection.execute(text("select outcome, input_tokens from model_calls order by id"))
        return [(row.outcome, row.input_tokens) for row in rows]


@pytest.mark.usefixtures("workspace")
def test_calls_hold_96_texts_and_each_is_recorded_with_its_tokens(engine: Engine):
    provider = Provider()
    step, embedder = embedded(engine, provider, events(40))
    assert set(step.found) == set(range(40))
    assert {vectors.shape for vectors in step.found.values()} == {(3, DIMENSION)}
    assert set(step.embedded_by.values()) == {provider.name}
    assert provider.asked == [96, 24]
    assert calls(engine) == [("answered", 96), ("answered", 24)]
    assert (embedder.calls, embedder.tokens) == (2, 120)


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("poison", [(0,), (17,), (3, 31)])
def test_a_text_that_the_provider_refuses_fails_alone(engine: Engine, poison: tuple[int, ...]):
    step, _ = embedded(engine, Provider(poisoned), events(70, poison=poison))
    assert set(step.failures) == set(poison)
    assert set(step.found) == set(range(70)) - set(poison)
    assert step.waiting == {}
    assert "too long" in step.failures[poison[0]].message


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("trouble", [Trouble.RATE_LIMITED, Trouble.TIMED_OUT, Trouble.UNAUTHORIZED])
def test_a_provider_at_fault_is_asked_once_and_the_rest_waits(engine: Engine, trouble: Trouble):
    provider = Provider(failing(trouble))
    step, _ = embedded(engine, provider, events(100))
    assert provider.asked == [96]
    assert set(step.failures) == set(range(32))
    assert step.waiting == dict.fromkeys(range(32, 100), trouble)
    assert {failure.error_class for failure in step.failures.values()} == {f"ModelFailed: {trouble.value}"}


@pytest.mark.usefixtures("workspace")
def test_a_provider_that_breaks_on_everything_is_soon_left_alone(engine: Engine):
    provider = Provider(failing(Trouble.UNAVAILABLE))
    step, _ = embedded(engine, provider, events(1000))
    assert len(provider.asked) < 12
    assert len(step.failures) == 3
    assert len(step.waiting) == 997


@pytest.mark.usefixtures("workspace")
def test_an_exhausted_budget_lets_events_wait_and_counts_no_attempt(engine: Engine):
    provider = Provider(tokens_per_text=20)
    step, _ = embedded(engine, provider, events(64), budget=2000)
    assert provider.asked == [96]
    assert set(step.found) == set(range(32))
    assert step.failures == {}
    assert step.waiting == dict.fromkeys(range(32, 64), Trouble.BUDGET_EXHAUSTED)


@pytest.mark.usefixtures("workspace")
def test_after_the_deadline_no_call_is_begun_but_the_first(engine: Engine):
    provider = Provider()
    step, _ = embedded(engine, provider, events(64), deadline=time.monotonic() - 1)
    assert provider.asked == [96]
    assert step.waiting == dict.fromkeys(range(32, 64))


@pytest.mark.usefixtures("workspace")
def test_vectors_in_hand_are_not_lost_over_a_record_that_cannot_be_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    from neural_pipeline.workflows.batch_work import call_records, recorded_embedding

    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("update", None, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(recorded_embedding.model_calls, "finish", refuse)
    monkeypatch.setattr(call_records, "_PATIENCE", ())
    provider = Provider()
    step, embedder = embedded(engine, provider, events(4))
    assert (set(step.found), embedder.unrecorded, len(provider.asked)) == ({0, 1, 2, 3}, 1, 1)


@pytest.mark.usefixtures("workspace")
def test_a_database_that_is_gone_blames_no_event(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    from neural_pipeline.workflows.batch_work import call_records, recorded_embedding

    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("insert", None, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(recorded_embedding.model_calls, "reserve", refuse)
    monkeypatch.setattr(call_records, "_PATIENCE", ())
    provider = Provider()
    with pytest.raises(OperationalError):
        embedded(engine, provider, events(4))
    assert provider.asked == []
