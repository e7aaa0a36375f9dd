"""Having every statement explained as it is run, with what it really touched: for tests of plans, not of times."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event

_EXPLAINABLE = ("select", "insert", "update", "delete", "with", "--")
Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explained:
    """A statement as the server got it and the nodes of its plan, as it went once before it was run for good."""

    statement: str
    nodes: list[Node]

    @property
    def buffers(self) -> int:
        """The blocks touched. What a statement writes beside what it returns is no part of the uppermost node."""
        beside = [node for node in self.nodes if node["Node Type"] == "ModifyTable" and "Subplan Name" in node]
        return sum(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in [self.nodes[0], *beside])

    def rows_of(self, tables: set[str]) -> int:
        """Return how many rows of tables were looked at, those that did not match included."""
        scans = [node for node in self.nodes if node.get("Relation Name") in tables and "Alias" in node]
        return round(sum(node["Actual Loops"] * _rows(node) for node in scans if node["Node Type"] != "ModifyTable"))

    def reads_whole(self, tables: set[str], *, partial: set[str]) -> list[str]:
        """Return of which tables it reads everything, and how; a partial index is not everything."""
        return [
            f"{node['Node Type']} on {node['Relation Name']}: {self}"
            for node in self.nodes
            if node.get("Relation Name") in tables
            and node["Node Type"] != "ModifyTable"
            and not node.keys() & {"Index Cond", "Recheck Cond", "TID Cond"}
            and node.get("Index Name") not in partial
        ]

    def indexes_on(self, tables: set[str]) -> set[str]:
        """Return the indexes by which tables are read."""
        heaps = {
            node["Index Name"] for node in self.nodes if node.get("Relation Name") in tables and "Index Name" in node
        }
        bitmaps = {
            child["Index Name"]
            for node in self.nodes
            if node.get("Relation Name") in tables and node["Node Type"] == "Bitmap Heap Scan"
            for child in walk(node)
            if "Index Name" in child
        }
        return heaps | bitmaps

    def __str__(self) -> str:
        """Return the beginning of the statement on one line."""
        return " ".join(self.statement.split())[:110]


@dataclass(slots=True)
class Log:
    """What has been explained, by step; `step` names what comes next."""

    step: str = ""
    seen: dict[str, list[Explained]] = field(default_factory=dict[str, list[Explained]])

    def of(self, step: str) -> list[Explained]:
        """Return the statements of a step."""
        return self.seen.get(step, [])

    def of_all_steps(self) -> list[Explained]:
        """Return the statements of all steps that have a name."""
        return [one for step, statements in self.seen.items() if step for one in statements]


def walk(node: Node) -> Iterator[Node]:
    """Yield a node of a plan and all below it."""
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


def _rows(node: Node) -> float:
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter")
    return node["Actual Rows"] + sum(node.get(name, 0) for name in removed)


@contextmanager
def explaining(engine: Engine) -> Generator[Log]:
    """Have everything that is run explained: run once, taken back, and run again by whoever asked."""
    log = Log()

    def listen(connection: Connection, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if not statement.lstrip().lower().startswith(_EXPLAINABLE):
            return
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.execute("savepoint explaining")
            cursor.execute(f"explain (analyze, buffers, timing off, format json) {statement}", parameters)
            [(found,)] = cursor.fetchall()
            cursor.execute("rollback to savepoint explaining; release savepoint explaining")
        plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
        log.seen.setdefault(log.step, []).append(Explained(statement, list(walk(plan))))

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield log
    finally:
        event.remove(engine, "before_cursor_execute", listen)
