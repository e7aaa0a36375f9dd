"""Views of the models asked: how their calls ended, what they took, and how often rules had to answer instead."""

from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.metrics.behind import metric_rows
from neural_pipeline.metrics.definition import Area, Column, Number, View

_FINISHED = "sum(calls - unfinished)"


def _calls(condition: str = "true") -> str:
    return (
        "select id, called_at, function_id, step, model, outcome, reason, input_tokens, output_tokens,"  # noqa: S608
        " reserved_tokens, duration_ms from model_calls where day >= '{since}' and day < '{until}'"
        f" and {condition} order by day desc, id desc limit 100"
    )


_ASKED = metric_rows("m.type = 'observation_captured' and m.tags ->> 'classificationFallback' is not null")

_MODEL_USE = View(
    name="model_use",
    area=Area.MODELS,
    description="Calls of models by day, function, step and model: calls = answered + rate_limited + unavailable"
    " + timed_out + cut_off + invalid_answer + refused + unauthorized + error + unfinished. What the rules answer, what"
    " was answered before, and what the day's budget does not allow is no call.",
    columns=(
        Column("day", "day", "Day (UTC) of the calls, whose budget they count for.", is_key=True),
        Column("function_id", "text", "Function that was executed.", is_key=True),
        Column("step", "text", "Step that asked.", is_key=True),
        Column("model", "text", "Model asked, its provider in front.", is_key=True),
        Column("calls", "integer", "Calls made, each with its quick repetition as one.", "count"),
        Column("answered", "integer", "Calls with an answer that could be used.", "count"),
        Column("rate_limited", "integer", "Calls refused for being too many, or for a quota.", "count"),
        Column("unavailable", "integer", "Calls that found no provider, or a broken one.", "count"),
        Column("timed_out", "integer", "Calls without an answer in time.", "count"),
        Column("cut_off", "integer", "Calls whose answer broke off.", "count"),
        Column("invalid_answer", "integer", "Calls whose answer did not fit what was asked for.", "count"),
        Column("refused", "integer", "Calls that the model, or a filter of its provider, would not answer.", "count"),
        Column("unauthorized", "integer", "Calls for which the key was wrong or missing.", "count"),
        Column("error", "integer", "Calls that ended otherwise: the program was at fault.", "count"),
        Column("unfinished", "integer", "Calls that are under way, or whose worker died.", "count"),
        Column("input_tokens", "integer", "Tokens of the questions, as the provider counts.", "tokens"),
        Column("output_tokens", "integer", "Tokens of the answers, as the provider counts.", "tokens"),
        Column(
            "reserved_tokens",
            "integer",
            "Tokens reserved by calls of which nobody knows what they took, unfinished ones among them; they count for"
            " the budget like used ones.",
            "tokens",
        ),
        Column("mean_ms", "number", "Mean duration of the calls that ended; null without any.", "ms"),
    ),
    numbers=(
        Number("model_calls", "count", "Calls made.", "coalesce(sum(calls), 0)"),
        Number(
            "model_calls_unanswered",
            "count",
            "Calls made without an answer.",
            "coalesce(sum(calls - answered), 0)",
            rows_behind=_calls("outcome is distinct from 'answered'"),
        ),
        Number(
            "model_tokens",
            "tokens",
            "Tokens that count for the budget: input, output, and reserved ones whose use is unknown.",
            "coalesce(sum(input_tokens + output_tokens + reserved_tokens), 0)",
        ),
        Number(
            "model_answer_rate_percent",
            "percent",
            "answered / (calls - unfinished).",
            f"round(100 * sum(answered) / nullif({_FINISHED}, 0), 2)",
            rows_behind=_calls("outcome is not null"),
        ),
        Number(
            "model_call_mean_ms",
            "ms",
            "Mean duration of the calls that ended.",
            f"round(sum(mean_ms * (calls - unfinished)) / nullif({_FINISHED}, 0), 1)",
            rows_behind=_calls("duration_ms is not null"),
        ),
    ),
    tables=("model_calls",),
    rows_behind=_calls(),
    order="day desc, function_id, step, model",
    by_day=True,
)

_FALLBACK = View(
    name="classification_fallback",
    area=Area.MODELS,
    description="How often a model was to say what an observation is about and rules had to, by day.",
    columns=(
        Column("day", "day", "Day (UTC) on which the observations were captured.", is_key=True),
        Column(
            "captured", "integer", "Observations captured; where asked is less, rules are set to classify.", "count"
        ),
        Column("asked", "integer", "Those that a model was to classify.", "count"),
        Column("fell_back", "integer", "Those of them that rules classified, as there was no usable answer.", "count"),
        Column("fallback_rate", "number", "fell_back / asked; null where no model was to be asked.", "percent"),
    ),
    numbers=(
        Number(
            "classifications_asked",
            "count",
            "Observations a model was to classify.",
            "coalesce(sum(asked), 0)",
            rows_behind=_ASKED,
        ),
        Number(
            "classification_fallback_rate_percent",
            "percent",
            "fell_back / asked.",
            "round(100 * sum(fell_back) / nullif(sum(asked), 0), 2)",
            rows_behind=_ASKED,
        ),
    ),
    tables=("lightfast_workspace_operations_metrics",),
    rows_behind=metric_rows("m.type = 'observation_captured'"),
    order="day desc",
    metrics=(MetricType.OBSERVATION_CAPTURED,),
    by_day=True,
)

OF_MODELS: tuple[View, ...] = (_MODEL_USE, _FALLBACK)
