"""Language models of providers, through pydantic-ai; which providers there are is told by the modules beside this.

Importing this takes seconds; `choosing` does it only where such a model is chosen.
"""

from typing import cast

from pydantic import BaseModel
from pydantic_ai import Agent, ToolOutput, capture_run_messages
from pydantic_ai.exceptions import ModelHTTPError, OutputTokenLimitExceeded, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RunUsage

from neural_pipeline.models.calling import Caller
from neural_pipeline.models.language import Answer, Question, Shape, Usage
from neural_pipeline.models.troubles import Failing

MAX_OUTPUT_TOKENS = 4_000
"""The longest answer, fifteen entities with their reasons, is a quarter of that; what a model thinks before it answers
counts too. Budgets reckon with it, and with one request that is paid: what does not fit is not asked for once more.
"""

TEMPERATURE = 0.2
"""Spec, 3.6, 4.4. Models that reason take none."""

_DISPENSABLE = {"temperature": "temperature", "openai_reasoning_effort": "reasoning_effort"}
"""Settings that some models refuse, and the word by which a refusal names them."""


class ProviderModel:
    """A model of a provider. Safe to call from several threads at once; close it when nobody calls it any more."""

    def __init__(self, name: str, model: Model, caller: Caller, settings: ModelSettings) -> None:
        self._name, self._model, self._caller, self._settings = name, model, caller, settings
        self._agents: dict[type[BaseModel], Agent[None, BaseModel]] = {}

    @property
    def name(self) -> str:
        """Name the provider and the model."""
        return self._name

    @property
    def is_offline(self) -> bool:
        """A provider answers, for money."""
        return False

    def answer(self, question: Question[Shape]) -> Answer[Shape]:
        """Answer a question; raises ModelFailed."""
        spent = RunUsage()
        answer = self._caller.call(lambda: self._ask(question, spent))
        usage = Usage(spent.input_tokens, spent.output_tokens)
        if isinstance(answer, Failing):
            raise answer.with_usage(usage)
        return Answer(answer, self._name, usage)

    def close(self) -> None:
        """End what is going on, and the connections."""
        self._caller.close()

    async def _ask(self, question: Question[Shape], spent: RunUsage) -> Shape:
        """Ask; a model that refuses one of its settings is asked without it, now and from now on: that costs nothing.

        No name tells for sure which settings a model takes: behind a gateway it may have any.
        """
        settings = self._settings
        try:
            return await self._ask_with(settings, question, spent)
        except ModelHTTPError as refusal:
            refused = _settings_refused(refusal) & settings.keys()
            if not refused:
                raise
        kept = {name: value for name, value in self._settings.items() if name not in refused}
        self._settings = cast("ModelSettings", kept)
        return await self._ask_with(self._settings, question, spent)

    async def _ask_with(self, settings: ModelSettings, question: Question[Shape], spent: RunUsage) -> Shape:
        agent, prompt = self._agent_for(question.shape), question.prompt
        with capture_run_messages() as messages:
            try:
                run = await agent.run(
                    prompt.data,
                    instructions=prompt.instructions,
                    model_settings=settings,
                    usage=spent,
                    infer_name=False,
                )
            except UnexpectedModelBehavior as error:
                if _was_cut_off(messages):
                    raise OutputTokenLimitExceeded("the answer was cut off") from error
                raise
        return question.shape.model_validate(run.output)

    def _agent_for(self, shape: type[BaseModel]) -> Agent[None, BaseModel]:
        if shape not in self._agents:
            agent = Agent(
                self._model,
                output_type=ToolOutput(shape, name="answer"),
                retries={"tools": 0, "output": 0},
            )
            agent.instrument = False
            self._agents[shape] = agent
        return self._agents[shape]


def _settings_refused(refusal: ModelHTTPError) -> set[str]:
    told = str(refusal.body).lower() if refusal.status_code == 400 else ""
    return {name for name, word in _DISPENSABLE.items() if word in told}


def _was_cut_off(messages: list[ModelMessage]) -> bool:
    """Tell whether the last answer was: pydantic-ai itself sees that only of some answers."""
    last = next((message for message in reversed(messages) if isinstance(message, ModelResponse)), None)
    return last is not None and last.finish_reason == "length"
