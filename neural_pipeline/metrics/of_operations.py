"""Views of the work itself: how many executions, how long, how they ended, what waits, whether the books balance."""

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.metrics.behind import OF_PERIOD, metric_rows
from neural_pipeline.metrics.definition import Area, Column, Number, View
from neural_pipeline.metrics.of_now import FAILED_RUNS_LAST_24H, INBOX_LAG

_METRICS = "lightfast_workspace_operations_metrics"
_OF_31_DAYS = (
    "m.timestamp >= date_trunc('hour', now(), 'UTC') - interval '743 hours'"
    " and m.timestamp < date_trunc('hour', now(), 'UTC') + interval '1 hour'"
)

_LAST_24_HOURS = "hour > date_trunc('hour', now(), 'UTC') - interval '24 hours'"
_OF_24_HOURS = (
    "m.timestamp >= date_trunc('hour', now(), 'UTC') - interval '23 hours'"
    " and m.timestamp < date_trunc('hour', now(), 'UTC') + interval '1 hour'"
)


def _ended(*outcomes: str, period: str = OF_PERIOD) -> str:
    """Show the executions that ended in these ways."""
    among = ", ".join(f"'{outcome}'" for outcome in outcomes)
    return metric_rows(f"m.type = 'job_duration' and m.tags ->> 'outcome' in ({among})", period=period)


_DAY = Column("day", "day", "Day (UTC) on which the executions ended.", is_key=True)
_FUNCTION = Column("function_id", "text", "Function that was executed.", is_key=True)
_COMPLETED = Column("completed", "integer", "Completed ones, those filtered, skipped and superseded included.", "count")
_FAILED = Column("failed", "integer", "Failed ones.", "count")
_CANCELLED = Column("cancelled", "integer", "Cancelled ones.", "count")
_SUCCESS_RATE = Column("success_rate", "number", "completed / (completed + failed); null where both are 0.", "percent")

