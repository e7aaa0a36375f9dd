"""The short subset of the faults, with fewer events. All of them, with 2,000 events each: `make faults`."""

import pytest

from neural_pipeline_tests.faults.run import Result, closing_line, run_scenario, table
from neural_pipeline_tests.faults.scenarios import BY_NAME, SHORT
from neural_pipeline_tests.faults.verdict import Verdict

pytestmark = pytest.mark.daemons

EVENTS = 200


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SHORT)
def test_a_fault_loses_nothing_doubles_nothing_and_leaves_nothing_stuck(name: str):
    result = run_scenario(BY_NAME[name], count=EVENTS)
    assert result.verdict.findings == []
    assert result.verdict.is_clean


def test_any_figure_that_is_not_0_is_in_the_table_and_in_the_last_line():
    scenario = BY_NAME["poison"]
    results = [Result(scenario, 10, Verdict(1, 0, 0, ["a"]), 3.4), Result(scenario, 10, Verdict(0, 2, 3, ["b"]), 5.0)]
    assert table(results)[-1] == f"| {scenario.says} | 10 | 0 | 2 | 3 | 5 |"
    assert closing_line(results) == "faults 2 lost 1 doubled 2 stuck 3"
    assert not any(result.verdict.is_clean for result in results)
