"""Rules that the code keeps about itself; which module may import which is checked by import-linter."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "neural_pipeline"
TREES = {
    str(file.relative_to(PACKAGE)): ast.parse(file.read_text(encoding="utf-8"))
    for file in sorted(PACKAGE.rglob("*.py"))
}
MAX_FILE, MAX_FUNCTION, MAX_DOCSTRING, MEDIAN_FUNCTION = 300, 40, 5, 8
RE_EXPORTING = {"sources/__init__.py"}
READERS_OF_THE_ENVIRONMENT = ("settings.py", "cli/", "postgres/")
PASSED_ON = {"sources/git_history.py", "metrics/report/writing.py"}
"""Give git, and matplotlib, which takes it from nowhere else, the environment they need; decide nothing by it."""
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, int]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{name}: {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def names_in(tree: ast.Module) -> set[str]:
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return attributes | {node.name for node in ast.walk(tree) if isinstance(node, ast.alias)}


def test_there_is_something_to_check():
    assert len(TREES) > 50


def test_no_file_is_longer_than_it_can_be_read():
    lengths = {name: len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) for name in TREES}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE} == {}


def test_no_function_is_longer_than_a_screen():
    assert {name: length for name, length in functions() if length > MAX_FUNCTION} == {}


def test_functions_are_short_on_the_whole():
    lengths = sorted(length for _, length in functions())
    assert lengths[len(lengths) // 2] <= MEDIAN_FUNCTION


def test_every_module_says_in_a_few_lines_what_lives_in_it():
    docstrings = {name: (ast.get_docstring(tree) or "").splitlines() for name, tree in TREES.items()}
    assert {name for name, lines in docstrings.items() if not 1 <= len(lines) <= MAX_DOCSTRING} == set()


def test_every_folder_with_python_in_it_is_a_package():
    folders = {str(Path(name).parent) for name in TREES} - {"store/migrations/versions"}
    assert {folder for folder in folders if str(Path(folder) / "__init__.py") not in TREES} == set()


def test_a_package_holds_a_docstring_and_nothing_else():
    rest = {name: tree.body[1:] for name, tree in TREES.items() if Path(name).name == "__init__.py"}
    assert {name for name, body in rest.items() if body and name not in RE_EXPORTING} == set()
    re_exported = [node for name in RE_EXPORTING for node in rest[name]]
    assert all(isinstance(node, ast.ImportFrom | ast.Assign) for node in re_exported)


def test_the_environment_is_read_in_one_place():
    readers = {
        name
        for name, tree in TREES.items()
        if names_in(tree) & {"environ", "environb", "getenv", "getenvb"}
        and not name.startswith(READERS_OF_THE_ENVIRONMENT)
    }
    assert readers <= PASSED_ON


def test_no_module_has_a_name_that_says_nothing():
    parts = {name: {*Path(name).with_suffix("").parts} for name in TREES}
    assert {name for name, words in parts.items() if words & VAGUE} == set()
