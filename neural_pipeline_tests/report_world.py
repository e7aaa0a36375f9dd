"""What reports are made of in tests: two weeks of plain metrics, and rows whose texts are hostile."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from neural_pipeline.contracts.metrics import parse_metric
from neural_pipeline.metrics.frames import Period, last_days
from neural_pipeline.store.sql import record_set

NOW = datetime.now(UTC)
WEEK = last_days(7, now=NOW)
HOSTILE = (
    "<script>document.title='owned'</script>\"><img src=https://evil.example/x onerror=alert(1)>| `a` **b** $\\frac$ "
    "[c](https://evil.example)\nnext \u202egnp.exe \u05e9\u05dc\u05d5\u05dd"
)
"""Markup, a table's bar, a line feed, a turn of direction, and letters that run from right to left."""

CAPTURE = "neural.observation.capture"
_INSERT = """
insert into lightfast_workspace_operations_metrics (clerk_org_id, workspace_id, type, value, unit, tags, timestamp)
select 'org_test', 'ws_test', type, value, unit, tags, timestamp
from jsonb_to_recordset(cast(:metrics as jsonb)) as m(type text, value integer, unit text, tags jsonb,
  timestamp timestamptz)
"""


def days_ago(days: int) -> datetime:
    """Return this time of an earlier day (UTC)."""
    return NOW - timedelta(days=days)


def ended(run_ms: int = 100, *, outcome: str = "completed", function: str = CAPTURE, queue_ms: int = 20) -> Any:
    """Return the metric of an execution that ended."""
    result = {"completed": "success", "failed": "failure", "cancelled": None}[outcome]
    tags = {"jobType": function, "trigger": "webhook", "outcome": outcome, "result": result, "begun": True,
            "sourceType": "github", "queueWaitMs": queue_ms, "totalMs": run_ms + queue_ms}  # fmt: skip
    return {"type": "job_duration", "value": run_ms, "unit": "ms", "tags": _without_nulls(tags)}


def counted(type_: str, value: int = 1, **tags: Any) -> Any:
    """Return the metric of something that is counted."""
    return {"type": type_, "value": value, "unit": "count", "tags": tags}


def log(connection: Connection, *metrics: Any, at: datetime) -> None:
    """Write valid metrics of a moment."""
    for metric in metrics:
        parse_metric(metric)
    records = [metric | {"timestamp": at.isoformat()} for metric in metrics]
    connection.execute(text(_INSERT), {"metrics": record_set(records)})


def two_weeks(connection: Connection, *, named: str = "plain") -> None:
    """Write metrics of all kinds on each of the last fourteen days, fewer a week ago, and rows with a name."""
    for days in range(14):
        times = 4 if days < 7 else 2
        log(connection, *(metric for n in range(times) for metric in _of_a_family(n, named)), at=days_ago(days))
    connection.execute(text(_ROWS), {"name": named, "short": named[:90], "since": days_ago(3)})
    run = connection.execute(text(_RUN), {"name": named[:190], "created": NOW - timedelta(hours=1)}).scalar_one()
    connection.execute(text(_FAILED), {"id": run, "error": named})


def _of_a_family(number: int, named: str) -> Iterator[Any]:
    outcome = "failed" if number == 1 else "completed"
    yield ended(100 * (number + 1), outcome=outcome)
    yield ended(7, function="neural.profile.update")
    observed = {"source": "github", "sourceType": "push"}
    if outcome == "failed":
        yield counted("errors", jobType=CAPTURE, errorType=named, cause="code_error", sourceType="github")
        return
    yield counted("observation_captured", **observed, classificationFallback=number == 0)
    yield counted("observation_duplicate", **observed)
    yield counted("entities_extracted", 3, observationId="o", entityCount=3, source=named)
    yield counted("actor_resolution", source="github", method="github_id", resolved=number != 0)
    yield counted("cluster_assigned", clusterId="c", isNew=False)
    yield counted("cluster_assigned", clusterId="d", isNew=True)
    yield counted("cluster_affinity", joined=True, affinityScore=72.5)
    yield counted("cluster_affinity", joined=False, bestRejectedScore=31)
    yield counted("cluster_summary_generated", clusterId="c")
    yield counted("profile_updated", actorId="github:7")
    yield counted("documents_indexed", 5, jobType="sync.orchestrator", sourceType="github", syncMode="full")


_ROWS = """
with cluster as (
  insert into lightfast_workspace_observation_clusters
    (workspace_id, topic_label, observation_count, first_observation_at, last_observation_at)
  values ('ws_test', :name, 1234, :since, :since)
), actor as (
  insert into lightfast_workspace_actor_profiles
    (workspace_id, actor_id, display_name, observation_count, last_active_at)
  values ('ws_test', 'github:7', :name, 1234, :since)
), entity as (
  insert into lightfast_workspace_neural_entities (workspace_id, category, key) values ('ws_test', 'engineer', '@ada')
)
insert into model_calls (day, workspace_id, function_id, step, model, reserved_tokens, input_tokens, output_tokens,
  duration_ms, outcome, called_at)
select cast(cast(:since as timestamptz) as date), 'ws_test', 'neural.observation.capture', 'classify', :short || n,
  2000, 1000, 200, 1300, 'answered', :since
from generate_series(1, 2) n
"""
_RUN = """
insert into lightfast_workspace_workflow_runs (clerk_org_id, workspace_id, inngest_run_id, inngest_function_id, name,
  trigger, created_at)
values ('org_test', 'ws_test', 'execution-1', 'neural.observation.capture', :name, 'manual', :created) returning id
"""
_FAILED = """
update lightfast_workspace_workflow_runs set status = 'failed', error_message = :error, completed_at = now(),
  output = jsonb_build_object('inngestFunctionId', inngest_function_id, 'status', 'failure')
where id = :id
"""


def _without_nulls(tags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tags.items() if value is not None}


def before(period: Period) -> Period:
    """Return as many days before a period."""
    return Period(period.since - timedelta(days=period.days), period.since)
