"""What a contestant leaves behind, counted and summed, and in what it differs from another: same work, same end.

Not compared is what depends on the order and the moment of the work: which cluster an observation joined, hence how
many clusters and summaries there are and the affinities; how many children were superseded by newer ones and how many
worked on. Their sums are compared instead: every observation is in a cluster, every child has ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from neural_pipeline.store.sql import scalar

_COUNTS: Mapping[str, str] = {
    "payloads by disposition": "select disposition, count(*) from raw_payloads group by 1",
    "captures by result": """
        select r.output ->> 'status' || coalesce(': ' || (r.output ->> 'reason'), ''), count(*)
        from lightfast_workspace_workflow_runs r
        where r.inngest_function_id = 'neural.observation.capture' group by 1
    """,
    "executions by function and status": """
        select inngest_function_id || ' ' || status, count(*) from lightfast_workspace_workflow_runs group by 1
    """,
    "executions without an end": "select 'n', count(*) from incoming_events where outcome is null having count(*) > 0",
    "rows without times": """
        select 'n', count(*) from lightfast_workspace_workflow_runs
        where completed_at is null or duration_ms is null and output ->> 'reason' is distinct from 'superseded'
        having count(*) > 0
    """,
    "observations": """
        select workspace_id, count(*) from lightfast_workspace_neural_observations group by 1
    """,
    "significance": "select 'sum', sum(significance_score)::bigint from lightfast_workspace_neural_observations",
    "vectors": "select view, count(*) from observation_vectors group by 1",
    "vectors' numbers": "select 'sum', round(sum(vector_norm(embedding)))::bigint from observation_vectors",
    "entities by category": "select category, count(*) from lightfast_workspace_neural_entities group by 1",
    "mentions": "select 'sum', sum(occurrence_count)::bigint from lightfast_workspace_neural_entities",
    "links": "select 'n', count(*) from observation_entities",
    "observations in clusters": """
        select 'sum', sum(observation_count)::bigint from lightfast_workspace_observation_clusters
    """,
    "actors": "select 'n', count(*) from lightfast_org_actor_identities",
    "profiles": "select 'n', count(*) from lightfast_workspace_actor_profiles",
    "observations of profiles": "select 'sum', sum(observation_count)::bigint from lightfast_workspace_actor_profiles",
    "metrics by type": """
        select type, count(*) from lightfast_workspace_operations_metrics
        where type not in ('profile_updated', 'cluster_summary_generated') group by 1
    """,
    "entities in metrics": """
        select 'sum', sum(value)::bigint from lightfast_workspace_operations_metrics where type = 'entities_extracted'
    """,
}

EndState = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Difference:
    """What one contestant has that differs from what another has."""

    what: str
    found: Mapping[str, int]
    expected: Mapping[str, int]

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.what}: {dict(self.found)} instead of {dict(self.expected)}"


def end_state(engine: Engine) -> EndState:
    """Count and sum up what the tables hold."""
    with engine.begin() as connection:
        return {
            what: {str(name): int(number or 0) for name, number in _pairs(connection, sql)}
            for what, sql in _COUNTS.items()
        }


def _pairs(connection: Connection, sql: str) -> list[tuple[Any, Any]]:
    return [(name, number) for name, number in connection.execute(text(sql))]


def differences(found: EndState, expected: EndState) -> list[Difference]:
    """Return in what two end states differ."""
    return [
        Difference(what, found.get(what, {}), expected.get(what, {}))
        for what in sorted(found.keys() | expected.keys())
        if found.get(what) != expected.get(what)
    ]


def left_in_queue(engine: Engine, sql: str) -> int:
    """Return how many jobs a queue still holds, by its own tables."""
    with engine.begin() as connection:
        return int(scalar(connection, sql))
