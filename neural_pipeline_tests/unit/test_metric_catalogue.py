"""The catalogue: every view has its file and every file its entry, every metric a reader, every number its own name."""

from importlib.resources import files

import pytest

from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.metrics.catalogue import BY_NAME, VIEWS
from neural_pipeline.metrics.definition import View

EACH_VIEW = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)


def test_every_view_has_a_file_and_every_file_an_entry():
    folder = files("neural_pipeline") / "metrics" / "views"
    stems = sorted(path.name.removesuffix(".sql") for path in folder.iterdir() if path.name.endswith(".sql"))
    assert sorted(view.name for view in VIEWS) == stems
    assert len(BY_NAME) == len(VIEWS)


@pytest.mark.parametrize("kind", MetricType)
def test_every_type_of_metric_is_read_by_a_view(kind: MetricType):
    assert [view.name for view in VIEWS if kind in view.metrics], "written and never read"


def test_no_two_numbers_have_the_same_name():
    names = [number.name for view in VIEWS for number in view.numbers]
    assert sorted(set(names)) == sorted(names)


@EACH_VIEW
def test_a_view_says_what_it_is(view: View):
    names = [column.name for column in view.columns]
    assert len(set(names)) == len(names)
    assert all(text for text in (view.description, view.rows_behind, view.order, *view.tables))
    assert all(column.description for column in view.columns)
    assert all(number.meaning for number in view.numbers)
    assert any(column.is_key for column in view.columns)
    assert view.by_day == (names[0] == "day")
