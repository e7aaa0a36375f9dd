"""Judgement on the database: facts in, findings out. Reading the facts is `store.health`, telling them `doctor`."""

from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files

from neural_pipeline.cli.findings import Finding, failed, lasting, named, numbers, ok, warning
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.store.drain import DaemonPlace
from neural_pipeline.store.health import HandedBack, Offenders, Rule, Waiting

LEAST_DISK = 10**9
"""Bytes that should be free where the embedded server keeps its data."""

TIMES_HANDED_BACK = 3
"""Batches in a row that came back unworked before that counts as going in circles."""

_RECONCILE = "have the sensor `reconciler` work again (see sensors and ticks; `neural up` starts what is down)"

_MEASURE = "have the schedule `metrics_hourly` work again (see sensors and ticks; `neural up` starts what is down)"


def functions_with_a_job() -> frozenset[FunctionId]:
    """Return the functions this version has a workflow for: those with a room of their name that holds a job."""
    rooms = files("neural_pipeline.workflows")
    return frozenset(function for function in FunctionId if (rooms / function.name.lower() / "job.py").is_file())


def judge_disk(free: int, folder: object) -> Finding:
    """Judge the bytes that are free for the embedded server's data."""
    found = f"{free / 1e9:.1f} GB free for {folder}"
    return (
        ok("disk", found) if free >= LEAST_DISK else warning("disk", found, "make room: `neural prune --help`, `df -h`")
    )


def judge_models(chosen: Mapping[str, str], problems: Sequence[str]) -> Finding:
    """Judge the models that are chosen: what cannot be used leaves captures to the rules and fails their children."""
    if problems:
        return failed("models", "; ".join(dict.fromkeys(problems)), "set what is named there, or `offline`")
    asked = [f"{asking} {model}" for asking, model in chosen.items() if model != "offline"]
    return ok("models", ", ".join(asked) or "offline: rules do everything")


def judge_schema(found: str | None, *, wanted: str) -> Finding:
    """Judge the revision of the schema."""
    if found == wanted:
        return ok("schema", f"revision {found}")
    if found is None:
        return failed("schema", "the tables of this program are not there", "`neural db upgrade`")
    if found < wanted:
        return failed("schema", f"revision {found}, this program needs {wanted}", "`neural db upgrade`")
    return failed("schema", f"revision {found} is newer than this program's {wanted}", "use the newer program")


def judge_daemon(place: DaemonPlace | None) -> Finding:
    """Judge whether a daemon works on this database."""
    if place is None:
        return warning("daemon", "nobody holds the daemon's place: `neural up` does not run here", "`neural up`")
    since = "" if place.seconds is None else f", for {lasting(place.seconds)}"
    return ok("daemon", f"`neural up` runs (database process {place.pid}{since})")


def judge_waiting(waiting: Sequence[Waiting], *, with_job: Collection[str], bound: float, has_daemon: bool) -> Finding:
    """Judge how long due events have been waiting; those that no workflow of this version takes may wait for ever."""
    ours = [one for one in waiting if one.function_id in with_job]
    others = sum(one.events for one in waiting) - sum(one.events for one in ours)
    rest = f"; {others} wait for workflows of later versions" if others else ""
    late = [one for one in ours if one.late]
    if late:
        todo = "see the other lines: what keeps them is told there" if has_daemon else "`neural up`"
        told = ", ".join(_late(one) for one in late)
        return failed("waiting", f"longer than {lasting(bound)}: {told}{rest}", todo)
    due = sum(one.events for one in ours)
    if due and not has_daemon:
        return failed("waiting", f"{numbers(due, 'event')} due, and no daemon works on them{rest}", "`neural up`")
    oldest = f", the oldest for {lasting(max(one.oldest_seconds for one in ours))}" if ours else ""
    return ok("waiting", f"{numbers(due, 'event')} due{oldest}{rest}")


def _late(one: Waiting) -> str:
    longest = lasting(one.oldest_seconds)
    return f"{one.late} of {one.events} due {one.function_id} (runs {named(one.first_late, of=one.late)}), {longest}"


