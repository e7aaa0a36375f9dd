"""Anthropic: the client, and the language model over messages.

Importing this imports Anthropic's library.
"""

import anthropic
from pydantic import SecretStr
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.settings import ModelSettings

from neural_pipeline.models.access import check_route
from neural_pipeline.models.calling import Caller
from neural_pipeline.models.provider import MAX_OUTPUT_TOKENS, TEMPERATURE, ProviderModel
from neural_pipeline.models.scrubbing import Scrubber, hush_libraries
from neural_pipeline.models.troubles import Explainer

KEY_VARIABLE = "ANTHROPIC_API_KEY"


def anthropic_model(
    model: str, *, key: SecretStr, base_url: str | None, timeout: float, retry_after: float
) -> ProviderModel:
    """Return a language model; an address of one's own is for gateways and tests."""
    hush_libraries()
    client = anthropic.AsyncAnthropic(
        api_key=key.get_secret_value(),
        base_url=base_url,
        timeout=timeout,
        max_retries=0,
        http_client=anthropic.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False),
    )
    if base_url is None:
        check_route(str(client.base_url), key=KEY_VARIABLE, address="ANTHROPIC_BASE_URL")
    name = f"anthropic:{model}"
    explain = Explainer(name, KEY_VARIABLE, Scrubber(key))
    caller = Caller(explain, name=name, timeout=timeout, retry_after=retry_after, release=client.close)
    messages = AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))
    takes_none = messages.profile.get("anthropic_disallows_sampling_settings", False)
    settings = ModelSettings(max_tokens=MAX_OUTPUT_TOKENS)
    return ProviderModel(name, messages, caller, settings if takes_none else {**settings, "temperature": TEMPERATURE})
