"""The dispatcher, driven step by step: what it does the moment something is announced, and what it leaves to others."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import dagster as dg
import pytest
from sqlalchemy.exc import SQLAlchemyError

from neural_pipeline.automation.dispatcher import Dispatcher
from neural_pipeline.automation.dispatcher_runs import Launchable, load_jobs
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.store.announcements import Unheard, left_to_the_sensor
from neural_pipeline.store.drain import start_draining
from neural_pipeline.store.exclusive import Taken
from neural_pipeline_tests.building import source_event, workspaces
from neural_pipeline_tests.dagster.dispatching import CAPTURE, QUEUE, dispatching, for_a_while, queued, until
from neural_pipeline_tests.dagster.launching import Site


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance in which runs wait in a queue that nobody works off."""
    with dg.instance_for_test(overrides=QUEUE) as instance:
        yield instance


@pytest.fixture(scope="session")
def jobs() -> dict[FunctionId, Launchable]:
    return dict(load_jobs())


@pytest.fixture
def dispatcher(site: Site, jobs: dict[FunctionId, Launchable]) -> Iterator[Dispatcher]:
    with dispatching(site, jobs) as dispatcher:
        yield dispatcher


def hear_of(site: Site, run_id: str) -> None:
    """Announce an event of a run as Dagster's storage does."""
    site.execute(f"notify run_events, '{run_id}_17'")


def test_what_is_taken_in_has_its_run_at_once(site: Site, dispatcher: Dispatcher):
    ids = site.ingest(source_event("a"), source_event("b"))
    until(dispatcher, lambda: queued(site))
    [batch], [run] = site.batches(), queued(site)
    assert site.column("select id from incoming_events where batch_id = :id order by id", id=batch["id"]) == ids
    assert (run.job_name, run.tags["neural/batch"]) == ("observation_capture", str(batch["id"]))


def test_nothing_is_assigned_while_the_daemon_shuts_down(site: Site, dispatcher: Dispatcher):
    with site.engine.connect() as connection:
        start_draining(connection)
        site.ingest(source_event("a"))
        for_a_while(dispatcher)
        assert site.batches() == []
        connection.commit()
        connection.invalidate()


def test_what_waits_for_its_time_is_done_when_that_comes(site: Site, dispatcher: Dispatcher):
    [event] = site.ingest(source_event("a"))
    site.execute("update incoming_events set due_at = clock_timestamp() + interval '1.5 s'")
    for_a_while(dispatcher)
    assert site.batches() == []
    began = time.monotonic()
    while not site.batches():
        dispatcher.step(seconds=5.0)
    assert time.monotonic() - began < 4
    sql = "select assigned_at >= due_at as is_so from event_batches, incoming_events e where e.id = :id"
    assert site.row(sql, id=event)["is_so"]


def test_outcomes_reach_the_lifecycle_rows_while_the_run_still_goes(site: Site, dispatcher: Dispatcher):
    [event] = site.ingest(source_event("a"))
    [request] = site.tick()
    site.launch(tags=dict(request.tags))
    assert (site.batches()[0]["state"], site.run_of(event)["status"]) == ("running", "queued")
    until(dispatcher, lambda: site.run_of(event)["status"] == "completed")
    assert site.batches()[0]["state"] == "running"


