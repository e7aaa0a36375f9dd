"""The report as one HTML file that asks for nothing else: no script, no font, no request."""

from importlib.resources import files
from typing import Any

from neural_pipeline.metrics.definition import Area, Column
from neural_pipeline.metrics.report.charts import Chart, chart_of
from neural_pipeline.metrics.report.gathering import Contents
from neural_pipeline.metrics.report.telling import Part, headlines, is_numeric, parts_of
from neural_pipeline.metrics.report.wording import about, column_title, period_told, titled

_HERE = files("neural_pipeline") / "metrics" / "report"


def page_of(contents: Contents) -> str:
    """Return the page of a report; all text in it is escaped, whoever it is from."""
    from jinja2 import Environment, StrictUndefined  # imported by what makes a report, not by all that could
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    template = environment.from_string((_HERE / "page.html.j2").read_text(encoding="utf-8"))
    charts = {section.view.name: chart_of(section, contents.period) for section in contents.sections}
    marked = {name: chart and chart._replace(svg=Markup(chart.svg)) for name, chart in charts.items()}  # noqa: S704 - ours
    return template.render(
        title=f"neural_pipeline report, {period_told(contents.period)}",
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        period=period_told(contents.period),
        about=about(contents.period, contents.before, now=contents.read_at),
        headlines=headlines(contents),
        areas=[_area(contents, area, marked) for area in Area],
    )


def _area(contents: Contents, area: Area, charts: dict[str, Chart | None]) -> dict[str, Any]:
    parts = [_part(part, charts[part.view.name]) for part in parts_of(contents, area)]
    return {"name": area.value, "title": titled(area), "parts": parts}


def _part(part: Part, chart: Chart | None) -> dict[str, Any]:
    columns = [_column(column) for column in part.table.columns]
    table = part.table._asdict() | {"columns": columns}
    return part._asdict() | {"title": titled(part.view.name), "chart": chart, "table": table}


def _column(column: Column) -> dict[str, Any]:
    return {"title": column_title(column), "meaning": column.description, "is_number": is_numeric(column)}
