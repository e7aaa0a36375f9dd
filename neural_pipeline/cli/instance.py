"""Dagster's own storage as commands of this program reach it: runs, sensors, daemons."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from neural_pipeline.cli.environment import process_environment
from neural_pipeline.postgres.target import Target


@contextmanager
def dagster_instance(target: Target) -> Generator[dg.DagsterInstance]:
    """Open the Dagster instance that belongs to a database, as its daemon sees it."""
    needed = process_environment(target)
    before = {name: os.environ.get(name) for name in needed}
    os.environ.update(needed)
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