def test_the_end_of_a_run_frees_its_place_and_the_next_batch_follows(
    site: Site, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURAL_MAX_OPEN_BATCHES", "1")
    site.ingest(source_event("a"))
    [request] = site.tick()
    result = site.launch(tags=dict(request.tags))
    site.ingest(source_event("b"))
    dispatcher.desk = replace(dispatcher.desk, pipeline=Pipeline())
    for_a_while(dispatcher)
    assert len(site.batches()) == 1
    hear_of(site, result.run_id)
    until(dispatcher, lambda: len(site.batches()) == 2)
    first, second = site.batches()
    assert (first["state"], first["close_reason"], second["state"]) == ("closed", "success", "open")
    until(dispatcher, lambda: [run.tags["neural/batch"] for run in queued(site)] == [str(second["id"])])


def test_a_run_whose_status_is_written_after_its_announcement_is_settled(site: Site, dispatcher: Dispatcher):
    site.ingest(source_event("a"))
    [request] = site.tick()
    run = site.instance.create_run_for_job(dispatcher.desk.jobs[CAPTURE].job, tags=dict(request.tags))
    site.execute("update event_batches set state = 'running', run_id = :id, taken_at = now()", id=run.run_id)
    hear_of(site, run.run_id)
    for_a_while(dispatcher, 0.2)
    site.instance.report_run_failed(run)
    until(dispatcher, lambda: site.batches()[0]["close_reason"] == "failure", seconds=3)


def test_what_was_announced_while_nobody_listened_is_caught_up_with(site: Site, jobs: dict[FunctionId, Launchable]):
    [event] = site.ingest(source_event("a"))
    [request] = site.tick()
    site.launch(tags=dict(request.tags))
    site.ingest(source_event("b"))
    with dispatching(site, jobs) as dispatcher:
        dispatcher.catch_up()
        until(dispatcher, lambda: [batch["state"] for batch in site.batches()] == ["closed", "open"])
    assert site.run_of(event)["status"] == "completed"


def test_a_second_dispatcher_waits_for_the_end_of_the_first(site: Site, jobs: dict[FunctionId, Launchable]):
    with dispatching(site, jobs), pytest.raises(Taken), dispatching(site, jobs):
        pass
    with dispatching(site, jobs) as second:
        site.ingest(source_event("a"))
        until(second, lambda: queued(site))


def test_a_batch_whose_dispatcher_died_before_it_asked_is_asked_for_by_the_sensor(
    site: Site, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(Launchable, "create_run", die)
    site.ingest(source_event("a"))
    with pytest.raises(SystemExit):
        for_a_while(dispatcher, 10)
    [batch] = site.batches()
    assert [request.run_key for request in site.tick()] == [str(batch["id"])]


def test_while_the_dispatcher_asks_for_a_run_the_sensor_does_not(
    site: Site, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
):
    ticks: list[list[dg.RunRequest]] = []
    create = Launchable.create_run

    def create_during_a_tick(*given: Any) -> dg.DagsterRun:
        with ThreadPoolExecutor(1) as pool:
            ticks.append(pool.submit(site.tick).result(timeout=20))
        return create(*given)

    monkeypatch.setattr(Launchable, "create_run", create_during_a_tick)
    site.ingest(source_event("a"))
    until(dispatcher, lambda: queued(site))
    assert ticks == [[]]


def test_while_the_sensor_assigns_the_dispatcher_does_not_wait_for_it(site: Site, dispatcher: Dispatcher):
    site.ingest(source_event("a"))
    with site.engine.begin() as connection:
        left_to_the_sensor(connection, function_id=CAPTURE)
        for_a_while(dispatcher)
        assert (queued(site), site.batches()) == ([], [])
        assert dispatcher.desk.start_due(FunctionId.PROFILE_UPDATE) == []
    until(dispatcher, lambda: queued(site))


def test_runs_that_take_too_long_to_ask_for_are_left_to_the_sensor(
    site: Site, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
):
    create, now = Launchable.create_run, time.monotonic

    def create_slowly(*given: Any) -> dg.DagsterRun:
        monkeypatch.setattr(time, "monotonic", lambda: now() + 20)
        return create(*given)

    monkeypatch.setattr(Launchable, "create_run", create_slowly)
    monkeypatch.setenv("NEURAL_CAPTURE_MAX_BATCH", "1")
    dispatcher.desk = replace(dispatcher.desk, pipeline=Pipeline())
    with site.engine.begin() as connection:
        names = workspaces(connection, "ws_0", "ws_1")
    for name in names:
        site.ingest(source_event("a"), workspace_id=name)
    assert len(dispatcher.desk.start_due(CAPTURE) or []) == 2
    [run] = queued(site)
    asked = [request.run_key for request in site.tick()]
    assert len(asked) == 2
    assert run.tags["dagster/run_key"] in asked


def test_sensor_and_dispatcher_at_once_put_each_event_on_one_batch_with_one_run(site: Site, dispatcher: Dispatcher):
    with site.engine.begin() as connection:
        names = workspaces(connection, *[f"ws_{n}" for n in range(8)])
    by_sensor: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        for name in names:
            site.ingest(source_event("a"), workspace_id=name)
            ticking = pool.submit(site.tick)
            while not ticking.done():
                dispatcher.step(seconds=0.01)
            known = {run.tags["neural/batch"] for run in site.instance.get_runs()}
            # The daemon skips the keys of runs that are there.
            by_sensor += [str(request.run_key) for request in ticking.result() if request.run_key not in known]
            until(dispatcher, lambda: all(batch["state"] == "open" for batch in site.batches()[-1:]))
            site.execute("update event_batches set state = 'closed', closed_at = now()")
            site.execute("update batch_workspaces set closed_at = now() where closed_at is null")
    by_dispatcher = [run.tags["neural/batch"] for run in site.instance.get_runs()]
    assert sorted(by_dispatcher + by_sensor) == sorted(str(batch["id"]) for batch in site.batches())
    assert len(site.batches()) == len(names)


def test_an_error_of_one_function_keeps_no_other_from_its_work(
    site: Site, dispatcher: Dispatcher, capsys: pytest.CaptureFixture[str]
):
    broken = {**dispatcher.desk.jobs, FunctionId.CLUSTER_SUMMARY: cast("Launchable", None)}
    dispatcher.desk = replace(dispatcher.desk, jobs=dict(sorted(broken.items())))
    site.ingest(source_event("a"), source_event("b"))
    site.execute("update incoming_events set function_id = 'neural.cluster.summary' where delivery_id = 'd-1'")
    until(dispatcher, lambda: queued(site))
    assert [run.job_name for run in queued(site)] == ["observation_capture"]
    assert "starting neural.cluster.summary failed and is left to the sensors" in capsys.readouterr().err


def test_a_connection_that_is_cut_is_noticed_and_the_next_one_takes_over(
    site: Site, jobs: dict[FunctionId, Launchable]
):
    cut = "select pg_terminate_backend(pid) from pg_stat_activity"
    with dispatching(site, jobs) as dispatcher:
        site.rows(f"{cut} where pid <> pg_backend_pid() and datname = current_database()")
        with pytest.raises((Unheard, SQLAlchemyError)):
            for_a_while(dispatcher, 10)
    site.engine.dispose()
    site.ingest(source_event("a"))
    with dispatching(site, jobs) as dispatcher:
        dispatcher.catch_up()
        until(dispatcher, lambda: queued(site))
