"""Faults of the processes beside Dagster that make it fast."""

from neural_pipeline_tests.faults.site import Site, kill


def kill_the_run_server(site: Site) -> None:
    """First alone, its run goes on; then together with the worker of a run, so that nobody is left to report that."""
    site.stop_in("store")
    kill(site.run_server())
    site.go_on("store")
    worker = site.stop_in("recount")
    kill(site.run_server())
    kill(worker)
    site.go_on("recount")


def kill_the_dispatcher(site: Site) -> None:
    """As soon as a batch is open: before its run is made, while that is launched, or when the process is there."""
    for number in range(4):
        site.await_(lambda: site.scalar(_OPEN) or not site.unfinished(), f"open batch {number + 1}")
        site.kill_everything(only="automation.dispatcher")
        site.await_progress()


_OPEN = "select count(*) from event_batches where state = 'open'"
