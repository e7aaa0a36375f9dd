"""The code that runs execute: loaded once before the first fork, and whether what is on disk is still the same."""

import gc
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import neural_pipeline
from neural_pipeline.automation.run_server_rehearsal import rehearse

NEEDED = (
    "dagster._core.executor.in_process",
    "dagster_postgres",
    "neural_pipeline.automation.run_server_worker",
    "psycopg2",
    "sqlalchemy.dialects.postgresql.psycopg2",
)
"""What every run needs besides its definitions."""

Fingerprint = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Code:
    """The definitions of a module as they were on disk; `trouble` says why runs cannot be forked from them."""

    module: str
    fingerprint: Fingerprint
    trouble: str | None

    @property
    def is_changed(self) -> bool:
        """Tell whether any file of the packages is another one than when they were loaded."""
        return fingerprint(self.module) != self.fingerprint


def load(module: str) -> Code:
    """Import a module of definitions and all that its runs need; an error of the code is trouble, not the end."""
    before = fingerprint(module)
    try:
        for name in (module, *NEEDED):
            importlib.import_module(name)
        _resolve(sys.modules[module])
        rehearse()
    except Exception as error:  # whatever the code on disk does when it is imported
        traceback.print_exc()
        return Code(module, before, f"the code cannot be loaded: {type(error).__name__}: {error}")
    if (threads := psutil.Process().num_threads()) > 1:
        return Code(module, before, f"a process with {threads} threads must not be forked")
    gc.collect()
    gc.freeze()
    return Code(module, before, None)


def _resolve(module: Any) -> None:
    """Build the jobs now instead of in every run."""
    repository = module.defs.get_repository_def()
    for name in repository.job_names:
        repository.get_job(name)


def fingerprint(module: str) -> Fingerprint:
    """Return time and size of every file in the packages of the pipeline and of the module."""
    return {path: (found.st_mtime_ns, found.st_size) for root in _roots(module) for path, found in _files(root)}


def _roots(module: str) -> set[Path]:
    own = Path(neural_pipeline.__file__).resolve().parent
    top = module.partition(".")[0]
    specification = importlib.util.find_spec(top)
    places = (specification.submodule_search_locations or []) if specification else []
    return {own, *(Path(place).resolve() for place in places)}


def _files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _files(Path(entry.path))
            elif not entry.name.startswith("."):
                with suppress(FileNotFoundError):  # an editor's, gone by now
                    yield entry.path, entry.stat(follow_symlinks=False)
