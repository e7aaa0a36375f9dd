"""Faults of the processes beside Dagster that make it fast."""

from neural_pipeline_tests.faults.site import Site, kill


def kill_the_run_server(site: Site) -> None:
    """First alone, its run goes on; then together with the worker of a run, so that nobody is left to report that."""
    site.stop_in("store")
    kill(site.companion("run server"))
    site.go_on("store")
    worker = site.stop_in("recount")
    kill(site.companion("run server"))
    kill(worker)
    site.go_on("recount")


def kill_the_dispatcher(site: Site) -> None:
    """As soon as it listens and a batch is open: before its run is made, while that is launched, or just afterwards."""
    for number in range(4):
        site.await_(lambda: site.scalar(_IS_LISTENING), f"dispatcher {number + 1} to listen")
        site.await_(lambda: site.scalar(_OPEN), f"an open batch beside dispatcher {number + 1}")
        kill(site.companion("dispatcher"))
        site.await_(lambda: not site.scalar(_IS_LISTENING), f"the end of dispatcher {number + 1}")


_OPEN = "select count(*) from event_batches where state = 'open'"
_IS_LISTENING = """
select count(*) from pg_locks
where locktype = 'advisory' and classid::bigint = hashtext('neural.dispatcher')::bigint & 4294967295 and objid = 0
"""
"""The place of the one dispatcher: see `store.announcements.PLACE`."""
