"""The faults. Each is brought about while the events are being done; what follows is judged elsewhere."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg

from neural_pipeline.automation.lifecycle import lifecycle_sensors
from neural_pipeline.definitions import defs
from neural_pipeline.workflows.batch_work.tags import BATCH_TAG
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline_tests.faults.companions import kill_the_dispatcher, kill_the_run_server
from neural_pipeline_tests.faults.events import HANG, POISON
from neural_pipeline_tests.faults.site import Site, kill, terminate_backends

LIFECYCLE = [sensor.name for sensor in lifecycle_sensors(observation_capture)]
ALL_SENSORS = [sensor.name for sensor in defs.sensors or []]


def nothing(_site: Site) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Scenario:
    """A fault: what is done before the daemon starts, and what while it works."""

    name: str
    says: str
    fault: Callable[[Site], None] = nothing
    before: Callable[[Site], None] = nothing
    settings: dict[str, str] = field(default_factory=dict[str, str])
    special: tuple[str, str] | None = None
    may_cancel: bool = False
    patience: float = 180.0
    """Seconds in which some capture must end."""


def kill_in(op: str) -> Callable[[Site], None]:
    """Return the fault that kills a worker inside an op."""

    def kill_worker(site: Site) -> None:
        pid = site.stop_in(op)
        kill(pid)
        site.go_on(op)

    return kill_worker


def kill_daemon_between_assignment_and_launch(site: Site) -> None:
    """Everything of Dagster is killed as soon as a batch is open that no run has taken."""
    site.await_(lambda: site.scalar("select count(*) from event_batches where state = 'open'"), "an open batch")
    site.kill_everything()
    site.stop_daemons()
    site.start_daemon()


def kill_postgres_ten_times(site: Site) -> None:
    """Immediate stop and start, ten times, with work in between."""
    for _ in range(10):
        site.restart_server()
        site.keep_daemon()
        time.sleep(2.5)


def start_a_second_daemon(site: Site) -> None:
    """A second daemon with a code server of its own."""
    site.start_daemon()


def restart_postgres_then_kill_a_worker(site: Site) -> None:
    """After the restart Dagster's own watcher of workers may be gone; the lease is what is left."""
    site.restart_server()
    site.keep_daemon()
    kill_in("classify")(site)


def switch(site: Site, names: list[str], *, on: bool) -> None:
    """Turn sensors on or off through Dagster's API, by their state in its storage."""
    with site.dagster() as instance:
        for state in instance.all_instigator_state():
            if state.name in names:
                status = dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
                instance.update_instigator_state(state.with_status(_instigator_status(status)))


def _instigator_status(status: dg.DefaultSensorStatus):
    from dagster._core.scheduler.instigation import InstigatorStatus

    return InstigatorStatus.RUNNING if status is dg.DefaultSensorStatus.RUNNING else InstigatorStatus.STOPPED


def sensors_off_for_a_minute(site: Site) -> None:
    """No sensor at all for a minute: runs end unseen, leases are kept by nobody but the workers."""
    site.await_progress()
    switch(site, ALL_SENSORS, on=False)
    time.sleep(60)
    switch(site, ALL_SENSORS, on=True)


def off_throughout(names: list[str]) -> Callable[[Site], None]:
    """Return what turns sensors off before there is any work for them."""

    def turn_off(site: Site) -> None:
        site.execute("update incoming_events set due_at = clock_timestamp() + interval '1 hour'")
        site.start_daemon()
        site.await_(lambda: _known(site) >= set(names), "the sensors to be known to Dagster")
        switch(site, names, on=False)
        site.execute("update incoming_events set due_at = clock_timestamp()")

    return turn_off


def _known(site: Site) -> set[str]:
    with site.dagster() as instance:
        return {state.name for state in instance.all_instigator_state()}


