"""OpenAI, and any server that speaks its protocol: the client, and the language model over chat completions.

Importing this imports OpenAI's library.
"""

import openai
from pydantic import SecretStr
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIChatModelSettings
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider

from neural_pipeline.models.access import check_route
from neural_pipeline.models.calling import Caller
from neural_pipeline.models.provider import MAX_OUTPUT_TOKENS, TEMPERATURE, ProviderModel
from neural_pipeline.models.scrubbing import Scrubber, hush_libraries
from neural_pipeline.models.troubles import Explainer

KEY_VARIABLE = "OPENAI_API_KEY"


def openai_provider(key: SecretStr, *, base_url: str | None, timeout: float) -> OpenAIProvider:
    """Return the client: it neither tries again nor follows a redirect, and its library logs no requests."""
    hush_libraries()
    client = openai.AsyncOpenAI(
        api_key=key.get_secret_value(),
        base_url=base_url,
        timeout=timeout,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False),
    )
    if base_url is None:
        check_route(str(client.base_url), key=KEY_VARIABLE, address="OPENAI_BASE_URL")
    return OpenAIProvider(openai_client=client)


def openai_model(
    model: str, *, key: SecretStr, base_url: str | None, timeout: float, retry_after: float
) -> ProviderModel:
    """Return a language model; gateways put their own names before that of a model, with a slash."""
    provider = openai_provider(key, base_url=base_url, timeout=timeout)
    name = f"openai:{model}"
    explain = Explainer(name, KEY_VARIABLE, Scrubber(key))
    caller = Caller(explain, name=name, timeout=timeout, retry_after=retry_after, release=provider.client.close)
    chat = OpenAIChatModel(model, provider=provider, profile=provider.model_profile(model.rpartition("/")[2]))
    return ProviderModel(name, chat, caller, _settings(chat.profile))


def _settings(profile: OpenAIModelProfile) -> OpenAIChatModelSettings:
    """Return what a model is asked with; what it thinks is paid, and none of the questions takes much thought."""
    settings = OpenAIChatModelSettings(max_tokens=MAX_OUTPUT_TOKENS)
    if not profile.get("openai_supports_reasoning", False):
        settings["temperature"] = TEMPERATURE
    elif "low" in profile.get("openai_reasoning_efforts", ()):
        settings["openai_reasoning_effort"] = "low"
    return settings
