"""The models that this installation's settings and a workspace's settings name, one of each per process."""

from functools import lru_cache
from typing import Literal

from neural_pipeline.contracts.integrations import EmbeddingSettings
from neural_pipeline.models.access import Access
from neural_pipeline.models.choosing import OFFLINE, EmbedderChoice, embedder, embedder_choice, language_model
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.language import LanguageModel
from neural_pipeline.settings import Settings

Asking = Literal["classify", "summary", "extraction"]
"""What a language model is asked for."""

_NOTHING_CHOSEN = ("cohere", "embed-english-v3.0")
"""What the reference's settings say where nobody chose: then this installation's default counts."""


def model_named(settings: Settings, asking: Asking) -> str:
    """Return the setting that names a language model."""
    return str(getattr(settings, f"{asking}_model"))


def is_offline(settings: Settings, asking: Asking) -> bool:
    """Tell whether rules answer, without reaching for the library of a provider."""
    return model_named(settings, asking).strip().lower() == OFFLINE


def is_embedding_offline(settings: Settings) -> bool:
    """Tell whether the default embedder is no model."""
    return settings.embed_model.strip().lower() == OFFLINE


def configured_language_model(settings: Settings, asking: Asking) -> LanguageModel:
    """Return the model that is asked; raises ModelMisconfigured."""
    return _language_model(model_named(settings, asking), _access(settings))


def configured_embedder(settings: Settings, chosen: EmbeddingSettings | None = None) -> Embedder:
    """Return the embedder that a workspace has chosen, or the default; raises ModelMisconfigured."""
    return _embedder(chosen_embedder(settings, chosen), _access(settings))


def chosen_embedder(settings: Settings, chosen: EmbeddingSettings | None) -> EmbedderChoice:
    """Return what a workspace has chosen, or the default; raises ModelMisconfigured."""
    if chosen is None or (chosen.embedding_provider, chosen.embedding_model) == _NOTHING_CHOSEN:
        return embedder_choice(settings.embed_model, offline_dimension=settings.embedding_dimension)
    return EmbedderChoice(chosen.embedding_provider, chosen.embedding_model, chosen.embedding_dim)


# They hold connections, so there is one of each per process.
_language_model = lru_cache(maxsize=16)(language_model)
_embedder = lru_cache(maxsize=16)(embedder)


def _access(settings: Settings) -> Access:
    return Access(
        openai_key=settings.openai_api_key,
        anthropic_key=settings.anthropic_api_key,
        base_url=settings.model_base_url,
        timeout=settings.model_timeout_seconds,
        retry_after=settings.model_retry_after_seconds,
    )
