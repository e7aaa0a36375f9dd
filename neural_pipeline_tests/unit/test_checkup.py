"""What the doctor makes of facts: which are a fault, which a warning, and what it says to do."""

import threading
from collections.abc import Iterator

import pytest

from neural_pipeline.cli import checkup
from neural_pipeline.cli.checkup_dagster import (
    Heartbeat,
    KnownRun,
    Starter,
    judge_gaps,
    judge_heartbeats,
    judge_switches,
    judge_ticks,
)
from neural_pipeline.cli.doctor import in_time
from neural_pipeline.cli.findings import Finding, Status, failed, lasting, named, ok, warning
from neural_pipeline.store.drain import DaemonPlace
from neural_pipeline.store.health import HandedBack, Offenders, Rule, Waiting
from neural_pipeline.store.leases import UnfinishedBatch

CAPTURE = "neural.observation.capture"
SUMMARY = "neural.cluster.summary"
NONE = Offenders(0, [], 0.0)
PLACE = DaemonPlace(4711, 5000.0)


def test_a_finding_is_one_line_with_what_to_do() -> None:
    assert ok("schema", "revision 7").line() == "ok    schema       revision 7"
    assert failed("schema", "revision 6", "`neural db upgrade`").line() == (
        "FAIL  schema       revision 6; do: `neural db upgrade`"
    )


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-2, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (200_000, "2 days")],
)
def test_durations_are_told_in_a_unit_of_which_there_are_two(seconds: float, told: str) -> None:
    assert lasting(seconds) == told


def test_only_the_first_offenders_are_named() -> None:
    assert named([7, 8, 9]) == "7, 8, 9"
    assert named([7, 8, 9, 10]) == "7, 8, 9, ..."
    assert named([7], of=2) == "7, ..."


@pytest.mark.parametrize(
    ("found", "status", "todo"),
    [
        ("0002", Status.OK, None),
        (None, Status.FAIL, "`neural db upgrade`"),
        ("0001", Status.FAIL, "`neural db upgrade`"),
        ("0003", Status.FAIL, "use the newer program"),
    ],
)
def test_the_schema_must_be_this_programs(found: str | None, status: Status, todo: str | None) -> None:
    finding = checkup.judge_schema(found, wanted="0002")
    assert (finding.status, finding.todo) == (status, todo)


def test_little_room_on_the_disk_is_a_warning() -> None:
    assert checkup.judge_disk(2 * 10**9, "/data") == ok("disk", "2.0 GB free for /data")
    assert checkup.judge_disk(10**9 - 1, "/data").status is Status.WARN


def test_a_place_that_no_daemon_holds_is_a_warning() -> None:
    assert checkup.judge_daemon(None) == warning(
        "daemon", "nobody holds the daemon's place: `neural up` does not run here", "`neural up`"
    )
    assert "4711" in checkup.judge_daemon(PLACE).found
    assert checkup.judge_daemon(DaemonPlace(4711, None)).status is Status.OK


def judge_waiting(*waiting: Waiting, has_daemon: bool = True) -> Finding:
    return checkup.judge_waiting(waiting, with_job={CAPTURE}, bound=900, has_daemon=has_daemon)


def test_a_late_event_of_a_function_with_a_workflow_is_a_fault() -> None:
    finding = judge_waiting(Waiting(CAPTURE, 9, 8000.0, 4, [5, 6, 7]), Waiting(SUMMARY, 30, 9000.0, 30, [1]))
    assert finding.status is Status.FAIL
    assert finding.found == (
        f"longer than 15 min: 4 of 9 due {CAPTURE} (runs 5, 6, 7, ...), 2 h; 30 wait for workflows of later versions"
    )
    assert "see the other lines" in str(finding.todo)
    assert judge_waiting(Waiting(CAPTURE, 9, 8000.0, 4, [5]), has_daemon=False).todo == "`neural up`"


def test_events_of_later_versions_are_a_number_and_no_fault() -> None:
    assert judge_waiting(Waiting(SUMMARY, 30, 9000.0, 30, [1])) == ok(
        "waiting", "0 events due; 30 wait for workflows of later versions"
    )
    assert judge_waiting(Waiting(CAPTURE, 1, 3.0, 0, [])) == ok("waiting", "1 event due, the oldest for 3 s")


def test_due_events_are_a_fault_where_no_daemon_works_on_them() -> None:
    finding = judge_waiting(Waiting(CAPTURE, 1, 3.0, 0, []), has_daemon=False)
    assert (finding.status, finding.found) == (Status.FAIL, "1 event due, and no daemon works on them")
    assert judge_waiting(Waiting(SUMMARY, 30, 9000.0, 30, [1]), has_daemon=False).status is Status.OK


