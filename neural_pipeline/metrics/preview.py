"""The first rows of a data frame as Markdown. Text in them comes from outside and is shown as the text it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_pipeline.metrics.definition import View
from neural_pipeline.metrics.report.markdown import escaped
from neural_pipeline.metrics.report.wording import told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

SHOWN = 20
"""Rows that are shown."""


def preview(view: View, frame: pd.DataFrame) -> str:
    """Return the first rows of a view as a Markdown table, each column under its own name."""
    return "\n".join(_lines(view, frame.head(SHOWN)))


def _lines(view: View, frame: pd.DataFrame) -> Iterator[str]:
    if frame.empty:
        yield "No rows."
        return
    yield _bars(escaped(column.name) for column in view.columns)
    yield _bars("---" for _ in view.columns)
    # Plain values: what is missing has a sign of its own in every dtype.
    plain = frame.astype(object)
    units = [column.unit for column in view.columns]
    for row in plain.where(plain.notna(), None).itertuples(index=False, name=None):
        yield _bars(_cell(value, unit) for value, unit in zip(row, units, strict=True))


def _cell(value: Any, unit: Any) -> str:
    return escaped(told(value, unit))


def _bars(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """Return SQL or a command of ours as a block of Markdown."""
    return f"```\n{text}\n```"
