"""The record of ninety days, of any size and made up set-wise: executions, metrics, memory, payloads, calls of models.

It adds up: `event_accounting` finds nothing. Vectors are left out, as no view reads them; so are Dagster's own tables.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

_SCRIPT = Path(__file__).with_suffix(".sql")
_METRICS = """
insert into lightfast_workspace_operations_metrics
  (clerk_org_id, workspace_id, type, value, unit, tags, timestamp, event_id)
select clerk_org_id, workspace_id, type, value, unit, tags, completed_at, event_id
from made_metrics where place > :after and place <= :through order by place, completed_at
"""


def make_record(engine: Engine, runs: int) -> int:
    """Fill an empty database with so many executions and their memory; return how many metrics there are to write."""
    with engine.begin() as connection:
        connection.execute(text("select set_config('quarter.runs', :runs, true)"), {"runs": str(runs)})
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.execute(_SCRIPT.read_text(encoding="utf-8"))
    with engine.begin() as connection:
        return int(connection.execute(text("select max(place) from made_metrics")).scalar_one())


def write_metrics(engine: Engine, after: int, *, through: int) -> int:
    """Write the metrics behind one place up to another, in the order of their time; return how many that were."""
    with engine.begin() as connection:
        return connection.execute(text(_METRICS), {"after": after, "through": through}).rowcount


def tidy(engine: Engine) -> None:
    """Have the planner know our tables as they are."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        tables = connection.execute(text("select string_agg(relname, ', ') from pg_stat_user_tables")).scalar_one()
        connection.execute(text(f"vacuum analyze {tables}"))
