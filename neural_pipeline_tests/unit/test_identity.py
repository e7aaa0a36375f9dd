"""Derived ids."""

import re

from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.workflows.observation_capture.identity import external_id


def test_an_id_is_the_same_in_every_run_of_every_version():
    assert external_id("observation", "ws_1", "pr:acme/shop#1:opened") == "Rl9LHVVyQ53d4ZUEWxwK3"


@given(st.text(), st.text(), st.text())
def test_an_id_fits_its_column_and_needs_no_quoting(kind: str, workspace_id: str, source_id: str):
    assert re.fullmatch(r"[A-Za-z0-9_-]{21}", external_id(kind, workspace_id, source_id))


def test_kind_workspace_and_source_id_each_make_another_id():
    given_ids = [("a", "b", "c"), ("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x"), ("ab", "", "c"), ("a", "bc", "")]
    assert len({external_id(*one) for one in given_ids}) == len(given_ids)
