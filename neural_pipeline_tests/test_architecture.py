"""Rules that the code keeps about itself; which module may import which is checked by import-linter."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "neural_pipeline"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(PACKAGE)) for file in FILES]
MAX_FILE, MAX_FUNCTION = 300, 40
READERS_OF_THE_ENVIRONMENT = {"settings.py", "cli", "postgres"}
RE_EXPORTING = {"sources/__init__.py"}
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}

every_file = pytest.mark.parametrize("file", FILES, ids=NAMES)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def functions_of(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_there_is_something_to_check():
    assert len(FILES) > 50


@every_file
def test_no_file_is_longer_than_it_can_be_read(file: Path):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MAX_FILE


@every_file
def test_no_function_is_longer_than_a_screen(file: Path):
    long = {node.name: length(node) for node in functions_of(tree_of(file)) if length(node) > MAX_FUNCTION}
    assert long == {}


@every_file
def test_every_module_says_in_one_to_five_lines_what_lives_in_it(file: Path):
    docstring = ast.get_docstring(tree_of(file))
    assert docstring
    assert len(docstring.splitlines()) <= 5


@pytest.mark.parametrize("file", [file for file in FILES if file.name == "__init__.py"], ids=str)
def test_a_package_holds_a_docstring_only(file: Path):
    rest = tree_of(file).body[1:]
    if str(file.relative_to(PACKAGE)) in RE_EXPORTING:
        rest = [node for node in rest if not isinstance(node, ast.ImportFrom | ast.Assign)]
    assert rest == []


def test_every_folder_with_python_in_it_is_a_package():
    folders = {file.parent for file in FILES}
    without = {folder for folder in folders if not (folder / "__init__.py").exists()}
    assert {str(folder.relative_to(PACKAGE)) for folder in without} <= {"store/migrations/versions"}


@every_file
def test_the_environment_is_read_in_one_place(file: Path):
    if file.relative_to(PACKAGE).parts[0] in READERS_OF_THE_ENVIRONMENT:
        return
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Attribute | ast.alias)
    }
    assert names & {"environ", "environb", "getenv", "getenvb", "putenv"} == set()


@every_file
def test_no_module_has_a_name_that_says_nothing(file: Path):
    assert VAGUE.isdisjoint({file.stem, *file.relative_to(PACKAGE).parts})


@every_file
def test_from_the_third_argument_on_a_public_function_takes_names_only(file: Path):
    for node in ast.iter_child_nodes(tree_of(file)):
        if isinstance(node, Function) and not node.name.startswith("_") and not node.decorator_list:
            assert len(node.args.posonlyargs + node.args.args) <= 3, node.name


def test_functions_are_short_on_the_whole():
    lengths = sorted(length(node) for file in FILES for node in functions_of(tree_of(file)))
    assert lengths[len(lengths) // 2] <= 8
