"""OpenAI, and any server that speaks its protocol: the client, and the language model over chat completions.

Importing this imports OpenAI's library.
"""

import openai
from pydantic import SecretStr
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

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
    return OpenAIProvider(openai_client=client)


def openai_model(
    model: str, *, key: SecretStr, base_url: str | None, timeout: float, retry_after: float
) -> ProviderModel:
    """Return a language model."""
    provider = openai_provider(key, base_url=base_url, timeout=timeout)
    name = f"openai:{model}"
    explain = Explainer(name, KEY_VARIABLE, Scrubber(key))
    caller = Caller(explain, name=name, timeout=timeout, retry_after=retry_after, release=provider.client.close)
    chat = OpenAIChatModel(model, provider=provider)
    reasons = chat.profile.get("openai_supports_reasoning", False)
    settings = ModelSettings(max_tokens=MAX_OUTPUT_TOKENS)
    return ProviderModel(name, chat, caller, settings if reasons else {**settings, "temperature": TEMPERATURE})
