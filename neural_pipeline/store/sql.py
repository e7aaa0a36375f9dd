"""How rows travel: sets go in as one JSON parameter, come out as mappings, and text is made fit for Postgres."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, RowMapping, text

from neural_pipeline.sources.quick_json import Undecided, read_quickly

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def rows(connection: Connection, sql: str, **parameters: Any) -> Sequence[RowMapping]:
    """Run a statement and return its rows as mappings."""
    return connection.execute(text(sql), parameters).mappings().all()


def run(connection: Connection, sql: str, **parameters: Any) -> int:
    """Run a statement and return how many rows it touched."""
    return connection.execute(text(sql), parameters).rowcount


def scalar(connection: Connection, sql: str, **parameters: Any) -> Any:
    """Run a statement and return the first column of its first row, None without one."""
    return connection.execute(text(sql), parameters).scalar()


def record_set(records: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as the JSON array that `jsonb_to_recordset` unpacks: one parameter however many rows."""
    listed = list(records)
    try:
        return orjson.dumps(listed).decode()
    except TypeError:
        # A lone surrogate becomes its JSON escape, which Postgres refuses as it refuses NUL: an error of data, not of
        # code. The same goes for integers beyond 64 bits, which only the slow way can write.
        dumped = json.dumps(listed, ensure_ascii=False, separators=(",", ":"))
        return dumped.encode("utf-8", "backslashreplace").decode()


def read_json(stored: str | bytes) -> Any:
    """Return what a JSON column holds; integers of any length stay what they are."""
    body = stored if isinstance(stored, bytes) else stored.encode()
    try:
        return read_quickly(body)
    except Undecided:
        return json.loads(body)


def vector_text(vector: "NDArray[np.float32]") -> str:
    """Return a vector as pgvector reads it, to the last bit."""
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def storable(message: str, *, limit: int) -> str:
    """Return text that Postgres can hold: no NUL, no lone surrogate, at most `limit` characters."""
    return _UNSTORABLE.sub(REPLACEMENT, message)[:limit]
