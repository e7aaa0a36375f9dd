"""The runs that the dispatcher makes: as the sensor's would be, started at once or queued as Dagster's limits say."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest
import yaml

from neural_pipeline.automation.dispatcher import Dispatcher
from neural_pipeline.automation.dispatcher_runs import DEFINITIONS, LOCATION, Launchable, load_jobs
from neural_pipeline.automation.run_server_process import LAUNCHING_TAG, Worker
from neural_pipeline.cli.environment import deployment_file
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.definitions import workflows
from neural_pipeline_tests.building import source_event
from neural_pipeline_tests.dagster.dispatching import CAPTURE, QUEUE, dispatching, queued, until
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


def test_the_run_is_the_one_that_the_sensor_would_have_asked_for(site: Site, dispatcher: Dispatcher):
    site.ingest(source_event("a"))
    until(dispatcher, lambda: queued(site))
    [run], [request] = queued(site), site.tick()
    job = dispatcher.desk.jobs[CAPTURE].job
    daemons = {"dagster/run_key": request.run_key, ".dagster/repository": None, "dagster/code_location": LOCATION}
    expected = {**job.run_tags, **request.tags, **daemons}
    made = {name.removeprefix("."): value for name, value in run.tags.items()}
    assert LAUNCHING_TAG not in made
    assert made == {name: value for name, value in expected.items() if value is not None}
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.repository_origin.get_label() == f"__repository__@{LOCATION}"
    assert run.job_code_origin is not None
    assert run.job_code_origin.repository_origin.code_pointer.describe() == f"from {DEFINITIONS} import defs"
    assert run.job_snapshot_id == job.get_job_snapshot_id()
    assert run.execution_plan_snapshot_id is not None


def test_module_and_location_are_those_of_the_workspace():
    [location] = yaml.safe_load(deployment_file("workspace.yaml").read_text())["load_from"]
    assert location["python_module"] == {"module_name": DEFINITIONS, "location_name": LOCATION}


def test_every_job_that_works_off_the_inbox_is_known(jobs: dict[FunctionId, Launchable]):
    assert {function_id: one.job.name for function_id, one in jobs.items()} == {
        function_id: job.name for function_id, job in workflows.items()
    }


class Warm(dg.DefaultRunLauncher):
    """A launcher that is warm, and puts down what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.launched: list[str] = []

    def is_warm(self) -> bool:
        return True

    def launch_run(self, context: object) -> None:
        self.launched.append(context.dagster_run.run_id)  # type: ignore[attr-defined]


@pytest.fixture
def warm(site: Site, monkeypatch: pytest.MonkeyPatch) -> Warm:
    launcher = Warm()
    monkeypatch.setattr(type(site.instance), "run_launcher", property(lambda _: launcher))
    return launcher


def test_with_a_warm_launcher_the_run_is_started_without_the_queue(site: Site, dispatcher: Dispatcher, warm: Warm):
    site.ingest(source_event("a"))
    until(dispatcher, lambda: warm.launched)
    [run] = site.instance.get_runs()
    assert (warm.launched, run.status) == ([run.run_id], dg.DagsterRunStatus.STARTING)


@pytest.mark.parametrize("worker", ["none", "dead", "alive", "elsewhere"])
def test_a_run_whose_dispatcher_died_while_it_launched_it_is_given_up_by_the_next(
    site: Site, dispatcher: Dispatcher, warm: Warm, worker: str
):
    site.ingest(source_event("a"))
    until(dispatcher, lambda: warm.launched)
    [run] = site.instance.get_runs()
    this = Worker.this_process(run.run_id)
    named = {"dead": replace(this, born=this.born - 1), "alive": this, "elsewhere": replace(this, host="elsewhere")}
    if worker in named:
        site.instance.add_run_tags(run.run_id, named[worker].tags())
    others = site.instance.create_run_for_job(
        dispatcher.desk.jobs[CAPTURE].job, status=dg.DagsterRunStatus.STARTING
    )  # the daemon's
    again = site.instance.create_run_for_job(
        dispatcher.desk.jobs[CAPTURE].job, status=dg.DagsterRunStatus.STARTING, tags={LAUNCHING_TAG: run.run_id}
    )  # executed again, with the tags of the first
    given_up = [run.run_id] if worker in {"none", "dead"} else []
    assert dispatcher.desk.give_up_unlaunched() == given_up
    assert [
        one.run_id for one in site.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    ] == given_up
    assert dispatcher.desk.give_up_unlaunched() == []
    assert {others.run_id, again.run_id}.isdisjoint(given_up)


def going(site: Site, job: dg.JobDefinition, *, times: int = 1) -> None:
    """Have runs of a job at work."""
    for _ in range(times):
        site.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=dict(job.run_tags))


def test_a_run_for_which_dagster_has_no_place_waits_in_its_queue(site: Site, dispatcher: Dispatcher, warm: Warm):
    going(site, dispatcher.desk.jobs[CAPTURE].job, times=3)
    site.ingest(source_event("a"))
    until(dispatcher, lambda: queued(site))
    assert warm.launched == []


def test_a_run_beyond_the_limit_of_its_tag_waits_in_the_queue(site: Site, dispatcher: Dispatcher, warm: Warm):
    going(site, dispatcher.desk.jobs[FunctionId.PROFILE_UPDATE].job)
    site.ingest(source_event("a"))
    site.execute("update incoming_events set function_id = 'neural.cluster.summary'")
    until(dispatcher, lambda: queued(site))
    assert (warm.launched, queued(site)[0].job_name) == ([], "cluster_summary")


def test_a_run_does_not_overtake_those_of_its_job_that_wait(site: Site, dispatcher: Dispatcher, warm: Warm):
    before = dispatcher.desk.jobs[CAPTURE].create_run(site.instance, dg.RunRequest(run_key="0"))
    site.instance.submit_run(before.run_id, None)  # type: ignore[arg-type]
    site.ingest(source_event("a"))
    until(dispatcher, lambda: len(queued(site)) == 2)
    assert warm.launched == []
