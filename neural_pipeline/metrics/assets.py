"""The views as assets, what they are made of, and the report that is made of them. Tables and days are elsewhere."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.definition import Column, View
from neural_pipeline.metrics.frames import Period, count_of, frame_of, last_days, numbers_of
from neural_pipeline.metrics.preview import code, preview
from neural_pipeline.metrics.report.gathering import MOST_DAYS, filled_in
from neural_pipeline.metrics.report.wording import period_told
from neural_pipeline.metrics.tables import METRICS, OWNERS
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import accounting, rollups

if TYPE_CHECKING:
    import pandas as pd

ROLLUPS = "metric_rollups"
REPORT = "neural_report"
SHOWN_DAYS = 7
"""Days, today included, that the asset of a view by days tells of."""

MOST_ROWS = 10_000
"""Rows of a view that are kept as the asset's value."""

_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=3))
"""Dagster's daemon looks by itself. As NEURAL_METRICS_FRESH_HOURS unless set: definitions read no setting."""


@dg.asset(
    name=ROLLUPS,
    deps=[METRICS],
    group_name="tables",
    freshness_policy=_FRESH,
    owners=OWNERS,
    kinds={"postgres", "table"},
    description="Metrics added up by day and hour, each once. What is not added up yet, the views count all the same.",
)
def metric_rollups(context: dg.AssetExecutionContext, pipeline: Pipeline) -> None:
    """Add up the metrics written since the last time. What cannot be added up now, views count all the same."""
    try:
        done = rollups.refresh(pipeline.engine)
    except DBAPIError as error:
        context.log.warning(f"metrics were not added up, the views read them one by one: {error.orig}")
        context.add_output_metadata({"is_behind": True})
        return
    if done.is_behind:
        context.log.warning("transactions that write metrics are still open: the rest is added up the next time")
    found = {"metrics_added": done.metrics, "through_id": done.through_id, "is_behind": done.is_behind}
    context.add_output_metadata(found)


def view_assets() -> list[dg.AssetsDefinition]:
    """Build an asset per view of the catalogue; its value is a data frame with the declared columns."""
    return [_view_asset(view) for view in VIEWS]


def _view_asset(view: View) -> dg.AssetsDefinition:
    @dg.asset(
        name=view.name,
        deps=upstream_of(view),
        group_name=view.area.value,
        owners=OWNERS,
        kinds={"postgres", "view"},
        description=view.description,
        metadata={"dagster/column_schema": _schema_of(view.columns)},
        dagster_type=_frame_type(view),
    )
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Any:
        if view.name == "accounting":
            _audit(context, pipeline)
        period = last_days(SHOWN_DAYS, now=datetime.now(UTC))
        with _one_moment(pipeline) as connection:
            frame = frame_of(connection, view, period, limit=MOST_ROWS)
            found = _metadata(connection, view, period, frame=frame)
        return dg.MaterializeResult(value=frame, metadata=found)

    return asset


def upstream_of(view: View) -> list[str]:
    """Return the assets that a view is made of; metrics reach it added up."""
    if not view.metrics:
        return list(view.tables)
    return [ROLLUPS, *(table for table in view.tables if table != METRICS)]


def _audit(context: dg.AssetExecutionContext, pipeline: Pipeline) -> None:
    """Have the accounting say how things stand now: its view shows the last audit, which one that fails leaves."""
    try:
        with pipeline.transaction() as connection:
            accounting.audit(connection)
    except DBAPIError as error:
        context.log.warning(f"the record was not audited, what is shown is the last audit: {error.orig}")


@contextmanager
def _one_moment(pipeline: Pipeline) -> Generator[Connection]:
    """Open a transaction that changes nothing and reads everything as of its beginning."""
    with pipeline.engine.connect() as plain:
        connection = plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


def _metadata(connection: Connection, view: View, period: Period, *, frame: "pd.DataFrame") -> Mapping[str, Any]:
    is_whole = len(frame) < MOST_ROWS
    within = {"period": period_told(period)} if view.by_day else {}
    return {
        **numbers_of(connection, view, period),
        **within,
        "dagster/row_count": len(frame) if is_whole else count_of(connection, view, period),
        "preview": dg.MetadataValue.md(preview(view, frame)),
        "rows_behind": dg.MetadataValue.md(code(filled_in(view.rows_behind, period))),
    }


def _schema_of(columns: Iterable[Column]) -> dg.TableSchema:
    return dg.TableSchema([_table_column(column) for column in columns])


def _table_column(column: Column) -> dg.TableColumn:
    unit = f" Unit: {column.unit}." if column.unit else ""
    return dg.TableColumn(
        column.name,
        column.type,
        description=f"{column.description}{unit}",
        constraints=dg.TableColumnConstraints(nullable=not column.is_key),
    )


def _frame_type(view: View) -> dg.DagsterType:
    """Return the type of a view's value, known without pandas: importing that takes a second of every run."""
    names = [column.name for column in view.columns]

    def check(_: object, value: Any) -> dg.TypeCheck:
        found = list(getattr(value, "columns", []))
        return dg.TypeCheck(found == names, description=f"a data frame with the columns {found}")

    return dg.DagsterType(
        check,
        name=f"frame_of_{view.name}",
        description=f"A pandas DataFrame with the columns {', '.join(names)}.",
        metadata={"dagster/column_schema": _schema_of(view.columns)},
    )


class ReportConfig(dg.Config):
    """How many days, today included, a report tells of."""

    days: int = Field(default=SHOWN_DAYS, ge=1, le=MOST_DAYS, description="Days (UTC) of the report, today included.")


@dg.asset(
    name=REPORT,
    deps=[view.name for view in VIEWS],
    group_name="reports",
    freshness_policy=_FRESH,
    owners=OWNERS,
    kinds={"html", "markdown"},
    description="One page with the numbers, tables and charts of the last days, and the same as Markdown. No page of"
    " the web may link to a file: copy the metadata's `path` into a browser, or run `neural report --open`.",
)
def neural_report(context: dg.AssetExecutionContext, config: ReportConfig, pipeline: Pipeline) -> None:
    """Write the report into the data folder."""
    from neural_pipeline.metrics.report.writing import write_report  # draws charts, which takes long to import

    period = last_days(config.days, now=datetime.now(UTC))
    written = write_report(pipeline.engine, pipeline.settings, period)
    context.add_output_metadata(
        {
            "period": period_told(period),
            "path": _path(written.html.absolute()),
            "markdown_path": _path(written.markdown),
            "report": dg.MetadataValue.md(written.markdown.read_text(encoding="utf-8")),
        }
    )


def _path(path: Path) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.path(str(path))  # pyright: ignore[reportUnknownMemberType] - dagster leaves os.PathLike open
