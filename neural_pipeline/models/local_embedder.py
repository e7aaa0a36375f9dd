"""Embedding models that run in this process, through fastembed (an optional extra).

fastembed is imported when such a model is chosen; the weights are fetched and loaded when the first text is embedded.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from neural_pipeline.models.access import ModelMisconfigured
from neural_pipeline.models.language import ModelFailed, Trouble
from neural_pipeline.models.unit_vectors import NO_TEXT, unit_vectors


class _Loaded(Protocol):
    def embed(self, documents: Sequence[str]) -> Iterable[NDArray[np.float32]]: ...


class _TextEmbedding(Protocol):
    """What is used of fastembed.TextEmbedding: the package is not there to be checked against."""

    def __call__(self, model_name: str) -> _Loaded: ...

    def list_supported_models(self) -> Sequence[Mapping[str, object]]: ...


class LocalEmbedder:
    """Embeds in this process; one model in memory, whoever calls."""

    def __init__(self, model: str, *, dimension: int, load: _TextEmbedding) -> None:
        self._model, self._dimension, self._load = model, dimension, load
        self._loaded: _Loaded | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Name the library, the model and the dimension."""
        return f"fastembed:{self._model}@{self._dimension}"

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, shape (n, dimension); raises ModelFailed."""
        rows = self._rows([text if text.strip() else NO_TEXT for text in texts])
        return unit_vectors(rows, count=len(texts), dimension=self._dimension, name=self.name)

    def _rows(self, texts: Sequence[str]) -> Sequence[NDArray[np.float32]]:
        if not texts:
            return ()
        model = self._ready()
        try:
            return list(model.embed(texts))
        except Exception as error:
            raise self._failed("the model failed", error) from error

    def _ready(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._loading()
            return self._loaded

    def _loading(self) -> _Loaded:
        try:
            return self._load(model_name=self._model)
        except Exception as error:
            raise self._failed("the model cannot be loaded", error) from error

    def _failed(self, what: str, error: Exception) -> ModelFailed:
        return ModelFailed(Trouble.UNAVAILABLE, f"{self.name}: {what} ({type(error).__name__})")


def local_embedder(model: str, *, dimension: int) -> LocalEmbedder:
    """Return an embedder of fastembed; raises ModelMisconfigured where it, the model or the dimension is wrong."""
    text_embedding = _fastembed()
    dimensions = {str(known["model"]).lower(): known["dim"] for known in text_embedding.list_supported_models()}
    found = dimensions.get(model.lower())
    if found is None:
        raise ModelMisconfigured(f"fastembed knows no embedding model {model!r}: set another in NEURAL_EMBED_MODEL")
    if found != dimension:
        raise ModelMisconfigured(f"fastembed:{model} gives vectors of {found} numbers, {dimension} are configured")
    return LocalEmbedder(model, dimension=dimension, load=text_embedding)


def _fastembed() -> _TextEmbedding:
    try:
        module = importlib.import_module("fastembed")
    except ImportError as missing:
        raise ModelMisconfigured(
            "fastembed: models need fastembed, which is not installed: pip install 'neural-pipeline[fastembed]'"
        ) from missing
    return cast("_TextEmbedding", module.TextEmbedding)
