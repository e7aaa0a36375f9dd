"""Writing vectors by binary COPY: formatting 768 numbers per observation as text would cost more than storing them.

All are written to the tail. What search needs of them is moved into the indexed part by `store.vector_index`.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
import psycopg2
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from neural_pipeline.contracts.memory import NewObservation, Vector
from neural_pipeline.store.sql import run

VIEWS = ("title", "content", "summary")
"""The rows of an observation's vectors, in order."""

SEARCHED = "summary"
"""The view that search compares: title and beginning of the body in one. The schema's tail index names it too."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The vectors of one stored observation, shape (3, dimension), and the model that made them."""

    observation_id: int
    workspace_id: str
    model: str
    vectors: Vector


_HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_COPY = (
    "copy observation_vectors (observation_id, view, workspace_id, model, embedding) from stdin with (format binary)"
)


def keep_vectors(connection: Connection, observations: Sequence[tuple[int, NewObservation]]) -> None:
    """Store the three vectors of each observation, given with its id."""
    write_vectors(
        connection, (Embedded(id_, one.workspace_id, one.embedded_by, one.vectors) for id_, one in observations)
    )


def write_vectors(connection: Connection, embedded: Iterable[Embedded]) -> None:
    """Add the three vectors of each observation to the tail."""
    parts = [_HEADER, *(row for one in embedded for row in _rows_of(one)), _TRAILER]
    _copy(connection, BytesIO(b"".join(parts)))


_ALONE = "select pg_advisory_xact_lock(hashtext('neural.vectors'), hashtext(:workspace_id))"


def hold_vectors(connection: Connection, workspace_id: str) -> None:
    """Be the only one to move or replace a workspace's vectors until the transaction ends; captures do neither."""
    run(connection, _ALONE, workspace_id=workspace_id)


def _copy(connection: Connection, buffer: BytesIO) -> None:
    """Copy past SQLAlchemy, but raise its errors: callers tell guilty data from a lost connection by them."""
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            cursor.copy_expert(_COPY, buffer)
    except psycopg2.Error as error:
        raise DBAPIError.instance(_COPY, None, error, psycopg2.Error, hide_parameters=True) from error


def _rows_of(one: Embedded) -> Iterator[bytes]:
    """The rows of an observation in Postgres's binary COPY format: a count of fields, then each with its length."""
    beginning = struct.pack(">hiq", 5, 8, one.observation_id)
    packed = np.asarray(one.vectors, dtype=">f4")
    for view, vector in zip(VIEWS, packed, strict=True):
        yield beginning + _words(view, one.workspace_id, one.model, len(vector)) + vector.tobytes()


@lru_cache(maxsize=1024)
def _words(view: str, workspace_id: str, model: str, dimension: int) -> bytes:
    """What stands between id and numbers: three texts, then pgvector's head, a dimension and a reserved zero."""
    texts = (text.encode() for text in (view, workspace_id, model))
    return b"".join(struct.pack(">i", len(text)) + text for text in texts) + struct.pack(
        ">ihh", 4 + 4 * dimension, dimension, 0
    )
