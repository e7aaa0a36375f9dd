"""The database and the embedder as ops and sensors see them. Thin: what they do stands in `store` and `models`."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property

import dagster as dg
from sqlalchemy import Connection, Engine

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.database import engine_for


class Pipeline(dg.ConfigurableResource["Pipeline"]):
    """The settings of this process and the database they name; connects on first use."""

    @cached_property
    def settings(self) -> Settings:
        """The settings as the environment has them."""
        return Settings.load()

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        return engine_for(resolve_database(self.settings).url)

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Open a transaction: committed at the end, rolled back on an error."""
        with self.engine.begin() as connection:
            yield connection

    @property
    def limits(self) -> Limits:
        """The bounds of batches."""
        settings = self.settings
        return Limits(settings.capture_max_batch, settings.capture_max_batch_bytes, settings.max_open_batches)

    def embedder(self) -> Embedder:
        """Return the embedder of observations: offline, without a model."""
        return HashingEmbedder(self.settings.embedding_dimension)
