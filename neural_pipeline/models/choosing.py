"""Which model is meant: from the words of a setting to something that answers or embeds.

Libraries of providers are imported here, when one is chosen, and nowhere earlier: that takes seconds.
"""

from dataclasses import dataclass
from typing import NamedTuple

from neural_pipeline.models.access import Access, ModelMisconfigured
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.models.language import LanguageModel
from neural_pipeline.models.offline import OfflineModel

OFFLINE = "offline"

_LANGUAGE_VARIABLES = "NEURAL_CLASSIFY_MODEL, NEURAL_SUMMARY_MODEL and NEURAL_EXTRACTION_MODEL"
_LANGUAGE_FORMS = "offline, openai:NAME or anthropic:NAME"
_EMBED_FORMS = "offline, openai:NAME or fastembed:NAME, with @DIMENSION where the model is not well known"
_MAX_NAME = 100
"""Characters of a name that rows can hold."""

_KNOWN_DIMENSIONS = {
    ("openai", "text-embedding-3-small"): 1536,
    ("openai", "text-embedding-3-large"): 3072,
    ("openai", "text-embedding-ada-002"): 1536,
    ("fastembed", "BAAI/bge-small-en-v1.5"): 384,
    ("fastembed", "BAAI/bge-base-en-v1.5"): 768,
    ("fastembed", "BAAI/bge-large-en-v1.5"): 1024,
}


@dataclass(frozen=True, slots=True)
class EmbedderChoice:
    """An embedding model and the length of its vectors; a provider `offline` hashes, whatever the model is called."""

    provider: str
    model: str
    dimension: int


class _Spec(NamedTuple):
    provider: str
    model: str


def language_model(spec: str, access: Access) -> LanguageModel:
    """Return the model that a setting names; raises ModelMisconfigured."""
    if spec.strip().lower() == OFFLINE:
        return OfflineModel()
    provider, model = _spec(spec, _LANGUAGE_VARIABLES, _LANGUAGE_FORMS)
    match provider:
        case "openai":
            return _openai_model(model, access)
        case "anthropic":
            return _anthropic_model(model, access)
        case _:
            raise ModelMisconfigured(f"no model provider {provider!r}: {_LANGUAGE_VARIABLES} take {_LANGUAGE_FORMS}")


def embedder_choice(spec: str, *, offline_dimension: int) -> EmbedderChoice:
    """Read NEURAL_EMBED_MODEL: `offline`, `provider:name` or `provider:name@dimension`. Raises ModelMisconfigured."""
    if spec.strip().lower() == OFFLINE:
        return EmbedderChoice(OFFLINE, "hashing", offline_dimension)
    provider, named = _spec(spec, "NEURAL_EMBED_MODEL", _EMBED_FORMS)
    model, _, told = named.partition("@")
    if told.isascii() and told.isdigit() and int(told) > 0:
        return EmbedderChoice(provider, model, int(told))
    known = _KNOWN_DIMENSIONS.get((provider, model))
    if known is None or told:
        raise ModelMisconfigured(f"NEURAL_EMBED_MODEL must tell the length of the vectors: {provider}:{model}@1024")
    return EmbedderChoice(provider, model, known)


def embedder(choice: EmbedderChoice, access: Access) -> Embedder:
    """Return the embedder that is chosen; raises ModelMisconfigured."""
    _check_name(f"{choice.provider}:{choice.model}@{choice.dimension}")
    if choice.dimension < 1:
        raise ModelMisconfigured(f"vectors need a length of at least 1, not {choice.dimension}")
    match choice.provider:
        case "offline":
            return HashingEmbedder(choice.dimension)
        case "openai":
            return _openai_embedder(choice, access)
        case "fastembed":
            return _local_embedder(choice)
        case other:
            raise ModelMisconfigured(f"no embedding provider {other[:40]!r}: NEURAL_EMBED_MODEL takes {_EMBED_FORMS}")


def _spec(spec: str, variable: str, forms: str) -> _Spec:
    provider, colon, model = (part.strip() for part in spec.partition(":"))
    if not (provider and colon and model):
        raise ModelMisconfigured(f"{spec[:60]!r} names no model: {variable} take {forms}")
    _check_name(spec)
    return _Spec(provider.lower(), model)


def _check_name(name: str) -> None:
    if len(name) > _MAX_NAME or not name.isprintable():
        raise ModelMisconfigured(f"{name[:40]!r}... is no name of a model: at most {_MAX_NAME} printable characters")


def _openai_model(model: str, access: Access) -> LanguageModel:
    key, base_url = access.key_of_openai(), access.address()
    from neural_pipeline.models.openai_provider import openai_model

    return openai_model(model, key=key, base_url=base_url, timeout=access.timeout, retry_after=access.retry_after)


def _anthropic_model(model: str, access: Access) -> LanguageModel:
    key = access.key_of_anthropic()
    from neural_pipeline.models.anthropic_provider import anthropic_model

    return anthropic_model(model, key=key, base_url=None, timeout=access.timeout, retry_after=access.retry_after)


def _openai_embedder(choice: EmbedderChoice, access: Access) -> Embedder:
    key, base_url = access.key_of_openai(), access.address()
    from neural_pipeline.models.embedding_provider import openai_embedder

    return openai_embedder(
        choice.model,
        dimension=choice.dimension,
        key=key,
        base_url=base_url,
        timeout=access.timeout,
        retry_after=access.retry_after,
    )


def _local_embedder(choice: EmbedderChoice) -> Embedder:
    from neural_pipeline.models.local_embedder import local_embedder

    return local_embedder(choice.model, dimension=choice.dimension)
