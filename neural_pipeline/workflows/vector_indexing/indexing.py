"""One pass of indexing from beginning to end: what is moved, and that every model has its index. No Dagster.

Whatever it is killed at, the next pass goes on: moves are small transactions, an unfinished index is marked invalid.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from sqlalchemy import Connection, Engine

from neural_pipeline.store import vector_index
from neural_pipeline.store.database import wait_briefly
from neural_pipeline.store.exclusive import Taken, exclusively
from neural_pipeline.store.revision import SCHEMA_REVISION, current_revision
from neural_pipeline.store.vector_index import Model, Tail

_LOCK = "hashtext('neural.vector_indexing'), 0"

PAGE = 1_000
"""Vectors moved in one transaction."""

INDEXED_PAGE = 100
"""The same where the model has an index: it takes milliseconds for each, and a capture may wait for the transaction."""


class IndexingRefused(Exception):
    """Nothing was moved; the message says why."""


@dataclass(slots=True)
class Indexed:
    """What a pass has done, by model, and the indexes it has made, made anew and removed."""

    moved: dict[str, int] = field(default_factory=dict[str, int])
    left: int = 0
    made: list[str] = field(default_factory=list[str])
    mended: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class VectorIndexing:
    """The vectors of one database: models with more than `tail` vectors outside the index are worked on.

    No page is begun later than `seconds` after the beginning; an index that has been begun is finished.
    """

    engine: Engine
    tail: int
    seconds: float

    def run(self) -> Indexed:
        """Move what has waited long enough, and see to the indexes; raises IndexingRefused while somebody else does."""
        done = Indexed()
        until = monotonic() + self.seconds
        with self._alone() as connection:
            indexed = {model.name for model in vector_index.indexed_models(connection)}
            for tail in self._long_tails(connection):
                page = INDEXED_PAGE if tail.model in indexed else PAGE
                self._move(tail, done, page=page, until=until)
            if done.moved:
                vector_index.renew_statistics(connection)
            _see_to_indexes(connection, done)
            done.left = sum(tail.vectors for tail in vector_index.tails(connection))
        return done

    def has_work(self) -> bool:
        """Tell whether a run would find anything to do."""
        with self.engine.begin() as connection:
            return bool(self._long_tails(connection)) or _lacks_indexes(connection)

    def _long_tails(self, connection: Connection) -> list[Tail]:
        """Return the tails of models that have waited long enough: a model's index serves all its workspaces."""
        tails = vector_index.tails(connection)
        waiting = {model: sum(one.vectors for one in tails if one.model == model) for model in {t.model for t in tails}}
        return [one for one in tails if waiting[one.model] > self.tail]

    def _move(self, tail: Tail, done: Indexed, *, page: int, until: float) -> None:
        moved = page
        while moved == page and monotonic() < until:
            with self.engine.begin() as connection:
                wait_briefly(connection)
                moved = vector_index.move(connection, tail, limit=page)
            done.moved[tail.model] = done.moved.get(tail.model, 0) + moved

    @contextmanager
    def _alone(self) -> Generator[Connection]:
        """Yield the connection that holds the lock. Indexes are made on it: should we die, it is held till then."""
        try:
            with exclusively(self.engine, _LOCK) as connection:
                if current_revision(connection) != SCHEMA_REVISION:
                    raise IndexingRefused(f"the database is not at revision {SCHEMA_REVISION}: nothing was moved")
                yield connection
        except Taken:
            raise IndexingRefused("another run is indexing vectors on this database: nothing was moved") from None


def _lacks_indexes(connection: Connection) -> bool:
    if not vector_index.can_index(connection):
        return False
    models = vector_index.indexed_models(connection)
    states = (vector_index.index_state(connection, model) for model in models if vector_index.is_indexable(model))
    return bool(vector_index.stray_indexes(connection, models)) or any(state != "valid" for state in states)


def _see_to_indexes(connection: Connection, done: Indexed) -> None:
    if not vector_index.can_index(connection):
        done.notes.append("no index: approximate search needs pgvector 0.8 or newer; vectors are compared one by one")
        return
    models = vector_index.indexed_models(connection)
    for name in vector_index.stray_indexes(connection, models):
        vector_index.drop_index(connection, name)
        done.removed.append(name)
    for model in models:
        _see_to_index(connection, model, done)


def _see_to_index(connection: Connection, model: Model, done: Indexed) -> None:
    if not vector_index.is_indexable(model):
        done.notes.append(f"no index for {model.name}: {model.dimension} dimensions are too many for one")
        return
    state = vector_index.index_state(connection, model)
    if state == "invalid":
        vector_index.drop_index(connection, vector_index.index_name(model))
    if state != "valid":
        vector_index.create_index(connection, model)
        (done.mended if state == "invalid" else done.made).append(model.name)