def judge_batches(untaken: Offenders, unsettled: Offenders, *, bound: float) -> Finding:
    """Judge the batches that nobody takes and those that nobody gives up."""
    told: list[str] = []
    if untaken.count:
        told.append(f"{_offenders(untaken, 'batch', 'batches')} taken by no run, for up to {_longest(untaken)}")
    if unsettled.count:
        lost = _offenders(unsettled, "batch", "batches")
        told.append(f"{lost} running beyond lease or deadline, by up to {_longest(unsettled)}")
    if not told:
        return ok("batches", f"none is open longer than {lasting(bound)}, none outlives its lease or deadline")
    return failed(
        "batches", "; ".join(told), _RECONCILE if unsettled.count else "`neural up`; see heartbeats and ticks"
    )


def judge_record(homeless: Offenders, unrecorded: Offenders) -> Finding:
    """Judge the workflow runs that count as running for nobody, and the ends that are not recorded."""
    told: list[str] = []
    if homeless.count:
        runs = _offenders(homeless, "run", "runs")
        told.append(f"{runs} marked as running that no batch works on, for up to {_longest(homeless)}")
    if unrecorded.count:
        runs = _offenders(unrecorded, "run", "runs")
        told.append(f"{runs} ended and not recorded as ended, for up to {_longest(unrecorded)}")
    if not told:
        return ok("record", "every running run is worked on, every end is recorded")
    todo = f"`neural runs cancel {homeless.first[0]}`, one by one" if homeless.count else _RECONCILE
    return failed("record", "; ".join(told), todo)


def _offenders(offenders: Offenders, noun: str, plural: str) -> str:
    return f"{numbers(offenders.count, noun, plural=plural)} ({named(offenders.first, of=offenders.count)})"


def _longest(offenders: Offenders) -> str:
    return lasting(offenders.oldest_seconds)


_CURES = {
    "42501": "give the role back its rights on the tables",
    "42": "`neural db upgrade`",
    "3F": "`neural db upgrade`",
    "25": "point DATABASE_URL to a server that can be written to",
    "28": "correct the user or password in DATABASE_URL",
    "53100": "make room on the disk of the database",
    "53": "give the server more connections or memory",
}


def judge_handed_back(circles: Sequence[HandedBack]) -> Finding:
    """Judge events that go in circles: no event is to blame, so their batches come back again and again."""
    if not circles:
        return ok("circles", "no batch comes back again and again")
    worst = circles[0]
    code = worst.reason.partition(": ")[2]
    reason = f"SQLSTATE {code}" if code else "the schema is another program's"
    of = f"{numbers(len(circles), 'workspace')} ({named([circle.workspace_id for circle in circles])})"
    found = f"batches of {of} came back unworked, up to {worst.times} times: {reason}"
    return failed("circles", found, cure_of(code))


def cure_of(code: str) -> str:
    """Return what to do about a SQLSTATE that sends batches back; without one it was the schema."""
    if not code:
        return "`neural db upgrade`, or use the program that fits the database"
    cure = next((cure for prefix, cure in _CURES.items() if code.startswith(prefix)), None)
    return cure or "see the error in the log of the Dagster run"


def judge_metrics(left: Offenders, since_rollup: float, since_audit: float | None, *, bound: float) -> Finding:
    """Judge whether metrics are added up and the record audited; `since_audit` is None where no audit is overdue."""
    told: list[str] = []
    if left.count:
        told.append(f"{numbers(left.count, 'metric')} not added up, the last time was {lasting(since_rollup)} ago")
    if since_audit is not None:
        when = "never" if since_audit == float("inf") else f"{lasting(since_audit)} ago"
        told.append(f"metrics were written and the record not audited since: the last time was {when}")
    if not told:
        return ok("metrics", f"none is older than {lasting(bound)} and not added up and audited")
    return warning("metrics", "; ".join(told), _MEASURE)


def judge_accounting(rules: Sequence[Rule]) -> Finding:
    """Judge whether the records explain each other."""
    broken = [rule for rule in rules if rule.unexplained]
    if not broken:
        held = sum(rule.expected for rule in rules)
        return ok("accounting", f"{numbers(len(rules), 'rule')} held against {numbers(held, 'row')}, unexplained 0")
    told = "; ".join(f"{rule.unexplained} against `{rule.rule}`" for rule in broken)
    command = 'neural db psql -c "select * from event_accounting where unexplained <> 0"'
    return failed("accounting", f"unexplained: {told}", f"`{command}`; rows were changed by hand, or it is a bug")
