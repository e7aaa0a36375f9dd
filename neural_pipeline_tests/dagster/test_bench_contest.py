"""The contest in small: contestants that go different ways about the same events leave the same behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from neural_pipeline.resources import Pipeline
from neural_pipeline_tests.benchmarks.fast.capture_logic import CAPTURE, PerEvent, is_all_done, work_off_due
from neural_pipeline_tests.benchmarks.fast.end_state import differences, end_state
from neural_pipeline_tests.benchmarks.fast.entrants import FLOOR, LOOP, complaints, entrant, held
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.intake import hand_in
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite
from neural_pipeline_tests.benchmarks.fast.site import site_for
from neural_pipeline_tests.benchmarks.fast.working import Crew

EVENTS = Events(30, 3)


@pytest.mark.slow
def test_event_by_event_and_set_wise_end_alike(server: Path) -> None:
    floor = held(entrant(FLOOR), EVENTS, server, crew=Crew(1))
    loop = held(entrant(LOOP), EVENTS, server, crew=Crew(1))
    assert complaints(loop, floor.state) == []
    assert floor.state["captures by result"]["success"] > 20
    assert floor.state["executions by function and status"].keys() >= {
        "neural.observation.capture completed",
        "neural.llm-entity-extraction completed",
        "neural.profile.update completed",
        "neural.cluster.summary completed",
    }
    assert floor.measured.events == loop.measured.events == 30
    assert floor.measured.python_cpu_s > 0
    assert floor.measured.postgres_cpu_s > 0
    assert floor.measured.details["children_worked"] > 30


@pytest.fixture
def site(server: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BenchSite]:
    """A site of the contest in this process."""
    with site_for("contest_in_process", server, EVENTS) as site:
        for name, value in site.environment.items():
            monkeypatch.setenv(name, value)
        yield site


def test_a_row_that_is_missing_is_seen_in_the_end_state(site: BenchSite) -> None:
    jobs = [job for chunk in hand_in(site.engine, EVENTS.first(6)) for job in chunk]
    work_off_due(Pipeline(), CAPTURE)
    before = end_state(site.engine)
    with site.engine.begin() as connection:
        connection.execute(
            text("delete from observation_vectors where ctid = (select min(ctid) from observation_vectors)")
        )
        connection.execute(
            text("delete from lightfast_workspace_operations_metrics where event_id = :id"), {"id": jobs[0].event_id}
        )
    told = {one.what for one in differences(end_state(site.engine), before)}
    assert {"vectors", "metrics by type"} <= told


def test_an_event_is_worked_on_once_and_asks_for_its_children(site: BenchSite) -> None:
    [[job]] = hand_in(site.engine, EVENTS.first(1))
    per_event = PerEvent(Pipeline())
    children = per_event.work(job)
    assert len({child.function_id for child in children}) == 3
    assert per_event.work(job) == []
    with site.engine.begin() as connection:
        assert not is_all_done(connection)
    for child in children:
        per_event.work(child)
    with site.engine.begin() as connection:
        assert is_all_done(connection)
        assert connection.execute(text("select count(*) from event_batches")).scalar() == 4


def test_an_event_whose_work_fails_leaves_nothing_behind(site: BenchSite) -> None:
    [[job]] = hand_in(site.engine, EVENTS.first(1))
    refuse = "alter table observation_vectors add constraint none check (false) not valid"
    with site.engine.begin() as connection:
        connection.execute(text(refuse))
    before = end_state(site.engine)
    with pytest.raises(Exception, match="aborted"):
        PerEvent(Pipeline()).work(job)
    assert end_state(site.engine) == before
