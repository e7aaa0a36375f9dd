"""What the demo shows at its end: the states of all runs, the three questions of the job history, and the memory.

Of the memory: who did most, summaries of the largest topics, entities read out of longer texts, one observation.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from rich.table import Table
from sqlalchemy import Engine, RowMapping

from neural_pipeline.cli.output import cell, console, lines_of, say, table
from neural_pipeline.cli.up import address_of
from neural_pipeline.settings import Settings
from neural_pipeline.store.sql import rows
from neural_pipeline.store.summaries import (
    busiest_actors,
    model_read_entities,
    runs_by_state,
    summarised_clusters,
    telling_observation,
    unexplained,
)

_SHOWN_ROWS = 8
_SHOWN_JSON = 100
_SHOWN_MEMORIES = 4
_MEMORY = {
    "Who did most": busiest_actors,
    "What the largest topics are about": summarised_clusters,
    "What was read out of longer texts": model_read_entities,
}
_QUESTIONS = files("neural_pipeline") / "cli" / "job_history.sql"


def questions() -> list[str]:
    """Return the three queries of the job history, as the README shows them."""
    return [text.strip() + ";" for text in _QUESTIONS.read_text(encoding="utf-8").split(";") if text.strip()]


def show(engine: Engine, workspace_id: str) -> None:
    """Print the record of a workspace."""
    with engine.begin() as connection:
        _title("All workflow runs")
        console().print(_as_table(runs_by_state(connection)))
        for question in questions():
            _title(question)
            found = rows(connection, question)
            console().print(_as_table(found[:_SHOWN_ROWS]))
            say(f"({len(found)} rows)" if len(found) <= _SHOWN_ROWS else f"({_SHOWN_ROWS} of {len(found)} rows)")
        for title, read in _MEMORY.items():
            _title(title)
            console().print(_as_table(read(connection, workspace_id=workspace_id, limit=_SHOWN_MEMORIES)))
        _title("One observation in full")
        for line in _in_full(telling_observation(connection, workspace_id=workspace_id) or {}):
            say(line)
        _title(f"event_accounting: {unexplained(connection)} unexplained")


def show_where_to_look(settings: Settings) -> None:
    """Print where to go from here."""
    address = address_of(settings.webserver_host, settings.webserver_port)
    say("Where to look:")
    say(f"  make up                      then {address}/runs: every run with its ops, counts and failures")
    say("  .venv/bin/neural runs list   the job history; `neural runs show ID` shows one execution in full")
    say("  .venv/bin/neural db psql     SQL on the same database, which is still running; `neural db stop` stops it")


def _title(text: str) -> None:
    say("")
    for line in text.split("\n"):
        say(line)


def _as_table(found: Sequence[RowMapping]) -> Table:
    made = table([str(name) for name in found[0]] if found else ["no rows"])
    for row in found:
        made.add_row(*(cell(_short(value)) for value in row.values()))
    return made


def _short(value: object) -> object:
    return json.dumps(value, ensure_ascii=False)[:_SHOWN_JSON] if isinstance(value, dict) else value


def _in_full(observation: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, value in observation.items():
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
        first, *rest = lines_of(shown)
        lines += [f"{name:<22} {first}", *(f"{'':<22} {line}" for line in rest)]
    return lines