def revoke_and_grant(site: Site) -> None:
    """The pipeline's role may not write observations for a while, as on a full disk or a read-only server."""
    site.execute("revoke insert on lightfast_workspace_neural_observations from pipeline")
    time.sleep(15)
    site.execute("grant insert on lightfast_workspace_neural_observations to pipeline")


def migrate_meanwhile(site: Site) -> None:
    """The schema is another program's for a while, with batches open: no run of this one may work on it."""
    site.await_(lambda: site.scalar("select count(*) from event_batches where state = 'open'"), "an open batch")
    own = site.scalar("select version_num from neural_alembic_version")
    site.execute("update neural_alembic_version set version_num = '9999'")
    time.sleep(20)
    site.execute(f"update neural_alembic_version set version_num = '{own}'")


def stop_a_worker_beyond_its_lease(site: Site) -> None:
    """SIGSTOP before it stores, SIGCONT after its batch was given to another run."""
    pid = site.stop_in("store")
    kill(pid, signal.SIGSTOP)
    site.go_on("store")
    site.await_(
        lambda: site.scalar("select count(*) from event_batches where close_reason = 'lost'"), "the lease to end"
    )
    site.await_progress()
    kill(pid, signal.SIGCONT)
    site.await_(lambda: site.scalar("select sum(stale_writes) from event_batches"), "the late write to be counted")


def stop_a_worker_in_a_transaction(site: Site) -> None:
    """SIGSTOP while it holds its batch and the rows of a chunk: the server ends that session after a minute."""
    pid = site.stop_in("transaction")
    kill(pid, signal.SIGSTOP)
    site.go_on("transaction")
    site.await_(
        lambda: site.scalar("select count(*) from event_batches where close_reason = 'lost'"), "the batch to be free"
    )
    site.await_progress()
    kill(pid, signal.SIGCONT)


def no_rights_beyond_the_lease(site: Site) -> None:
    """Nothing can be written, the end of a run and its lease included, for longer than a lease."""
    site.await_progress()
    tables = (
        "incoming_events, event_batches, lightfast_workspace_workflow_runs, lightfast_workspace_neural_observations"
    )
    site.execute(f"revoke insert, update on {tables} from pipeline")
    time.sleep(20)
    site.execute(f"grant insert, update on {tables} to pipeline")


def delete_a_run(site: Site) -> None:
    """A run at work is deleted in Dagster, its worker goes on."""
    site.stop_in("store")
    with site.dagster() as instance:
        instance.delete_run(_running(site))
    site.go_on("store")


def re_execute_runs(site: Site) -> None:
    """Runs are executed again with their tags copied: one that is at work, and one that has ended."""
    site.await_(lambda: site.scalar("select count(*) from event_batches where state = 'closed'"), "a batch done")
    site.stop_in("store")
    ended = site.scalar("select id from event_batches where state = 'closed' order by id limit 1")
    at_work = site.scalar("select id from event_batches where state = 'running' order by id limit 1")
    for batch_id in (at_work, ended):
        site.execute_job(tags={BATCH_TAG: str(batch_id)})
    site.go_on("store")


def cancel_a_run(site: Site) -> None:
    """A run at work is cancelled as the user interface does it."""
    site.stop_in("store")
    with site.dagster() as instance:
        instance.run_launcher.terminate(_running(site))
    site.go_on("store")


def cut_connections(site: Site) -> None:
    """Every connection of the pipeline is cut, again and again: commits go unanswered."""
    for _ in range(25):
        with site.engine.begin() as connection:
            terminate_backends(connection)
        site.keep_daemon()
        time.sleep(0.4)


def kill_the_code_server(site: Site) -> None:
    """The code location goes and comes again while runs are at work."""
    site.stop_in("store")
    site.kill_everything(only="api grpc")
    site.go_on("store")


def reboot(site: Site) -> None:
    """Everything ends at once, the server too, and is started again."""
    site.stop_in("store")
    site.kill_everything()
    site.go_on("store")
    site.stop_daemons()
    site.restart_server()
    site.start_daemon()


