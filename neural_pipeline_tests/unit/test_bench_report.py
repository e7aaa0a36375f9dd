"""What a contest shows: ratios, tables, the last line; and that its events are the same in every run."""

import json
from pathlib import Path

from neural_pipeline.cli.documents import delivery_of_line
from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.sources.intake import DEFAULT_ALLOWED, judge
from neural_pipeline.workflows.observation_capture.logic import extract_entities, score_significance
from neural_pipeline_tests.benchmarks.fast.__main__ import parse, plan_of
from neural_pipeline_tests.benchmarks.fast.contest import SHORT, Plan
from neural_pipeline_tests.benchmarks.fast.end_state import differences
from neural_pipeline_tests.benchmarks.fast.entrants import Contested, complaints
from neural_pipeline_tests.benchmarks.fast.events import BEGIN, Events
from neural_pipeline_tests.benchmarks.fast.framework import QUEUE_LEFT
from neural_pipeline_tests.benchmarks.fast.measuring import Measured
from neural_pipeline_tests.benchmarks.fast.report import Machine, Results, as_json, as_markdown, end_line


def measured(name: str, rate: float, **details: float) -> Measured:
    return Measured(name, 1000, 1000 / rate, rate, 2.0, 1.0, 300 * 2**20, "as it was", details)


def results() -> Results:
    machine = Machine(2, "a processor", 8.0, "a system", "3.11", 0.1)
    made = Results(machine, own=[measured("own, 20", 1200), measured("own, 1", 900)])
    made.floors = [measured("floor, 20", 1500), measured("floor, 1", 1400)]
    made.loop = measured("loop", 90)
    made.frameworks = [measured("slow queue", 80), measured("fast queue", 120)]
    made.numbers = {"latency": {"outcome_p50_s": 0.734}}
    made.latency = "latency"
    return made


def test_the_last_line_sets_this_project_against_the_floor_and_the_fastest_queue() -> None:
    assert end_line(results()) == "events_per_s 1200 floor_ratio 0.80 framework_ratio 10.0 idle_p50_s 0.73"


def test_what_was_not_measured_is_a_dash() -> None:
    without_queues = results()
    without_queues.frameworks = []
    without_queues.latency = None
    assert end_line(without_queues) == "events_per_s 1200 floor_ratio 0.80 framework_ratio - idle_p50_s -"
    nothing = Results(results().machine, floors=results().floors)
    assert end_line(nothing) == "events_per_s - floor_ratio - framework_ratio - idle_p50_s -"


def test_the_table_says_how_many_times_faster_this_project_is_than_each_contestant() -> None:
    rows = {line.split(" | ")[0].strip("| "): line for line in as_markdown(results()).splitlines() if "|" in line}
    assert "| 10.00 x |" in rows["fast queue"]
    assert "| 0.80 x |" in rows["floor, 20"]
    assert "|  | 2.00 | 1.00 | 300 |" in rows["own, 20"]


def test_a_table_cell_cannot_break_out_of_its_table() -> None:
    odd = results()
    odd.loop = measured("a | b", 10)
    assert r"| a \| b |" in as_markdown(odd)


def test_whoever_ended_differently_is_named_and_nothing_is_said_to_be_equal() -> None:
    odd = results()
    odd.complaints = {"fast queue": ["links: {'n': 1} instead of {'n': 2}"]}
    assert "**fast queue ended differently**: links: {'n': 1} instead of {'n': 2}" in as_markdown(odd)
    assert "ended alike" not in as_markdown(odd)
    assert "ended alike" in as_markdown(results())


def test_a_low_floor_is_named_with_what_it_asks_for() -> None:
    assert "below 1600 events/s on this machine: 900, 0.6 of it" in as_markdown(results())
    high = results()
    high.floors = [measured("floor, 20", 1700)]
    assert "what binds" not in as_markdown(high)


def test_the_json_holds_the_ratios_and_every_contestant() -> None:
    told = json.loads(as_json(results()))
    assert (told["floor_ratio"], told["framework_ratio"], told["idle_p50_s"]) == (0.8, 10.0, 0.734)
    assert [one["name"] for one in told["frameworks"]] == ["slow queue", "fast queue"]


def test_processor_time_per_event_is_that_of_python_and_postgres() -> None:
    assert measured("x", 10).cpu_ms_per_event == 3.0


def test_an_end_differs_where_a_number_does_or_is_missing() -> None:
    expected = {"links": {"n": 3}, "actors": {"n": 2}}
    assert differences(expected, expected) == []
    assert [str(one) for one in differences({"links": {"n": 3}, "actors": {}}, expected)] == [
        "actors: {} instead of {'n': 2}"
    ]
    assert [one.what for one in differences({"links": {"n": 3}}, expected)] == ["actors"]


def test_a_queue_that_is_not_empty_is_a_complaint() -> None:
    left = Contested(measured("queue", 10, **{QUEUE_LEFT: 3}), {})
    assert complaints(left, {}) == ["3 jobs are left in the queue"]
    assert complaints(Contested(measured("queue", 10, **{QUEUE_LEFT: 0}), {}), {}) == []


def test_the_command_line_overrides_the_plan_it_starts_from() -> None:
    assert plan_of(parse([])) == Plan()
    assert plan_of(parse(["--short"])) == SHORT
    given = plan_of(parse(["--short", "--events", "7", "--workspaces", "3", "--without", "own"]))
    assert (given.events, given.workspaces, given.without, given.trial) == (7, (3,), ("own",), 0)


def test_events_are_the_same_in_every_run_whatever_their_number() -> None:
    assert Events(300).of_workspace == Events(300).of_workspace
    few, many = list(Events(80).in_order()), list(Events(300).in_order())
    assert many[:80] == few
    assert len(many) == 300
    assert Events(300).first(80) == Events(80)


def test_events_are_spread_over_their_workspaces_in_turn() -> None:
    assert [name for name, _ in Events(5, 2).in_order()] == ["ws_bench_00", "ws_bench_01"] * 2 + ["ws_bench_00"]
    assert {len(webhooks) for webhooks in Events(400).of_workspace.values()} == {20}


def test_files_hold_what_is_handed_in_directly(tmp_path: Path) -> None:
    events = Events(40, 2)
    files = events.write(tmp_path / "events")
    assert {name: file.read_bytes().splitlines() for name, file in files.items()} == dict(events.of_workspace)


def test_events_have_a_kilobyte_of_text_and_name_ten_things_and_most_pass_the_gate() -> None:
    accepted = [judged(webhook) for _, webhook in Events(1000).in_order()]
    bodies = [len(event.body) for event in accepted]
    assert 950 < sum(bodies) / len(bodies) < 1150
    entities = [len(extract_entities(event)) for event in accepted]
    assert 9 < sum(entities) / len(entities) < 12
    passed = sum(score_significance(event).score >= 40 for event in accepted)
    assert 800 < passed < 950
    again = len(accepted) - len({(event.source_id, event.metadata["repoId"]) for event in accepted})
    assert 5 <= again <= 15


def judged(webhook: bytes) -> SourceEvent:
    delivery = delivery_of_line(webhook, "here", given=None)
    judgement = judge(
        *delivery.kind, webhook, delivery_id="d", received_at=BEGIN, allowed=DEFAULT_ALLOWED, max_bytes=10_000
    )
    assert judgement.event is not None, judgement.reason
    return judgement.event
