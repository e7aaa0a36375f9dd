"""Tables that grow with the record are analyzed and vacuumed long before a fifth of them has changed."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from neural_pipeline_tests.grown import GROWN

ADDED_TO = {
    "raw_payloads",
    "workflow_run_attempts",
    "lightfast_workspace_operations_metrics",
    "lightfast_workspace_neural_observations",
    "observation_entities",
}
"""Nothing but retention changes their rows: no dead ones call for a vacuum."""


def options_of(connection: Connection, table: str) -> dict[str, float]:
    sql = "select option_name, option_value from pg_class, pg_options_to_table(reloptions) where relname = :table"
    found: Any = connection.execute(text(sql), {"table": table})
    return {name: float(value) for name, value in found}


@pytest.mark.parametrize("table", sorted(GROWN))
def test_the_planner_hears_of_a_fiftieth_that_is_new(scratch: Connection, table: str) -> None:
    assert options_of(scratch, table)["autovacuum_analyze_scale_factor"] <= 0.02


@pytest.mark.parametrize("table", sorted(GROWN - ADDED_TO))
def test_dead_rows_are_taken_away_when_they_are_a_twentieth(scratch: Connection, table: str) -> None:
    assert options_of(scratch, table)["autovacuum_vacuum_scale_factor"] <= 0.05


@pytest.mark.parametrize("table", sorted(ADDED_TO))
def test_what_is_only_added_to_is_vacuumed_when_a_twentieth_is_new(scratch: Connection, table: str) -> None:
    assert options_of(scratch, table)["autovacuum_vacuum_insert_scale_factor"] <= 0.05
