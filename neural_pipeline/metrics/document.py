"""The part of docs/metrics.md that code tells: the metric types and the views of the catalogue.

`.venv/bin/python -m neural_pipeline.metrics.document` writes it anew; the rest of the page is written by hand.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

from neural_pipeline.contracts.metrics import Metric, MetricType
from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.definition import Area, Column, Number, View

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
_GENERATED = re.compile(r"(?<=<!-- (types|views) -->\n).*?(?=<!-- /\1 -->)", re.DOTALL)

_RECORDER = "the recorder, when it moves the workflow run to its end"
_CAPTURE = "`observation_capture`, step `store`, with the outcome of the event"
_WRITERS: dict[MetricType, str] = {
    MetricType.JOB_DURATION: _RECORDER,
    MetricType.DOCUMENTS_INDEXED: f"{_RECORDER} (`sync.orchestrator`, success)",
    MetricType.ERRORS: f"{_RECORDER} (failed)",
    MetricType.OBSERVATION_CAPTURED: _CAPTURE,
    MetricType.OBSERVATION_FILTERED: _CAPTURE,
    MetricType.OBSERVATION_DUPLICATE: _CAPTURE,
    MetricType.OBSERVATION_BELOW_THRESHOLD: _CAPTURE,
    MetricType.ENTITIES_EXTRACTED: f"{_CAPTURE}; `llm_entity_extraction`, with the outcome of the reading",
    MetricType.CLUSTER_ASSIGNED: _CAPTURE,
    MetricType.CLUSTER_SUMMARY_GENERATED: "`cluster_summary`, with the outcome of the summary",
    MetricType.PROFILE_UPDATED: "`profile_update`, with the outcome of the update",
    MetricType.ACTOR_RESOLUTION: f"{_CAPTURE}, if the event has an actor",
    MetricType.CLUSTER_AFFINITY: f"{_CAPTURE}, if the observation was compared",
}
"""Who writes a metric, and in which transaction."""
_VALUES = {
    MetricType.JOB_DURATION: "run time",
    MetricType.DOCUMENTS_INDEXED: "documents",
    MetricType.ENTITIES_EXTRACTED: "entities in one text",
}
"""What the value counts, where it is not 1."""


def with_generated(page: str) -> str:
    """Return the page with its generated parts as the code has them now."""
    parts = {"types": types_table, "views": views_chapter}
    return _GENERATED.sub(lambda found: "\n".join([*parts[found[1]](), ""]), page)


def types_table() -> Iterator[str]:
    """Yield the table of metric types, a line each."""
    yield "| type | value | unit | tags (? may be absent) | written by, in the transaction of | read by |"
    yield "|---|---|---|---|---|---|"
    for shape in get_args(get_args(Metric)[0]):
        fields: dict[str, Any] = shape.model_fields
        kind: MetricType = fields["type"].default
        tags = ", ".join(_tag(field) for field in fields["tags"].annotation.model_fields.values())
        readers = ", ".join(f"`{view.name}`" for view in VIEWS if kind in view.metrics)
        value, unit = _VALUES.get(kind, "1"), fields["unit"].default
        yield f"| `{kind}` | {value} | {unit} | {tags} | {_WRITERS[kind]} | {readers} |"


def _tag(field: Any) -> str:
    return f"{field.alias}{'' if field.is_required() else '?'}"


def views_chapter() -> Iterator[str]:
    """Yield the chapter about the views, area by area, a line each."""
    for area, views in groupby(VIEWS, lambda view: view.area):
        yield from ("", f"### {Area(area).capitalize()}")
        for view in views:
            yield from _section(view)


def _section(view: View) -> Iterator[str]:
    reach = "Goes by days (UTC)" if view.by_day else "Does not go by days"
    metrics = f" Metrics: {_quoted(view.metrics)}." if view.metrics else ""
    yield from ("", f"#### {view.name}", "", view.description, "")
    yield f"{reach}. Reads {_quoted(view.tables)}.{metrics}"
    yield from ("", "| column | type | what it is |", "|---|---|---|", *map(_column, view.columns))
    if view.numbers:
        yield from ("", "| number | unit | what it is |", "|---|---|---|", *map(_number, view.numbers))
    yield from ("", "The rows behind it:", "", *_block(view.rows_behind))
    for rows_behind in dict.fromkeys(number.rows_behind for number in view.numbers if number.rows_behind):
        named = [number.name for number in view.numbers if number.rows_behind == rows_behind]
        yield from ("", f"Those behind {_quoted(named)}:", "", *_block(rows_behind))


def _block(rows_behind: str) -> tuple[str, ...]:
    return f"```{'sh' if rows_behind.startswith('neural ') else 'sql'}", rows_behind, "```"


def _column(column: Column) -> str:
    kind = f"{column.type}, {column.unit}" if column.unit else column.type
    return f"| `{column.name}` | {kind} | {_cell(column.description)} |"


def _number(number: Number) -> str:
    return f"| `{number.name}` | {number.unit} | {_cell(number.meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(path: Path = PAGE) -> None:
    """Write the generated parts of a page anew."""
    path.write_text(with_generated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