def test_batches_that_nobody_takes_or_gives_up_are_a_fault() -> None:
    untaken = checkup.judge_batches(Offenders(1, [3], 1000.0), NONE, bound=900)
    assert (untaken.status, "1 batch (3)" in untaken.found) == (Status.FAIL, True)
    unsettled = checkup.judge_batches(NONE, Offenders(4, [3, 4, 5], 90.0), bound=900)
    assert (unsettled.status, "4 batches (3, 4, 5, ...)" in unsettled.found) == (Status.FAIL, True)
    assert "reconciler" in str(unsettled.todo)
    assert checkup.judge_batches(NONE, NONE, bound=900).status is Status.OK


def test_runs_without_a_batch_and_ends_without_a_record_are_a_fault() -> None:
    homeless = checkup.judge_record(Offenders(1, [12], 5.0), NONE)
    assert (homeless.status, homeless.todo) == (Status.FAIL, "`neural runs cancel 12`, one by one")
    unrecorded = checkup.judge_record(NONE, Offenders(2, [12, 13], 5000.0))
    assert (unrecorded.status, "2 runs (12, 13)" in unrecorded.found) == (Status.FAIL, True)
    assert "reconciler" in str(unrecorded.todo)
    assert checkup.judge_record(NONE, NONE).status is Status.OK


@pytest.mark.parametrize(
    ("reason", "said", "cure"),
    [
        ("handed_back: 42P01", "42P01", "`neural db upgrade`"),
        ("handed_back: 42501", "42501", "rights"),
        ("handed_back: 53100", "53100", "disk"),
        ("handed_back: 53300", "53300", "connections"),
        ("handed_back: OperationalError", "OperationalError", "log"),
        ("handed_back", "schema", "`neural db upgrade`"),
    ],
)
def test_batches_in_circles_are_a_fault_with_their_code_and_its_cure(reason: str, said: str, cure: str) -> None:
    finding = checkup.judge_handed_back([HandedBack(CAPTURE, "ws_a", 7, reason), HandedBack(CAPTURE, "ws_b", 3, "x")])
    assert finding.status is Status.FAIL
    assert all(part in finding.found for part in ("2 workspaces (ws_a, ws_b)", "7 times", said))
    assert cure in str(finding.todo)
    assert checkup.judge_handed_back([]).status is Status.OK


def test_unexplained_rows_are_a_fault_that_names_the_rule() -> None:
    rules = [Rule("all is well", 10, 0), Rule("a child has its parent", 5, 2)]
    finding = checkup.judge_accounting(rules)
    assert (finding.status, finding.found) == (Status.FAIL, "unexplained: 2 against `a child has its parent`")
    assert checkup.judge_accounting(rules[:1]) == ok("accounting", "1 rule held against 10 rows, unexplained 0")


BEATING = (Heartbeat("SENSOR", 5.0), Heartbeat("SCHEDULER", 20.0))
SILENT = (Heartbeat("SENSOR", 4000.0), Heartbeat("SCHEDULER", None))


def test_recent_heartbeats_are_well() -> None:
    assert judge_heartbeats(BEATING, PLACE) == ok("heartbeats", "2 daemons, the oldest heartbeat 20 s ago")
    assert judge_heartbeats(BEATING, None).status is Status.OK


@pytest.mark.parametrize(
    ("heartbeats", "place", "status"),
    [
        (SILENT, PLACE, Status.FAIL),
        ((BEATING[0], SILENT[1]), None, Status.FAIL),
        (SILENT, None, Status.WARN),
        (SILENT, DaemonPlace(1, 10.0), Status.WARN),
        (SILENT, DaemonPlace(1, None), Status.FAIL),
    ],
)
def test_silence_is_a_fault_where_a_daemon_should_be_beating(
    heartbeats: tuple[Heartbeat, ...], place: DaemonPlace | None, status: Status
) -> None:
    finding = judge_heartbeats(heartbeats, place)
    assert finding.status is status
    assert "SCHEDULER (never heard)" in finding.found


def test_an_error_of_a_beating_daemon_is_a_warning_that_shows_it() -> None:
    finding = judge_heartbeats((Heartbeat("SENSOR", 5.0, "no route to host"), *BEATING[1:]), PLACE)
    assert (finding.status, finding.found) == (Status.WARN, "SENSOR reports: no route to host")


def test_a_sensor_that_is_off_is_a_fault_and_the_command_switches_it_on() -> None:
    on, off = Starter("one", "sensor", is_on=True), Starter("two", "schedule", is_on=False)
    finding = judge_switches([on, off], workspace="/w.yaml")
    assert (finding.status, finding.found) == (Status.FAIL, "1 of 2 switched off: two")
    assert "dagster schedule start -w /w.yaml two" in str(finding.todo)
    assert judge_switches([on], workspace="/w.yaml").status is Status.OK
    assert judge_switches([], workspace="/w.yaml").status is Status.WARN


