"""Writing a report into the data folder, and removing those that are as old as metrics are kept."""

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from neural_pipeline.metrics.frames import Period
from neural_pipeline.metrics.report.gathering import Contents, gather
from neural_pipeline.metrics.report.markdown import markdown_of
from neural_pipeline.metrics.report.page import page_of
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.rollups import refresh

_PATIENCE = 1.0
"""Seconds to wait for writers of metrics; those not added up by then are read as they are."""

_SLICES = 3
"""Slices of metrics that are added up first at most; the views count the rest, only slower."""

_NAME = "neural-report"


@dataclass(frozen=True, slots=True)
class Written:
    """The two files of a report, and what they tell of."""

    html: Path
    markdown: Path
    contents: Contents


def write_report(engine: Engine, settings: Settings, period: Period, *, now: datetime | None = None) -> Written:
    """Write the report of a period as HTML and Markdown; each takes the place of an earlier one in one step."""
    # The views are exact without it: one that somebody holds up must not cost the report.
    with suppress(DBAPIError):
        refresh(engine, patience=_PATIENCE, slices=_SLICES)
    moment, keep_days = now or datetime.now(UTC), settings.keep_metric_days
    contents = gather(engine, period, now=moment, keep_days=keep_days)
    home = resolve_database(settings).home
    # matplotlib keeps its list of fonts there, and asks for nothing else where to.
    os.environ.setdefault("MPLCONFIGDIR", str(home / "matplotlib"))
    folder = home / "reports"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_before(moment - timedelta(days=keep_days), folder)
    name = f"{_NAME}-{period.since}-to-{period.until - timedelta(days=1)}"
    return Written(
        html=_put(folder / f"{name}.html", page_of(contents)),
        markdown=_put(folder / f"{name}.md", markdown_of(contents)),
        contents=contents,
    )


def _remove_before(moment: datetime, folder: Path) -> None:
    """Remove reports written before a moment, with what a killed writing has left."""
    for path in (*folder.glob(f"{_NAME}-*"), *folder.glob(f".{_NAME}-*")):
        # Another report may be removing it, or putting it into its place.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < moment.timestamp():
                path.unlink()


def _put(path: Path, text: str) -> Path:
    """Replace a file in one step: somebody may be reading it, only who made it may."""
    prefix = f".{path.name}-"
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=prefix, delete=False) as written:
        place = Path(written.name)
        try:
            written.write(text)
        except BaseException:
            place.unlink()
            raise
    return place.replace(path)