def _running(site: Site) -> str:
    return site.scalar("select run_id from event_batches where state = 'running' order by id limit 1")


OPS = ("load", "gate", "classify", "embed", "extract_entities", "resolve_actors", "assign_clusters", "store")
CHILDREN = ("recount", "summarise", "extract")

SCENARIOS = (
    *(Scenario(f"worker-killed-in-{op}", f"kill -9 of a run worker in `{op}`", kill_in(op)) for op in OPS),
    *(Scenario(f"child-killed-in-{op}", f"kill -9 of a child's run worker in `{op}`", kill_in(op)) for op in CHILDREN),
    Scenario(
        "daemon-killed",
        "kill -9 of daemon and code server between assignment and launch",
        kill_daemon_between_assignment_and_launch,
    ),
    Scenario("postgres-killed", "immediate stop of Postgres, ten times", kill_postgres_ten_times),
    Scenario("two-daemons", "two daemons at once", start_a_second_daemon),
    Scenario(
        "watcher-gone",
        "restart of Postgres, then kill -9 of a worker",
        restart_postgres_then_kill_a_worker,
    ),
    Scenario("sensors-off", "all sensors off for a minute", sensors_off_for_a_minute),
    Scenario("reconciler-alone", "lifecycle sensors off throughout", before=off_throughout(LIFECYCLE)),
    Scenario("sensors-alone", "reconciler off throughout", before=off_throughout(["reconciler"])),
    Scenario(
        "poison",
        "an event that kills its worker every time",
        special=(f"[PR Opened] {POISON}", "worker_lost"),
        settings={"NEURAL_CAPTURE_MAX_BATCH": "400", "NEURAL_ISOLATING_LOSSES": "3"},
    ),
    Scenario(
        "hanging",
        "an event that keeps its worker for ever",
        special=(f"[PR Opened] {HANG}", "timeout"),
        settings={
            "NEURAL_CAPTURE_TIMEOUT_SECONDS": "20",
            "NEURAL_CAPTURE_MAX_BATCH": "400",
            "NEURAL_ISOLATING_LOSSES": "3",
        },
    ),
    Scenario("no-right-to-write", "the right to write observations is revoked for a while", revoke_and_grant),
    Scenario("upgrade-meanwhile", "the schema is upgraded under open batches, and put back", migrate_meanwhile),
    Scenario("read-only", "nothing at all can be written for longer than a lease", no_rights_beyond_the_lease),
    Scenario(
        "worker-stopped-in-a-transaction",
        "a worker is stopped in the middle of a transaction and comes back",
        stop_a_worker_in_a_transaction,
    ),
    Scenario("worker-comes-back", "a worker stopped beyond its lease comes back", stop_a_worker_beyond_its_lease),
    Scenario("run-deleted", "a run at work is deleted in Dagster", delete_a_run),
    Scenario("run-again", "runs are executed again from Dagster", re_execute_runs),
    Scenario("run-cancelled", "a run at work is cancelled in Dagster", cancel_a_run, may_cancel=True),
    Scenario("commits-unanswered", "connections are cut 25 times during the work", cut_connections),
    Scenario("code-reloaded", "the code server is killed while runs are at work", kill_the_code_server),
    Scenario(
        "run-server-killed",
        "kill -9 of the run server, alone and with a worker",
        kill_the_run_server,
        settings={"NEURAL_RUN_LAUNCHER": "warm"},
    ),
    Scenario(
        "dispatcher-killed",
        "kill -9 of the dispatcher, four times while it starts runs",
        kill_the_dispatcher,
        settings={"NEURAL_RUN_LAUNCHER": "warm", "NEURAL_DISPATCHER": "true", "NEURAL_CAPTURE_MAX_BATCH": "25"},
        patience=60.0,
    ),
    Scenario("reboot", "everything ends at once, Postgres too", reboot),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
SHORT = ("child-killed-in-extract",)
"""The named subset that CI runs, with fewer events."""
