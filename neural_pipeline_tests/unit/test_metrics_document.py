"""docs/metrics.md says what the code does: its generated parts are those of today."""

from dataclasses import replace

import pytest

from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.metrics import document
from neural_pipeline.metrics.catalogue import BY_NAME, VIEWS
from neural_pipeline.metrics.document import PAGE, types_table, views_chapter, with_generated

AGAIN = "run `.venv/bin/python -m neural_pipeline.metrics.document`"


def test_the_page_tells_of_the_views_and_metrics_as_they_are():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_generated(page), f"docs/metrics.md is out of date: {AGAIN}"


def test_the_page_has_a_section_for_every_view_and_a_line_for_every_metric_type():
    page = PAGE.read_text(encoding="utf-8")
    assert [view.name for view in VIEWS if f"\n#### {view.name}\n" not in page] == []
    assert [kind for kind in MetricType if f"\n| `{kind}` |" not in page] == []


@pytest.mark.parametrize("area", ["types", "views"])
def test_what_is_written_by_hand_stays_when_a_part_is_written_anew(area: str) -> None:
    page = with_generated(f"before\n<!-- {area} -->\nwhat stood here\n<!-- /{area} -->\nafter\n")
    assert page.startswith(f"before\n<!-- {area} -->\n")
    assert page.endswith(f"\n<!-- /{area} -->\nafter\n")
    assert "what stood here" not in page
    assert with_generated(page) == page


def test_a_view_is_told_with_its_columns_numbers_and_the_rows_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    view = replace(BY_NAME["job_statistics"], name="made_up", rows_behind="neural runs list")
    column = replace(view.columns[0], description="this | or that")
    monkeypatch.setattr(document, "VIEWS", (replace(view, columns=(column, *view.columns[1:])),))
    told = list(views_chapter())
    assert "#### made_up" in told
    assert "| `day` | day | this \\| or that |" in told
    assert [line for line in told if line.startswith("| `success_rate_percent` | percent |")]
    assert told[(at := told.index("The rows behind it:") + 2) : at + 3] == ["```sh", "neural runs list", "```"]
    assert told[(at := told.index("Those behind `executions_failed`:") + 2)] == "```sql"
    assert told[at + 1] == BY_NAME["job_statistics"].numbers[1].rows_behind
    assert next(line for line in types_table() if line.startswith("| `job_duration` |")).endswith(" `made_up` |")
