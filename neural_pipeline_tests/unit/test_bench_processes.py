"""What the benchmark of `neural up` makes of what it sees: roles of processes, their time, percentiles."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from neural_pipeline_tests.benchmarks.fast.own_processes import OTHER, RUN_WORKER, Meter, Usage, role_of
from neural_pipeline_tests.benchmarks.fast.own_telling import Trouble, in_one_line, percentile, spread

PYTHON = "/somewhere/bin/python"
BUSY = "import time\nwhile time.process_time() < {seconds}: pass"


@pytest.mark.parametrize(
    ("line", "parent", "role"),
    [
        (f"{PYTHON} /somewhere/bin/neural up --port 3000", None, "neural up"),
        (f"{PYTHON} -m neural_pipeline.cli.keeper 15.0 /somewhere/bin/dagster dev -w workspace.yaml", None, "keeper"),
        (f"{PYTHON} -m neural_pipeline.cli.keeper 5 {PYTHON} -m neural_pipeline.automation.dispatcher", None, "keeper"),
        (f"{PYTHON} /somewhere/bin/dagster dev -w workspace.yaml", "keeper", "dagster dev"),
        (f"{PYTHON} -m dagster code-server start --socket x", "dagster dev", "code server"),
        (f"{PYTHON} -m dagster api grpc --lazy-load-user-code", "code server", "code server"),
        (f"{PYTHON} -m dagster_webserver --port 3000", "dagster dev", "webserver"),
        (f"{PYTHON} -m dagster._daemon run --log-level info", "dagster dev", "daemon"),
        (f"{PYTHON} -m neural_pipeline.automation.dispatcher", "keeper", "dispatcher"),
        (f"{PYTHON} -m neural_pipeline.automation.run_server", "keeper", "run server"),
        (f"{PYTHON} -m neural_pipeline.automation.run_server", "run server", RUN_WORKER),
        (f"{PYTHON} -m dagster api execute_run x", "code server", RUN_WORKER),
        ("/somewhere/bin/postgres -D data", None, "postgres"),
        ("/bin/sleep 5", None, OTHER),
        (f"{PYTHON} -c 1 2 3 4 dagster_webserver", None, OTHER),
    ],
)
def test_a_process_is_known_by_its_first_words_and_its_parent(line: str, parent: str | None, role: str) -> None:
    assert role_of(line.split(), parent=parent) == role


def test_a_spawned_child_of_the_code_server_is_a_run_worker_but_not_one_of_others() -> None:
    words = [PYTHON, "-B", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=14)"]
    assert role_of(words, parent="code server") == RUN_WORKER
    assert role_of(words, parent="daemon") == OTHER


def test_a_server_process_is_known_by_the_title_it_gives_itself() -> None:
    assert role_of(["postgres: neural-1234: postgres neural [local] idle"], parent=None) == "postgres"


def test_a_process_without_words_is_of_no_role() -> None:
    assert role_of([], parent="code server") == OTHER


def test_processor_time_counts_from_the_first_look_and_of_children_that_nobody_saw() -> None:
    """The child begins and ends between two looks; the kernel adds it to the time of its parent."""
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY.format(seconds=0.4)!r}])\ninput()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        with Meter([process.pid], look_seconds=60) as meter:
            _await_children_of(process.pid)
        assert process.stdin is not None
        process.stdin.close()
    assert 0.35 < meter.usage.python_cpu < 2
    assert meter.usage.postgres_cpu == 0


def test_processor_time_from_before_the_first_look_does_not_count() -> None:
    before = time.process_time()
    while time.process_time() - before < 0.3:
        pass
    with Meter([os.getpid()], look_seconds=60) as meter:
        pass
    assert meter.usage.python_cpu < 0.2


def test_time_of_a_child_that_was_seen_does_not_count_twice() -> None:
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY.format(seconds=1.0)!r}])\ninput()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        with Meter([process.pid], look_seconds=0.05) as meter:
            _await_children_of(process.pid)
        assert process.stdin is not None
        process.stdin.close()
    assert 0.9 < meter.usage.python_cpu < 1.6


def test_memory_is_that_of_all_processes_at_their_peak() -> None:
    with Meter([os.getpid()]) as meter:
        pass
    own = psutil.Process().memory_full_info().uss
    assert meter.usage.memory_peak >= 0.5 * own
    assert meter.usage.memory_peak == meter.usage.python_peak


def test_shares_of_a_core_are_told_the_busiest_first() -> None:
    usage = Usage(10.0, {"daemon": 1.0, "postgres": 4.0}, {}, 0, 0, 0.0)
    assert list(usage.cores.items()) == [("postgres", 0.4), ("daemon", 0.1)]
    assert (usage.python_cpu, usage.postgres_cpu) == (1.0, 4.0)


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 10.0), (95, 19.0), (99, 20.0), (100, 20.0)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    values = [float(one) for one in range(20, 0, -1)]
    assert percentile(values, percent) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert spread([3.0], "row") == {"row_p50_s": 3.0, "row_p95_s": 3.0, "row_max_s": 3.0}


def test_a_percentile_of_nothing_is_trouble() -> None:
    with pytest.raises(Trouble):
        percentile([], 50)


@pytest.fixture
def _former_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_former_handler")
def test_trouble_ends_a_program_with_one_line() -> None:
    def main() -> None:
        raise Trouble("it took too long")

    with pytest.raises(SystemExit) as ended:
        in_one_line(main)
    assert ended.value.code == "trouble: it took too long"


@pytest.mark.usefixtures("_former_handler")
def test_a_program_that_is_told_to_end_cleans_up_before() -> None:
    done = list[str]()

    def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            done.append("cleaned up")

    with pytest.raises(SystemExit) as ended:
        in_one_line(main)
    assert (ended.value.code, done) == (143, ["cleaned up"])


def _await_children_of(pid: int) -> None:
    """Wait until the process has had a child and that has ended and was waited for."""
    deadline = time.monotonic() + 60
    while psutil.Process(pid).cpu_times().children_user == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
