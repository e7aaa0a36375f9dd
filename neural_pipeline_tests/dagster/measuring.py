"""A site whose runs have ended in every way, for what is told of them: materialising, and reading what came out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from sqlalchemy.engine import URL

from neural_pipeline.contracts.events import Actor
from neural_pipeline.definitions import defs
from neural_pipeline.store.database import engine_for
from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.conftest import empty
from neural_pipeline_tests.dagster.launching import UNSTORABLE, Site

HOSTILE = "a|b <script>alert(1)</script> [x](javascript:1) `c` ![i](http://host/i.png)\nnew\x1b[31m\u202eline"


@contextmanager
def site_of(database: URL, instance: dg.DagsterInstance, home: Path) -> Iterator[Site]:
    """An empty site whose reports go to a folder of its own."""
    with at_site(database, instance, home) as site:
        empty(site.engine)
        yield site


@contextmanager
def at_site(database: URL, instance: dg.DagsterInstance, home: Path) -> Iterator[Site]:
    """The site of a database, as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", database.render_as_string(hide_password=False))
        patch.setenv("NEURAL_CAPTURE_RETRIES", "0")
        patch.setenv("NEURAL_HOME", str(home))
        yield Site(engine_for(database), instance)


def worked_off(site: Site) -> Site:
    """Have real runs capture events, know one of them already, and fail on one."""
    site.ingest(
        *(source_event(f"pr:acme/shop#{n}:opened", actor=Actor(id="7", name="ada")) for n in range(3)),
        source_event("pr:acme/shop#1:opened"),
        source_event("pr:acme/shop#8:opened", title=f"[PR Opened] {UNSTORABLE}"),
    )
    site.work_off()
    return site


def materialised(site: Site, *names: str) -> dg.ExecuteInProcessResult:
    """Materialise assets, all there are unless some are named, with their checks."""
    selection = [dg.AssetKey(name) for name in names] or None
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=site.instance, asset_selection=selection, raise_on_error=False
    )


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Return the metadata of an asset's only materialisation as plain values."""
    [event] = [event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey(asset)]
    found = event.materialization.metadata
    return {name: cast("Any", value).value for name, value in found.items()}


def evaluation(site: Site, check: str, *assets: str) -> dg.AssetCheckEvaluation:
    """Materialise what a check looks at, and return what it says."""
    result = materialised(site, *assets)
    assert result.success
    [found] = [one for one in result.get_asset_check_evaluations() if one.check_name == check]
    return found
