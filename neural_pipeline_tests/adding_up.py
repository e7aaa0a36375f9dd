"""Metrics counted one by one in Python, to hold the views that read sums against, and metrics of all types."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.metrics import Metric, MetricType
from neural_pipeline_tests.building import NOON
from neural_pipeline_tests.measured import metric, random_ending, write_metrics

METRICS = "lightfast_workspace_operations_metrics"
_OBSERVED = ("source", "observationType", "classificationFallback")
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "job_duration": ("jobType", "outcome", "result", "sourceType", "trigger"),
    "errors": ("jobType", "errorType", "cause", "sourceType"),
    "documents_indexed": ("jobType", "sourceType", "syncMode"),
    "observation_captured": _OBSERVED,
    "observation_filtered": _OBSERVED,
    "observation_duplicate": _OBSERVED,
    "observation_below_threshold": _OBSERVED,
    "entities_extracted": ("source",),
    "cluster_assigned": ("isNew",),
    "cluster_summary_generated": (),
    "profile_updated": (),
    "actor_resolution": ("source", "method", "resolved"),
    "cluster_affinity": ("joined", "band", "rejectedBand"),
}
Counts = Counter[tuple[Any, ...]]


def assert_exact(connection: Connection) -> None:
    """Hold the views against the rows, all as of one moment if the transaction is repeatable read."""
    rows = connection.execute(text(f"select timestamp, type, value, tags from {METRICS}")).all()
    totals, hours, durations = Counter(), Counter(), Counter()
    for at, type_, value, tags in rows:
        moment, kept = at.astimezone(UTC), tags or {}
        key = (moment.date(), type_, frozenset(_dimensions(type_, kept).items()))
        totals[*key, "metrics"] += 1
        totals[*key, "total"] += value
        if type_ == "job_duration":
            run = (kept.get("jobType", "unknown"), kept.get("outcome", "unknown"))
            hours[moment.replace(minute=0, second=0, microsecond=0), *run, "runs"] += 1
            hours[moment.replace(minute=0, second=0, microsecond=0), *run, "run_ms"] += value
            hours[moment.replace(minute=0, second=0, microsecond=0), *run, "begun"] += kept.get("begun") is not False
            durations.update((moment.date(), *run, *measured) for measured in _durations(value, kept))
    assert _totals(connection) == totals
    assert _hours(connection) == hours
    assert _histogram(connection) == durations
    assert _percentiles(connection) == _by_nearest_rank(durations)


def assert_exact_now(engine: Engine) -> None:
    """Do so in a transaction of its own."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        assert_exact(connection)


def some_metrics(chance: random.Random, count: int) -> list[tuple[Metric, datetime]]:
    """Make metrics of all types, in no order of time, around two midnights."""
    return [one for _ in range(count) for one in _some(chance, NOON + timedelta(seconds=chance.randrange(200_000)))]


def write_some(connection: Connection, count: int = 1, *, seed: int = 0, workspace: str = "ws_test") -> int:
    """Write some metrics of what has happened `count` times; return how many."""
    metrics = some_metrics(random.Random(seed), count)  # noqa: S311
    write_metrics(connection, metrics, workspace=workspace)
    return len(metrics)


def _some(chance: random.Random, at: datetime) -> Sequence[tuple[Metric, datetime]]:
    if chance.random() < 0.4:
        return random_ending(chance, at).metrics()
    type_ = chance.choice([type_ for type_ in DIMENSIONS if type_ not in ("job_duration", "errors")])
    return [(metric(type_, *_value_of(chance, type_), **_tags_of(chance, type_)), at)]


def _value_of(chance: random.Random, type_: str) -> list[int]:
    return [chance.randrange(9)] if type_ in ("documents_indexed", "entities_extracted") else []


