"""Writing a report into the data folder."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from neural_pipeline.metrics.frames import Period
from neural_pipeline.metrics.report.gathering import Contents, gather
from neural_pipeline.metrics.report.markdown import markdown_of
from neural_pipeline.metrics.report.page import page_of
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.rollups import refresh

_PATIENCE = 1.0
"""Seconds to wait for writers of metrics; those not added up by then are read as they are."""


@dataclass(frozen=True, slots=True)
class Written:
    """The two files of a report, and what they tell of."""

    html: Path
    markdown: Path
    contents: Contents


def write_report(engine: Engine, settings: Settings, period: Period, *, now: datetime | None = None) -> Written:
    """Write the report of a period as HTML and Markdown; each takes the place of an earlier one in one step."""
    refresh(engine, patience=_PATIENCE)
    contents = gather(engine, period, now=now or datetime.now(UTC))
    folder = resolve_database(settings).home / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"neural-report-{period.since}-to-{period.until - timedelta(days=1)}"
    return Written(
        html=_put(folder / f"{name}.html", page_of(contents)),
        markdown=_put(folder / f"{name}.md", markdown_of(contents)),
        contents=contents,
    )


def _put(path: Path, text: str) -> Path:
    """Replace a file in one step: somebody may be reading it."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".", delete=False) as written:
        place = Path(written.name)
        try:
            written.write(text)
        except BaseException:
            place.unlink()
            raise
    place.chmod(0o644)
    return place.replace(path)
