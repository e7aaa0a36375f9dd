"""A durable server of its own for the contest, and for each contestant a database cloned from one that is ready."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.folders import SHORT_FOLDER
from neural_pipeline.postgres.server import ensure, server_url
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.migrate import upgrade
from neural_pipeline.store.workspaces import create_workspace
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite

SETTINGS: Mapping[str, str] = {
    "NEURAL_PROFILE_DEBOUNCE_SECONDS": "0.2",
    "NEURAL_PROFILE_MAX_DEBOUNCE_SECONDS": "2",
    "NEURAL_SUMMARY_DEBOUNCE_SECONDS": "0.2",
    "NEURAL_SUMMARY_MAX_DEBOUNCE_SECONDS": "2",
    "NEURAL_EXTRACTION_DEBOUNCE_SECONDS": "0",
    "NEURAL_EXTRACTION_MAX_DEBOUNCE_SECONDS": "0",
}
"""What all contestants are set to: children wait a moment for news, and two seconds at most."""

_TEMPLATE = "template_of_contest"
_WORKSPACE_SETTINGS = {"version": 1, "embedding": {"namespaceName": "bench"}}
_FROM_OUTSIDE = ("DATABASE_URL", "DAGSTER_HOME", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")


@contextmanager
def durable_server() -> Generator[Path]:
    """Yield the home of a fresh server that keeps what it has said it keeps (fsync); it goes with this process."""
    home = Path(tempfile.mkdtemp(prefix="neural-bench-", dir=SHORT_FOLDER))
    watchdog = [sys.executable, "-m", "neural_pipeline.postgres.watchdog", str(home)]
    # It reads to the end of its input, which comes when this process ends, however that happens.
    with subprocess.Popen(watchdog, stdin=subprocess.PIPE, start_new_session=True):
        ensure(home)
        yield home


@contextmanager
def only_settings_of_the_contest() -> Generator[None]:
    """Take away what the shell exports: it must not decide who wins."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("NEURAL_")}
    kept |= {name: os.environ.pop(name) for name in _FROM_OUTSIDE if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def site_for(name: str, home: Path, events: Events) -> Generator[BenchSite]:
    """Yield what a contestant has for itself; database and folder are gone afterwards."""
    admin = server_url(home, "postgres")
    create_database(admin, name, template=_template(home))
    url = server_url(home, name)
    make_workspaces(url, events)
    with tempfile.TemporaryDirectory(prefix=f"neural-bench-{name}-", dir=SHORT_FOLDER) as folder:
        yield BenchSite(home, url, Path(folder), SETTINGS)
    engine_for(url).dispose()
    drop_database(admin, name)


def make_workspaces(url: URL, events: Events) -> None:
    """Create the workspaces of the events."""
    with engine_for(url).begin() as connection:
        for id_ in events.workspaces:
            create_workspace(connection, id_, organisation="org_bench", name=id_, settings=_WORKSPACE_SETTINGS)


def _template(home: Path) -> str:
    url = server_url(home, _TEMPLATE)
    if create_database(server_url(home, "postgres"), _TEMPLATE):
        engine = create_engine(url)
        upgrade(engine)
        engine.dispose()
    return _TEMPLATE
