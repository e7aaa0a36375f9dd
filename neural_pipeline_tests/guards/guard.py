"""What a guard is, and trying one: a copy of the program without it, in which the tests that speak for it must fail."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_COPIED = ("neural_pipeline", "neural_pipeline_tests", "pyproject.toml", "dagster.yaml", "workspace.yaml")
_TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed; any other one proves nothing."""


@dataclass(frozen=True)
class Guard:
    """An invariant, the place in the program that keeps it, what stands there without it, and the tests that see it."""

    keeps: str
    file: str
    code: str
    without: str
    tests: tuple[str, ...]

    def is_in(self, root: Path) -> bool:
        """Tell whether the guarded place is there, once."""
        return self._path(root).read_text(encoding="utf-8").count(self.code) == 1

    def _path(self, root: Path) -> Path:
        return root / "neural_pipeline" / self.file

    @contextmanager
    def removed_in(self, root: Path) -> Iterator[None]:
        """Take the guard out of a copy, for the length of the block."""
        whole = self._path(root).read_text(encoding="utf-8")
        self._path(root).write_text(whole.replace(self.code, self.without), encoding="utf-8")
        try:
            yield
        finally:
            self._path(root).write_text(whole, encoding="utf-8")


def copy_of_the_program(folder: Path) -> Path:
    """Copy program and tests into a folder and return it."""
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def goes_red(guard: Guard, root: Path) -> bool:
    """Run the tests of a guard in a copy without it; return whether they failed."""
    tests = [f"neural_pipeline_tests/{test}" for test in guard.tests]
    with guard.removed_in(root):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "--timeout=90", "-p", "no:cacheprovider", *tests],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            check=False,
        )
    return done.returncode == _TESTS_FAILED
