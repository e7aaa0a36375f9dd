"""What metric rows must say of executions: how long each took, why it failed, and what each workflow counts."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, text

from neural_pipeline.contracts.lifecycle import TERMINAL
from neural_pipeline.contracts.metrics import JobDuration, parse_metric

RUNS = """
select r.*, e.outcome, e.reprocess, e.payload -> 'sourceEvent' -> 'actor' as actor,
  case r.inngest_function_id when 'neural.observation.capture' then coalesce(e.payload -> 'sourceEvent' ->> 'source',
    r.input ->> 'source') else e.payload ->> 'sourceType' end as provider
from lightfast_workspace_workflow_runs r join incoming_events e on e.id = r.event_id order by r.id
"""
METRICS = "select * from lightfast_workspace_operations_metrics order by id"

COUNTED = {
    ("neural.observation.capture", "success"): ("observation_captured", "entities_extracted", "cluster_assigned"),
    ("neural.observation.capture", "duplicate"): ("observation_duplicate",),
    ("neural.observation.capture", "event_not_allowed"): ("observation_filtered",),
    ("neural.observation.capture", "below_threshold"): ("observation_below_threshold",),
    ("neural.profile.update", "success"): ("profile_updated",),
    ("neural.cluster.summary", "success"): ("cluster_summary_generated",),
    ("neural.llm-entity-extraction", "success"): ("entities_extracted",),
    ("sync.orchestrator", "success"): ("documents_indexed",),
}
"""What a function counts once when it ends so; everything else counts nothing of its own."""


def complaints(connection: Connection) -> list[str]:
    """Return everything that is wrong with the metrics of all executions: nothing, that is."""
    metrics: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in connection.execute(text(METRICS)).mappings():
        metrics[row["event_id"]].append(dict(row))
    found = [
        f"{run['name']} ({run['status']}, event {run['event_id']}): {wrong}"
        for run in connection.execute(text(RUNS)).mappings().all()
        for wrong in _of(dict(run), metrics.pop(run["event_id"], []))
    ]
    return found + [f"metrics of no execution: {event_id}" for event_id in metrics]


def types_of(connection: Connection, event_id: int) -> list[str]:
    """Return the types of an execution's metrics, in order."""
    sql = "select type from lightfast_workspace_operations_metrics where event_id = :id order by type"
    return list(connection.execute(text(sql), {"id": event_id}).scalars())


def duration_of(connection: Connection, event_id: int) -> JobDuration:
    """Return the only duration of an execution."""
    sql = f"select type, value, unit, tags from ({METRICS}) m where event_id = :id and type = 'job_duration'"
    metric = parse_metric(dict(connection.execute(text(sql), {"id": event_id}).mappings().one()))
    assert isinstance(metric, JobDuration)
    return metric


def _of(run: dict[str, Any], metrics: list[dict[str, Any]]) -> Iterator[str]:
    expected, found = _expected(run), Counter(metric["type"] for metric in metrics)
    if found != expected:
        yield f"has {sorted(found.elements())}, not {sorted(expected.elements())}"
    for metric in metrics:
        belongs = ("clerk_org_id", "workspace_id", "repository_id")
        if any(metric[name] != run[name] for name in belongs):
            yield f"{metric['type']} belongs to another"
        try:
            parsed = parse_metric({name: metric[name] for name in ("type", "value", "unit", "tags")})
        except ValidationError as error:
            yield f"{metric['type']} is invalid: {error}"
        else:
            yield from _of_end(run, metric, parsed.model_dump())
            yield from _of_duration(run, parsed) if isinstance(parsed, JobDuration) else ()


def _expected(run: dict[str, Any]) -> Counter[str]:
    output = _output(run)
    ending = str(output.get("reason") or output.get("status"))
    expected = Counter(COUNTED.get((run["inngest_function_id"], ending), ()))
    if run["inngest_function_id"] == "neural.observation.capture" and ending == "success":
        expected["actor_resolution"] += run["actor"] is not None
        expected["cluster_affinity"] += not run["reprocess"]
    expected["job_duration"] += run["status"] in TERMINAL
    expected["errors"] += run["status"] == "failed"
    return +expected


def _of_end(run: dict[str, Any], metric: dict[str, Any], parsed: dict[str, Any]) -> Iterator[str]:
    """Every metric is of the moment in which its execution ended, and an error has the cause."""
    if metric["timestamp"] != run["completed_at"]:
        yield f"{metric['type']} is of {metric['timestamp']}, the end of {run['completed_at']}"
    if metric["type"] == "errors" and (run["cause"] is None or parsed["tags"]["cause"] != run["cause"]):
        yield f"errors has the cause {parsed['tags']['cause']}, the run {run['cause']}"


def _of_duration(run: dict[str, Any], duration: JobDuration) -> Iterator[str]:
    tags, has_begun = duration.tags, run["started_at"] is not None
    result = "superseded" if run["outcome"] == "superseded" else _output(run).get("status")
    said = (tags.job_type, tags.trigger, tags.outcome, tags.result, tags.begun, tags.source_type, duration.value)
    true = (
        run["inngest_function_id"],
        run["trigger"],
        run["status"],
        result,
        has_begun,
        run["provider"],
        int(run["duration_ms"]),
    )
    if said != true:
        yield f"job_duration says {said}, the run {true}"
    if (tags.queue_wait_ms is not None) != has_begun:
        yield f"job_duration has the queue wait {tags.queue_wait_ms}"
    whole = (run["completed_at"] - run["created_at"]) // timedelta(milliseconds=1)
    if tags.total_ms != whole or whole < duration.value:
        yield f"job_duration has the total {tags.total_ms}, the run {whole}"


def _output(run: dict[str, Any]) -> dict[str, Any]:
    return run["output"] or {}
