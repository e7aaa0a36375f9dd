"""How runs look on a terminal: a table that fits its width, and one run in full. Text from outside is made visible."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from rich.table import Table
from rich.text import Text

from neural_pipeline.cli.output import cell, flat, lines_of, moment, table
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.lifecycle import RunStatus

SHORT_NAMES = {
    "capture": FunctionId.OBSERVATION_CAPTURE,
    "profile": FunctionId.PROFILE_UPDATE,
    "summary": FunctionId.CLUSTER_SUMMARY,
    "extraction": FunctionId.LLM_ENTITY_EXTRACTION,
    "sync": FunctionId.SYNC_ORCHESTRATOR,
}
_SHORT: dict[str, str] = {full: short for short, full in SHORT_NAMES.items()}
_WIDE = 140
_STYLES = {RunStatus.COMPLETED: "green", RunStatus.FAILED: "red", RunStatus.RUNNING: "cyan"}
_PARTS = ("input", "output", "attempts", "parent", "children", "replays", "payload")


def page_view(runs: Sequence[Mapping[str, Any]], *, width: int) -> Table:
    """Return runs as a table; a narrow one has title and ending in one column and leaves out what is rarely asked."""
    return _wide(runs) if width >= _WIDE else _narrow(runs)


def _narrow(runs: Sequence[Mapping[str, Any]]) -> Table:
    made = table(("id", "created", "function", "status", "what"), sharing={"what": 1})
    for run in runs:
        what = " - ".join(filter(None, (_title(run), _ending(run))))
        created = run["created_at"].strftime("%m-%d %H:%M")
        made.add_row(cell(run["id"]), cell(created), cell(_function(run)), _status(run), cell(what))
    return made


def _wide(runs: Sequence[Mapping[str, Any]]) -> Table:
    headings = ("id", "created (UTC)", "function", "status", "ms", "workspace", "trigger", "what", "ending")
    made = table(headings, sharing={"workspace": 1, "what": 3, "ending": 2})
    for run in runs:
        shown = (run["duration_ms"], run["workspace_id"], run["trigger"], _title(run), _ending(run))
        made.add_row(cell(run["id"]), cell(run["created_at"]), cell(_function(run)), _status(run), *map(cell, shown))
    return made


def _title(run: Mapping[str, Any]) -> str:
    return run["title"] or run["name"]


def _ending(run: Mapping[str, Any]) -> str:
    """Say how it ended where that is not plain success: the error, or what was left undone and why."""
    if run["error_message"]:
        return str(run["error_message"])
    result, reason = run["result"], run["reason"]
    return "" if result == "success" else " / ".join(str(part) for part in (result, reason) if part)


def _function(run: Mapping[str, Any]) -> str:
    function = str(run["inngest_function_id"])
    return _SHORT.get(function, function)


def _status(run: Mapping[str, Any]) -> Text:
    return cell(run["status"], style=_STYLES.get(run["status"], ""))


def full_view(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield a run line by line: its columns, then each part that has something in it."""
    for name, value in run.items():
        if name not in _PARTS and value is not None:
            yield f"{name:<20} {flat(_plain(value))}"
    for name in _PARTS:
        if run[name]:
            yield f"{name}:"
            yield from _indented(run[name])


def _indented(part: object) -> Iterator[str]:
    """Yield JSON indented; a stack is shown as the lines it has."""
    stacks: list[str] = []
    written = json.dumps(_without_stacks(part, stacks), default=_plain, indent=2, ensure_ascii=False)
    for line in [*lines_of(written), *(line for stack in stacks for line in lines_of(stack))]:
        yield f"  {line}"


def _without_stacks(part: object, stacks: list[str]) -> object:
    if not isinstance(part, list):
        return part
    rows = cast("list[dict[str, Any]]", part)
    stacks.extend(f"stack of attempt {row['attempt']}:\n{row['stack']}" for row in rows if row.get("stack"))
    return [{name: value for name, value in row.items() if name != "stack"} for row in rows]


def _plain(value: object) -> str:
    return moment(value) if isinstance(value, datetime) else str(value)
