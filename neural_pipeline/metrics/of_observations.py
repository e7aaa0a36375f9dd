"""Views of what became of the events: observations or not, whose they are, and which entities they name."""

from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.metrics.behind import metric_rows
from neural_pipeline.metrics.definition import Area, Column, Number, View

_METRICS = "lightfast_workspace_operations_metrics"


def _events(type_: MetricType) -> str:
    """Show the captures that ended with this."""
    return metric_rows(f"m.type = '{type_}'")


_FUNNEL = View(
    name="observation_funnel",
    area=Area.OBSERVATIONS,
    description="What the events became that captures ended with, by day and source: received = duplicate + not_allowed"
    " + below_threshold + captured + failed + cancelled. A replay counts as another event.",
    columns=(
        Column("day", "day", "Day (UTC) on which the captures ended.", is_key=True),
        Column("source", "text", "Source of the events.", is_key=True),
        Column("received", "integer", "Captures that ended: the sum of the six columns that follow.", "count"),
        Column("duplicate", "integer", "Events that were observations already.", "count"),
        Column("not_allowed", "integer", "Events of a kind that their integration does not admit.", "count"),
        Column("below_threshold", "integer", "Events that were not significant enough.", "count"),
        Column("captured", "integer", "Events that became observations.", "count"),
        Column("failed", "integer", "Captures that failed for good.", "count"),
        Column("cancelled", "integer", "Captures that were cancelled.", "count"),
    ),
    numbers=(
        Number("observations_received", "count", "Captures that ended.", "coalesce(sum(received), 0)"),
        Number(
            "observations_captured",
            "count",
            "Events that became observations.",
            "coalesce(sum(captured), 0)",
            rows_behind=_events(MetricType.OBSERVATION_CAPTURED),
        ),
        Number(
            "observations_duplicate",
            "count",
            "Events that were there already.",
            "coalesce(sum(duplicate), 0)",
            rows_behind=_events(MetricType.OBSERVATION_DUPLICATE),
        ),
        Number(
            "observations_not_allowed",
            "count",
            "Events not admitted.",
            "coalesce(sum(not_allowed), 0)",
            rows_behind=_events(MetricType.OBSERVATION_FILTERED),
        ),
        Number(
            "observations_below_threshold",
            "count",
            "Events of little significance.",
            "coalesce(sum(below_threshold), 0)",
            rows_behind=_events(MetricType.OBSERVATION_BELOW_THRESHOLD),
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows(
        "(m.type in ('observation_duplicate', 'observation_filtered', 'observation_below_threshold',"
        " 'observation_captured') or m.type = 'job_duration' and m.tags ->> 'jobType' = 'neural.observation.capture'"
        " and m.tags ->> 'outcome' in ('failed', 'cancelled'))"
    ),
    order="day desc, source",
    metrics=(
        MetricType.OBSERVATION_CAPTURED,
        MetricType.OBSERVATION_DUPLICATE,
        MetricType.OBSERVATION_FILTERED,
        MetricType.OBSERVATION_BELOW_THRESHOLD,
        MetricType.JOB_DURATION,
    ),
    by_day=True,
)

_RESOLUTION_BY_SOURCE = View(
    name="actor_resolution_by_source",
    area=Area.OBSERVATIONS,
    description="How often the actor of an event was found to be a person, by source, over all metrics that are kept.",
    columns=(
        Column("source", "text", "Source of the events.", is_key=True),
        Column("success_rate", "number", "resolved / events, not rounded.", "percent"),
        Column("events", "integer", "Observations that have an actor.", "count"),
        Column("resolved", "integer", "Those whose actor is a person for certain; a user name alone is none.", "count"),
    ),
    numbers=(
        Number(
            "actor_resolution_rate_overall_percent",
            "percent",
            "resolved / events, of all sources and all time.",
            "100 * sum(resolved)::float8 / nullif(sum(events), 0)",
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'actor_resolution'", period=None),
    order="source",
    metrics=(MetricType.ACTOR_RESOLUTION,),
)

_RESOLUTION_BY_METHOD = View(
    name="actor_resolution_by_method",
    area=Area.OBSERVATIONS,
    description="By what the actors of events were told, by day and source, and which of them are persons for certain.",
    columns=(
        Column("day", "day", "Day (UTC) on which the events became observations.", is_key=True),
        Column("source", "text", "Source of the events.", is_key=True),
        Column(
            "method",
            "text",
            "What told the actor: email, github_id, commit_sha or username; none in rows of former versions.",
            is_key=True,
        ),
        Column("events", "integer", "Observations whose actor was told by it.", "count"),
        Column("resolved", "integer", "Those whose actor is a person for certain; a user name alone is none.", "count"),
        Column("share", "number", "events / events of all methods, of the same day and source.", "percent"),
    ),
    numbers=(
        Number("actor_events", "count", "Observations that have an actor.", "coalesce(sum(events), 0)"),
        Number(
            "actors_unresolved",
            "count",
            "Those whose actor is uncertain.",
            "coalesce(sum(events - resolved), 0)",
            rows_behind=metric_rows("m.type = 'actor_resolution' and m.tags ->> 'resolved' is distinct from 'true'"),
        ),
        Number(
            "actor_resolution_rate_percent",
            "percent",
            "resolved / events.",
            "round(100 * sum(resolved) / nullif(sum(events), 0), 2)",
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'actor_resolution'"),
    order="day desc, source, method",
    metrics=(MetricType.ACTOR_RESOLUTION,),
    by_day=True,
)

_ENTITIES_BY_CATEGORY = View(
    name="entities_by_category",
    area=Area.OBSERVATIONS,
    description="Entities as they are now, by category.",
    columns=(
        Column("category", "text", "Category of the entities.", is_key=True),
        Column("entities", "integer", "Entities of all workspaces.", "count"),
        Column("share", "number", "entities / entities of all categories.", "percent"),
    ),
    numbers=(Number("entities_known", "count", "Entities there are.", "coalesce(sum(entities), 0)"),),
    tables=("lightfast_workspace_neural_entities",),
    rows_behind="select id, workspace_id, category, key, occurrence_count, last_seen_at"
    " from lightfast_workspace_neural_entities order by id desc limit 100",
    order="entities desc, category",
)

_ENTITIES_EXTRACTED = View(
    name="entities_extracted",
    area=Area.OBSERVATIONS,
    description="Entities found in the texts of observations, by day and by where or by whom.",
    columns=(
        Column("day", "day", "Day (UTC) on which they were found.", is_key=True),
        Column(
            "source",
            "text",
            "Source of the events where patterns found them at capture; who read the text where that was done later.",
            is_key=True,
        ),
        Column("texts", "integer", "Texts looked at; an observation that was read twice counts twice.", "count"),
        Column("entities", "integer", "Entities found, known ones and those of other texts included.", "count"),
        Column("entities_per_text", "number", "entities / texts."),
    ),
    numbers=(
        Number("texts_searched", "count", "Texts looked at for entities.", "coalesce(sum(texts), 0)"),
        Number("entities_found", "count", "Entities found in them.", "coalesce(sum(entities), 0)"),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'entities_extracted'"),
    order="day desc, source",
    metrics=(MetricType.ENTITIES_EXTRACTED,),
    by_day=True,
)

OF_OBSERVATIONS: tuple[View, ...] = (
    _FUNNEL,
    _RESOLUTION_BY_SOURCE,
    _RESOLUTION_BY_METHOD,
    _ENTITIES_BY_CATEGORY,
    _ENTITIES_EXTRACTED,
)
