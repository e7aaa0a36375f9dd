import ast

import pytest

from neural_pipeline_tests.guards.guard import ROOT, Guard
from neural_pipeline_tests.guards.listed import GUARDS


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.keeps)
def test_a_guard_stands_where_the_list_says(guard: Guard):
    assert guard.is_in(ROOT)
    assert guard.without != guard.code


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.keeps)
def test_the_tests_that_speak_for_a_guard_exist(guard: Guard):
    assert guard.tests
    for test in guard.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / "neural_pipeline_tests" / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not name or name in functions