JOB_STATISTICS = View(
    name="job_statistics",
    area=Area.OPERATIONS,
    description="Executions that ended, by function and day: how they ended and how often they failed.",
    columns=(
        _DAY,
        _FUNCTION,
        Column("ended", "integer", "Executions that ended, however they did.", "count"),
        _COMPLETED,
        _FAILED,
        _CANCELLED,
        _SUCCESS_RATE,
        Column("failure_rate", "number", "failed / (completed + failed); null where both are 0.", "percent"),
        Column(
            "mean_run_ms",
            "number",
            "Mean run time of completed executions that began, so not of superseded ones; null without any.",
            "ms",
        ),
    ),
    numbers=(
        Number("executions_ended", "count", "Executions that ended.", "coalesce(sum(ended), 0)"),
        Number(
            "executions_failed",
            "count",
            "Executions that failed.",
            "coalesce(sum(failed), 0)",
            rows_behind=_ended("failed"),
        ),
        Number(
            "executions_cancelled",
            "count",
            "Executions that were cancelled.",
            "coalesce(sum(cancelled), 0)",
            rows_behind=_ended("cancelled"),
        ),
        Number(
            "success_rate_percent",
            "percent",
            "completed / (completed + failed).",
            "neural_success_rate(sum(completed), sum(failed))",
            rows_behind=_ended("completed", "failed"),
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'job_duration'"),
    order="day desc, function_id",
    metrics=(MetricType.JOB_DURATION,),
    by_day=True,
)


def _errors(cause: str, meaning: str) -> Number:
    return Number(
        f"errors_{cause}",
        "count",
        meaning,
        f"coalesce(sum(errors) filter (where cause = '{cause}'), 0)",
        rows_behind=metric_rows(f"m.type = 'errors' and m.tags ->> 'cause' = '{cause}'"),
    )


ERRORS_BY_CAUSE = View(
    name="errors_by_cause",
    area=Area.OPERATIONS,
    description="Executions that failed for good, by what made them fail; attempts that were repeated do not count.",
    columns=(
        _DAY,
        _FUNCTION,
        Column(
            "cause",
            "text",
            "code_error: the code or a provider it asked; worker_lost: its process died; timeout: it took too long;"
            " rejected: the event was at fault; unknown: the metric has no cause.",
            is_key=True,
        ),
        Column("errors", "integer", "Executions that failed.", "count"),
    ),
    numbers=(
        Number("errors_total", "count", "Executions that failed, whatever the cause.", "coalesce(sum(errors), 0)"),
        _errors("code_error", "Executions that failed by an error of the code, or of a provider it asked."),
        _errors("worker_lost", "Executions that failed because their process died."),
        _errors("timeout", "Executions that failed because they took too long."),
        _errors("rejected", "Executions that failed because their event was at fault."),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'errors'"),
    order="day desc, errors desc, function_id, cause",
    metrics=(MetricType.ERRORS,),
    by_day=True,
)


_RUN_MS = "case when m.tags -> 'begun' is distinct from 'false' then m.value end"
"""The run time of an execution; one that ended before its turn has none."""

_CAPTURES = (
    f"m.type = 'job_duration' and m.tags ->> 'jobType' = '{FunctionId.OBSERVATION_CAPTURE}'"
    " and m.tags ->> 'outcome' = 'completed'"
)


def _capture_p95(measure: str, meaning: str, *, milliseconds: str) -> Number:
    return Number(
        f"capture_{measure}_p95_ms",
        "ms",
        f"95th percentile of {meaning} of completed captures; of several days, that of the slowest day, which the"
        f" percentile over all of them (capture_{measure}_p95_of_period_ms of the report) cannot exceed.",
        f"max(p95_ms) filter (where function_id = '{FunctionId.OBSERVATION_CAPTURE}' and outcome = 'completed'"
        f" and measure = '{measure}')",
        rows_behind=metric_rows(f"{_CAPTURES} and {milliseconds} is not null", largest=milliseconds),
    )


def _percentile(p: int) -> Column:
    return Column(f"p{p}_ms", "integer", f"{p}th percentile by nearest rank, within 1 %.", "ms")


DURATION_PERCENTILES = View(
    name="duration_percentiles",
    area=Area.OPERATIONS,
    description="How long executions waited, ran and took in all, by function and day. Percentiles cannot be averaged:"
    " those of several days come from duration_histogram, whose buckets add up.",
    columns=(
        _DAY,
        _FUNCTION,
        Column("outcome", "text", "completed (superseded ones have a total only) or failed.", is_key=True),
        Column(
            "measure",
            "text",
            "queue: from due to its start; run: from its start to its end; total: from acceptance to its end. One that"
            " ended before its turn has a total only.",
            is_key=True,
        ),
        Column("runs", "integer", "Executions that were measured.", "count"),
        _percentile(50),
        _percentile(95),
        _percentile(99),
        Column("max_ms", "integer", "The longest, within 1 %.", "ms"),
    ),
    numbers=(
        _capture_p95("queue", "the wait for their turn", milliseconds="(m.tags ->> 'queueWaitMs')::numeric"),
        _capture_p95("run", "the run time", milliseconds=_RUN_MS),
        _capture_p95("total", "the time from acceptance to the end", milliseconds="(m.tags ->> 'totalMs')::numeric"),
        Number(
            "longest_run_ms",
            "ms",
            "Longest run time of any execution that completed or failed, within 1 %.",
            "max(max_ms) filter (where measure = 'run')",
            rows_behind=metric_rows(
                "m.type = 'job_duration' and m.tags ->> 'outcome' in ('completed', 'failed')"
                f" and {_RUN_MS} is not null",
                largest=_RUN_MS,
            ),
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'job_duration' and m.tags ->> 'outcome' in ('completed', 'failed')"),
    order="day desc, function_id, outcome, measure",
    metrics=(MetricType.JOB_DURATION,),
    by_day=True,
)

HOURLY_SERIES = View(
    name="hourly_series",
    area=Area.OPERATIONS,
    description="Executions that ended, by function and hour, in the last 31 days. Every function with any has every"
    " hour since the first with any, with zeros where it was idle.",
    columns=(
        Column("hour", "time", "Beginning of the hour (UTC) in which the executions ended.", is_key=True),
        _FUNCTION,
        _COMPLETED,
        _FAILED,
        _CANCELLED,
        Column(
            "mean_run_ms",
            "number",
            "Mean run time of completed executions that began, so not of superseded ones; null without any.",
            "ms",
        ),
        _SUCCESS_RATE,
    ),
    numbers=(
        Number(
            "ended_last_24_hours",
            "count",
            "Executions that ended in the present hour and the 23 before it.",
            f"coalesce(sum(completed + failed + cancelled) filter (where {_LAST_24_HOURS}), 0)",
            rows_behind=_ended("completed", "failed", "cancelled", period=_OF_24_HOURS),
        ),
        Number(
            "success_rate_last_24_hours_percent",
            "percent",
            "completed / (completed + failed) in the present hour and the 23 before it.",
            f"neural_success_rate(sum(completed) filter (where {_LAST_24_HOURS}),"
            f" sum(failed) filter (where {_LAST_24_HOURS}))",
            rows_behind=_ended("completed", "failed", period=_OF_24_HOURS),
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'job_duration'", period=_OF_31_DAYS),
    order="hour desc, function_id",
    metrics=(MetricType.JOB_DURATION,),
)

DOCUMENTS_INDEXED = View(
    name="documents_indexed",
    area=Area.OPERATIONS,
    description="Documents that successful synchronisations of integrations indexed.",
    columns=(
        Column("day", "day", "Day (UTC) on which the synchronisations ended.", is_key=True),
        Column("source", "text", "Provider whose documents they are; unknown where the metric has none.", is_key=True),
        Column("sync_mode", "text", "full or incremental; unknown where the metric has none.", is_key=True),
        Column("synchronisations", "integer", "Synchronisations that succeeded.", "count"),
        Column("documents", "integer", "Documents that they indexed.", "count"),
    ),
    numbers=(
        Number("documents_indexed_total", "count", "Documents indexed.", "coalesce(sum(documents), 0)"),
        Number(
            "synchronisations_succeeded",
            "count",
            "Synchronisations that succeeded.",
            "coalesce(sum(synchronisations), 0)",
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'documents_indexed'"),
    order="day desc, source, sync_mode",
    metrics=(MetricType.DOCUMENTS_INDEXED,),
    by_day=True,
)

OF_OPERATIONS: tuple[View, ...] = (
    JOB_STATISTICS,
    ERRORS_BY_CAUSE,
    DURATION_PERCENTILES,
    HOURLY_SERIES,
    FAILED_RUNS_LAST_24H,
    INBOX_LAG,
    DOCUMENTS_INDEXED,
)
