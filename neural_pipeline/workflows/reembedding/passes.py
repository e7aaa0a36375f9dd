"""Embedding a workspace anew, batch by batch, until nothing of another model is left. No Dagster.

No transaction is open while the embedder works, and every batch is one of its own: broken off, the next call goes on.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from neural_pipeline.contracts.memory import ObservedText, views_of_text
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.store import reembedding
from neural_pipeline.store.database import wait_briefly
from neural_pipeline.store.exclusive import Taken, exclusively
from neural_pipeline.store.vectors import VIEWS, Embedded

_CLUSTERS = 200
"""Clusters whose centroids are made anew in one transaction."""


class ReembeddingRefused(Exception):
    """Nothing was done; the message says why."""


@dataclass(slots=True)
class Renewed:
    """What was made anew."""

    observations: int = 0
    clusters: int = 0


@dataclass(frozen=True, slots=True)
class Reembedding:
    """A workspace on its way to an embedder; `told` is called with what has been done so far, after every batch."""

    engine: Engine
    workspace_id: str
    embedder: Embedder
    batch: int
    told: Callable[[Renewed], None]

    def run(self) -> Renewed:
        """Embed all that is left, then what captures that began before the change have added; then the centroids.

        Raises ReembeddingRefused while somebody else does, and what the embedder raises.
        """
        done = Renewed()
        with self._alone():
            while self._next_batch(done) or self._next_clusters(done):
                self.told(done)
        return done

    def _next_batch(self, done: Renewed) -> bool:
        with self.engine.begin() as connection:
            texts = reembedding.texts_left(connection, self.workspace_id, model=self.embedder.name, limit=self.batch)
        if texts:
            embedded = self._embedded(texts)
            with self.engine.begin() as connection:
                wait_briefly(connection)
                done.observations += reembedding.replace_vectors(connection, self.workspace_id, embedded)
        return bool(texts)

    def _embedded(self, texts: Sequence[ObservedText]) -> list[Embedded]:
        vectors = self.embedder.embed([view for one in texts for view in views_of_text(one.title, one.content)])
        parts = vectors.reshape(len(texts), len(VIEWS), -1)
        return [
            Embedded(one.id, self.workspace_id, self.embedder.name, part)
            for one, part in zip(texts, parts, strict=True)
        ]

    def _next_clusters(self, done: Renewed) -> bool:
        with self.engine.begin() as connection:
            wait_briefly(connection)
            renewed = reembedding.renew_centroids(
                connection, self.workspace_id, model=self.embedder.name, limit=_CLUSTERS
            )
        done.clusters += renewed
        return renewed > 0

    @contextmanager
    def _alone(self) -> Generator[None]:
        lock = "hashtext('neural.reembed'), hashtext(:workspace_id)"
        try:
            with exclusively(self.engine, lock, workspace_id=self.workspace_id):
                yield
        except Taken:
            problem = f"workspace {self.workspace_id} is being embedded anew by another process"
            raise ReembeddingRefused(problem) from None