def _tags_of(chance: random.Random, type_: str) -> dict[str, Any]:
    source, flag = chance.choice(["github", "vercel"]), chance.random() < 0.5
    score = chance.choice([None, 0, 9.99, 10, 99.5, 100])
    match MetricType(type_):
        case MetricType.DOCUMENTS_INDEXED:
            return {"jobType": "sync.orchestrator", "sourceType": source, "syncMode": chance.choice(["full", None])}
        case MetricType.ENTITIES_EXTRACTED:
            return {"observationId": f"o{chance.random()}", "entityCount": 3, "source": chance.choice([None, "llm"])}
        case MetricType.CLUSTER_ASSIGNED | MetricType.CLUSTER_SUMMARY_GENERATED:
            return {"clusterId": f"c{chance.random()}", "isNew": flag}
        case MetricType.PROFILE_UPDATED:
            return {"actorId": f"a{chance.random()}"}
        case MetricType.ACTOR_RESOLUTION:
            return {"resolved": flag, "source": source, "method": "email" if flag else None}
        case MetricType.CLUSTER_AFFINITY:
            return {"affinityScore": score, "bestRejectedScore": 60 if flag else None, "joined": score is not None}
        case _:
            kind = {"observationType": chance.choice(["push", None]), "classificationFallback": flag}
            return {"source": source, "sourceType": f"t{chance.random()}", **kind}


def _dimensions(type_: str, tags: dict[str, Any]) -> dict[str, Any]:
    bands = {"band": _band(tags.get("affinityScore")), "rejectedBand": _band(tags.get("bestRejectedScore"))}
    known = {**tags, **bands}
    return {name: known[name] for name in DIMENSIONS[type_] if known.get(name) is not None}


def _band(score: float | None) -> int | None:
    return None if score is None else min(int(score // 10) * 10, 90)


def _durations(value: int, tags: dict[str, Any]) -> Iterator[tuple[str, int]]:
    milliseconds = {"queue": tags.get("queueWaitMs"), "total": tags.get("totalMs")}
    if tags.get("begun") is not False:
        milliseconds["run"] = value
    for measure, ms in milliseconds.items():
        if ms is not None:
            yield measure, -1 if ms == 0 else math.ceil(round(math.log(ms, 1.01 / 0.99), 9))


def _totals(connection: Connection) -> Counts:
    found: Counts = Counter()
    for row in connection.execute(text("select day, type, dimensions, metrics, total from metric_totals")):
        key = (row.day, row.type, frozenset(row.dimensions.items()))
        assert (*key, "metrics") not in found, "one row for each day, type and dimensions"
        found[*key, "metrics"], found[*key, "total"] = row.metrics, row.total
    return found


def _hours(connection: Connection) -> Counts:
    found: Counts = Counter()
    for row in connection.execute(text("select hour, job_type, outcome, runs, begun, run_ms from run_hours")):
        key = (row.hour, row.job_type, row.outcome)
        assert (*key, "runs") not in found, "one row for each hour, function and outcome"
        found[*key, "runs"], found[*key, "begun"], found[*key, "run_ms"] = row.runs, row.begun, row.run_ms
    return found


def _histogram(connection: Connection) -> Counts:
    rows = connection.execute(
        text("select day, job_type, outcome, measure, bucket, runs from duration_histogram")
    ).all()
    found = Counter({tuple(row[:5]): row.runs for row in rows})
    assert len(found) == len(rows), "one row for each bucket"
    return found


def _percentiles(connection: Connection) -> dict[tuple[Any, ...], list[int]]:
    rows = connection.execute(text("select * from duration_percentiles")).all()
    found = {
        (row.day, row.function_id, row.outcome, row.measure): [row.runs, row.p50_ms, row.p95_ms, row.p99_ms]
        for row in rows
    }
    assert len(found) == len(rows), "one row for each day, function, outcome and measure"
    return found


def _by_nearest_rank(durations: Counts) -> dict[tuple[Any, ...], list[int]]:
    groups: dict[tuple[Any, ...], list[int]] = {}
    for (*key, bucket), runs in sorted(durations.items(), key=lambda entry: entry[0][-1]):
        if key[2] in ("completed", "failed"):
            groups.setdefault(tuple(key), []).extend([bucket] * runs)
    return {
        key: [len(found), *(_milliseconds(found[math.ceil(len(found) * of / 100) - 1]) for of in (50, 95, 99))]
        for key, found in groups.items()
    }


def _milliseconds(bucket: int) -> int:
    growth = 1.01 / 0.99
    return 0 if bucket < 0 else round(2 * growth**bucket / (growth + 1))
