"""Embedding models of OpenAI and of servers that speak its protocol, through pydantic-ai.

Importing this takes seconds; `choosing` does it only where such a model is chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr
from pydantic_ai.embeddings import EmbeddingResult, EmbeddingSettings
from pydantic_ai.embeddings.base import EmbeddingModel
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel

from neural_pipeline.models.calling import Caller
from neural_pipeline.models.language import ModelFailed, Usage
from neural_pipeline.models.openai_provider import KEY_VARIABLE, openai_provider
from neural_pipeline.models.scrubbing import Scrubber
from neural_pipeline.models.troubles import Explainer, Failing
from neural_pipeline.models.unit_vectors import NO_TEXT, unit_vectors

_MAX_TEXTS = 96
_MAX_BYTES = 250_000
"""OpenAI takes 300,000 tokens in a call; no token is shorter than a byte."""

_MAX_TEXT_BYTES = 8_000
"""OpenAI takes 8,192 tokens in a text, and refuses the whole call for one longer text."""

_SHORTENING = "text-embedding-3"
"""Models of these names can be asked for shorter vectors; others refuse to be asked."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Unit vectors, shape (n, dimension), and the tokens that they took."""

    vectors: NDArray[np.float32]
    usage: Usage


class ProviderEmbedder:
    """Embeds through a provider. Safe to call from several threads at once; close it in the end."""

    def __init__(self, name: str, model: EmbeddingModel, caller: Caller, *, dimension: int, shortens: bool) -> None:
        self._name, self._model, self._caller = name, model, caller
        self._dimension = dimension
        self._settings = EmbeddingSettings(dimensions=dimension) if shortens else EmbeddingSettings()

    @property
    def name(self) -> str:
        """Name the provider, the model and the dimension."""
        return self._name

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, shape (n, dimension); raises ModelFailed."""
        return self.embed_with_usage(texts).vectors

    def embed_with_usage(self, texts: Sequence[str]) -> Embedded:
        """Embed texts and tell the tokens; raises ModelFailed, which tells the tokens of the calls that went well."""
        parts, tokens = [np.empty((0, self._dimension), np.float32)], 0
        for batch in _batches([_sendable(text) for text in texts]):
            result = self._caller.call(lambda batch=batch: self._ask(batch))
            if isinstance(result, Failing):
                raise result.with_usage(Usage(tokens))
            tokens += result.usage.input_tokens
            parts.append(self._checked(result, len(batch), tokens))
        return Embedded(np.concatenate(parts), Usage(tokens))

    def close(self) -> None:
        """End what is going on, and the connections."""
        self._caller.close()

    async def _ask(self, batch: Sequence[str]) -> EmbeddingResult:
        return await self._model.embed(batch, input_type="document", settings=self._settings)

    def _checked(self, result: EmbeddingResult, count: int, tokens: int) -> NDArray[np.float32]:
        try:
            return unit_vectors(result.embeddings, count=count, dimension=self._dimension, name=self._name)
        except ModelFailed as unusable:
            raise ModelFailed(unusable.trouble, str(unusable), usage=Usage(tokens)) from None


def openai_embedder(
    model: str, *, dimension: int, key: SecretStr, base_url: str | None, timeout: float, retry_after: float
) -> ProviderEmbedder:
    """Return an embedding model of OpenAI or of a server that speaks its protocol."""
    provider = openai_provider(key, base_url=base_url, timeout=timeout)
    name = f"openai:{model}@{dimension}"
    explain = Explainer(name, KEY_VARIABLE, Scrubber(key))
    caller = Caller(explain, name=name, timeout=timeout, retry_after=retry_after, release=provider.client.close)
    return ProviderEmbedder(
        name,
        OpenAIEmbeddingModel(model, provider=provider),
        caller,
        dimension=dimension,
        shortens=model.startswith(_SHORTENING),
    )


def _sendable(text: str) -> str:
    cut = text.encode(errors="replace")[:_MAX_TEXT_BYTES].decode(errors="ignore")
    return cut if cut.strip() else NO_TEXT


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode())
        if batch and (len(batch) == _MAX_TEXTS or size + length > _MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    if batch:
        yield batch