def test_a_tick_that_fails_once_is_nothing_and_several_in_a_row_are_a_warning() -> None:
    assert judge_ticks([Starter("one", "sensor", True, 2.0, 2, "boom")]).status is Status.OK
    finding = judge_ticks([Starter("one", "sensor", True, 2.0, 3, "boom")])
    assert (finding.status, finding.found) == (Status.WARN, "failing: one, 3 in a row: boom")
    assert judge_ticks([Starter("one", "sensor", False, 2.0, 3, "boom")]).status is Status.OK


@pytest.mark.parametrize(
    ("kind", "seconds", "status"),
    [
        ("sensor", 100.0, Status.OK),
        ("sensor", 200.0, Status.WARN),
        ("schedule", 200.0, Status.OK),
        ("sensor", 100_000.0, Status.OK),
        ("sensor", None, Status.OK),
    ],
)
def test_a_sensor_that_stopped_ticking_is_a_warning_until_it_is_forgotten(
    kind: str, seconds: float | None, status: Status
) -> None:
    assert judge_ticks([Starter("one", kind, True, seconds)]).status is status


def batch(run_id: str | None = "r1", *, seconds: float = 100.0) -> UnfinishedBatch:
    return UnfinishedBatch(1, run_id, seconds, is_overdue=False, is_abandoned=False)


def gaps(*batches: UnfinishedBatch, known: KnownRun | None = None, unfinished: tuple[KnownRun, ...] = ()) -> Finding:
    return judge_gaps(batches, known={known.run_id: known} if known else {}, unfinished=unfinished, bound=900)


GOING = KnownRun("r1", "STARTED", False, 2000.0, 1)


@pytest.mark.parametrize(
    ("batches", "known", "status"),
    [
        ((batch(),), GOING, Status.OK),
        ((batch(),), KnownRun("r1", "SUCCESS", True, 61.0), Status.FAIL),
        ((batch(),), KnownRun("r1", "SUCCESS", True, 59.0), Status.OK),
        ((batch(),), None, Status.FAIL),
        ((batch(seconds=30),), None, Status.OK),
        ((batch(None),), None, Status.OK),
    ],
)
def test_a_batch_of_a_run_that_has_ended_or_is_unknown_is_a_fault_after_a_moment(
    batches: tuple[UnfinishedBatch, ...], known: KnownRun | None, status: Status
) -> None:
    assert gaps(*batches, known=known).status is status


def test_a_run_that_is_unfinished_for_long_without_a_batch_is_a_fault() -> None:
    assert gaps(unfinished=(GOING,)).status is Status.FAIL
    assert "r1 (STARTED, 33 min)" in gaps(unfinished=(GOING,)).found
    assert gaps(unfinished=(KnownRun("r1", "STARTED", False, 800.0, 1),)).status is Status.OK
    assert gaps(batch("r1"), known=GOING, unfinished=(GOING,)).status is Status.OK
    assert gaps(batch(None), unfinished=(GOING,)).status is Status.OK
    assert gaps(batch("r2"), known=KnownRun("r2", "STARTED", False, 9.0), unfinished=(GOING,)).status is Status.FAIL


@pytest.mark.parametrize(
    ("left", "since_audit", "told"),
    [
        (NONE, None, None),
        (Offenders(2, [4, 5], 9000.0), None, "2 metrics not added up, the last time was 5 h ago"),
        (NONE, 18_000.0, "the record not audited since: the last time was 5 h ago"),
        (NONE, float("inf"), "the record not audited since: the last time was never"),
    ],
)
def test_metrics_that_are_not_added_up_or_audited_are_a_warning(
    left: Offenders, since_audit: float | None, told: str | None
) -> None:
    found = checkup.judge_metrics(left, 18_000.0, since_audit, bound=10_800)
    assert found.status is (Status.WARN if told else Status.OK)
    assert (told or "none is older than 3 h") in found.found


def test_an_examination_that_hangs_is_left_behind_with_what_it_found() -> None:
    go_on = threading.Event()

    def hanging() -> Iterator[Finding]:
        yield ok("first", "well")
        go_on.wait()

    first, last = in_time(hanging(), seconds=0.1)
    go_on.set()
    assert first == ok("first", "well")
    assert (last.check, last.status) == ("doctor", Status.FAIL)


def test_an_error_of_the_examination_is_raised() -> None:
    def breaking() -> Iterator[Finding]:
        yield ok("first", "well")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_time(breaking(), seconds=5))
