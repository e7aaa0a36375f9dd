"""Each number of a report leads to the rows that it is of, and to no others."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.frames import numbers_of
from neural_pipeline.metrics.report.gathering import filled_in
from neural_pipeline.store import accounting
from neural_pipeline_tests.metric_log import read
from neural_pipeline_tests.report_world import CAPTURE, WEEK, counted, days_ago, ended, log, two_weeks

ADDED_UP = {"documents_indexed_total", "entities_found"}
"""Numbers that are the sum of the values of their rows."""

RATES = {
    "success_rate_percent": "executions_ended",
    "model_answer_rate_percent": "model_calls",
    "classification_fallback_rate_percent": "classifications_asked",
}
COUNTS = [(view, number) for view in VIEWS if view.by_day for number in view.numbers if number.unit == "count"]
ALL = [(view, number) for view in VIEWS for number in view.numbers]
_CALLS = """
insert into model_calls (day, workspace_id, function_id, step, model, reserved_tokens, input_tokens, output_tokens,
  duration_ms, outcome, called_at)
select cast(cast(:at as timestamptz) at time zone 'UTC' as date), 'ws_test', 'neural.observation.capture', 'classify',
  'model', 10, 1, 1, 5, outcome, :at
from unnest(cast(:outcomes as text[])) as asked(outcome)
"""


@pytest.fixture
def world(engine: Engine, workspace: str) -> Engine:
    """Much that went well, and a little of all that can go otherwise."""
    observed = {"source": "github", "sourceType": "push"}
    causes = ("worker_lost", "timeout", "rejected", "code_error")
    with engine.begin() as connection:
        two_weeks(connection)
        log(
            connection,
            ended(outcome="cancelled"),
            ended(outcome="failed", function="neural.cluster.summary"),
            ended(outcome="failed", function="neural.profile.update"),
            *(counted("errors", jobType=CAPTURE, errorType="E", cause=cause, sourceType="github") for cause in causes),
            counted("observation_filtered", **observed),
            counted("observation_below_threshold", **observed),
            counted("observation_captured", **observed),
            counted("cluster_affinity", joined=False),
            at=days_ago(1),
        )
        connection.execute(text(_CALLS), {"at": days_ago(1), "outcomes": ["answered", "refused", "timed_out"]})
        accounting.audit(connection)
    return engine


def shown(engine: Engine, view: Any, number: Any) -> list[dict[str, Any]]:
    with engine.begin() as connection:
        connection.execute(text("set local time zone 'Pacific/Auckland'"))
        return read(connection, filled_in(number.rows_behind or view.rows_behind, WEEK))


def told(engine: Engine, view: Any) -> dict[str, int | float]:
    with engine.begin() as connection:
        return numbers_of(connection, view, WEEK)


def test_a_count_is_that_of_the_rows_it_leads_to(world: Engine) -> None:
    numbers = {view.name: told(world, view) for view, _ in COUNTS}
    rows = {number.name: (view, shown(world, view, number)) for view, number in COUNTS}
    found = {name: sum(row["value"] for row in of) if name in ADDED_UP else len(of) for name, (_, of) in rows.items()}
    assert found == {name: numbers[view.name][name] for name, (view, _) in rows.items()}
    assert {name for name, (_, of) in rows.items() if not 0 < len(of) < 100} == set()
    assert (found["executions_failed"], found["executions_cancelled"]) == (9, 1)
    assert (found["model_calls"], found["model_calls_unanswered"]) == (5, 2)


def test_a_number_leads_to_rows_if_it_has_something_to_tell(world: Engine) -> None:
    empty = [
        number.name
        for view, number in ALL
        if not (number.rows_behind or view.rows_behind).startswith("neural ")
        and told(world, view).get(number.name)
        and not shown(world, view, number)
    ]
    assert empty == []


def test_a_percentile_leads_to_the_executions_that_it_is_of_the_longest_first(world: Engine) -> None:
    by_name = {number.name: (view, number) for view, number in ALL}
    rows = shown(world, *by_name["capture_run_p95_ms"])
    assert {(row["tags"]["jobType"], row["tags"]["outcome"]) for row in rows} == {(CAPTURE, "completed")}
    assert [row["value"] for row in rows] == sorted((row["value"] for row in rows), reverse=True)
    [longest, *_] = shown(world, *by_name["longest_run_ms"])
    assert longest["value"] == 400
