"""Views of what is remembered: which clusters observations go to, what is alive in them, and who acts."""

from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.metrics.behind import metric_rows
from neural_pipeline.metrics.definition import Area, Column, Number, View

_METRICS = "lightfast_workspace_operations_metrics"
_CLUSTERS = "lightfast_workspace_observation_clusters"
_PROFILES = "lightfast_workspace_actor_profiles"

_COMPARED = "m.type = 'cluster_affinity'"
_JOINED = f"{_COMPARED} and m.tags ->> 'joined' = 'true'"
_REJECTED = f"{_COMPARED} and m.tags ->> 'joined' = 'false' and m.tags ->> 'bestRejectedScore' is not null"

_AFFINITY = View(
    name="affinity_distribution",
    area=Area.MEMORY,
    description="How near observations were to the cluster they joined, or to the best one they did not join, by day"
    " and band of ten points.",
    columns=(
        Column("day", "day", "Day (UTC) on which the observations were compared.", is_key=True),
        Column(
            "band",
            "integer",
            "Lower end of the band, 0 to 90 (100 is in the last); null where there was no cluster to compare with.",
            "points",
        ),
        Column("joined", "integer", "Observations that joined a cluster with such an affinity.", "count"),
        Column("rejected", "integer", "Those that began one, their best candidate having such an affinity.", "count"),
        Column("without_candidate", "integer", "Those that began one for want of any; 0 in every band.", "count"),
    ),
    numbers=(
        Number(
            "cluster_affinity_joined_points",
            "points",
            "Mean affinity to the clusters joined, each taken as the middle of its band.",
            "round(sum(joined * (band + 5)) / nullif(sum(joined) filter (where band is not null), 0), 1)",
            rows_behind=metric_rows(_JOINED),
        ),
        Number(
            "cluster_affinity_rejected_points",
            "points",
            "Mean affinity to the best cluster not joined, each taken as the middle of its band.",
            "round(sum(rejected * (band + 5)) / nullif(sum(rejected), 0), 1)",
            rows_behind=metric_rows(_REJECTED),
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type = 'cluster_affinity'"),
    order="day desc, band desc nulls last",
    metrics=(MetricType.CLUSTER_AFFINITY,),
    by_day=True,
)

_JOIN_RATE = View(
    name="cluster_join_rate",
    area=Area.MEMORY,
    description="How often an observation joined a cluster instead of beginning one, by day.",
    columns=(
        Column("day", "day", "Day (UTC) on which the observations were stored.", is_key=True),
        Column("assigned", "integer", "Observations put into a cluster: stayed + joined + began.", "count"),
        Column("stayed", "integer", "Those captured anew, which take their old place and are not compared.", "count"),
        Column("joined", "integer", "Those that joined a cluster.", "count"),
        Column("began", "integer", "Those that began a cluster.", "count"),
        Column(
            "with_candidates", "integer", "joined, and of began those that had a cluster to be compared to.", "count"
        ),
        Column("join_rate", "number", "joined / (joined + began); null where both are 0.", "percent"),
        Column("join_rate_with_candidates", "number", "joined / with_candidates; null where that is 0.", "percent"),
    ),
    numbers=(
        Number(
            "clusters_begun",
            "count",
            "Observations that began a cluster.",
            "coalesce(sum(began), 0)",
            rows_behind=metric_rows(f"{_COMPARED} and m.tags ->> 'joined' = 'false'"),
        ),
        Number(
            "cluster_join_rate_percent",
            "percent",
            "joined / (joined + began).",
            "neural_success_rate(sum(joined), sum(began))",
            rows_behind=metric_rows(_COMPARED),
        ),
        Number(
            "cluster_join_rate_with_candidates_percent",
            "percent",
            "joined / with_candidates.",
            "neural_success_rate(sum(joined), sum(with_candidates - joined))",
            rows_behind=metric_rows(f"({_JOINED} or {_REJECTED})"),
        ),
    ),
    tables=(_METRICS,),
    rows_behind=metric_rows("m.type in ('cluster_assigned', 'cluster_affinity')"),
    order="day desc",
    metrics=(MetricType.CLUSTER_ASSIGNED, MetricType.CLUSTER_AFFINITY),
    by_day=True,
)

_CLUSTER_ACTIVITY = View(
    name="cluster_activity",
    area=Area.MEMORY,
    description="The fifty clusters of each workspace that had the latest observations, as they are now.",
    columns=(
        Column("workspace_id", "text", "Workspace of the cluster.", is_key=True),
        Column("cluster_id", "integer", "The cluster.", is_key=True),
        Column("label", "text", "Its label, made of titles from outside."),
        Column("status", "text", "State of the cluster: open ones take further observations."),
        Column("activity", "text", "How things stand with it, as its summary says; null before the first."),
        Column("observations", "integer", "Observations in it.", "count"),
        Column("first_observation_at", "time", "When the earliest of them happened."),
        Column("last_observation_at", "time", "When the latest of them happened."),
        Column("has_summary", "flag", "Whether it has been summarised."),
        Column("summary_generated_at", "time", "When it was last; null if it never was."),
    ),
    numbers=(
        Number(
            "largest_active_cluster_observations",
            "count",
            "Observations of the largest cluster that is listed.",
            "max(observations)",
            rows_behind="select * from cluster_activity order by observations desc, cluster_id desc",
        ),
        Number(
            "active_clusters_summarised_percent",
            "percent",
            "Clusters listed that have a summary / clusters listed.",
            "round(100.0 * count(*) filter (where has_summary) / nullif(count(*), 0), 2)",
            rows_behind="select * from cluster_activity order by has_summary, cluster_id desc",
        ),
    ),
    tables=(_CLUSTERS,),
    rows_behind="select a.workspace_id, a.cluster_id, a.label, o.id, o.occurred_at, o.title from cluster_activity a"
    " join lightfast_workspace_neural_observations o"
    " on o.cluster_id = a.cluster_id and o.workspace_id = a.workspace_id"
    " order by a.last_observation_at desc, a.cluster_id desc, o.occurred_at desc limit 100",
    order="last_observation_at desc, cluster_id desc",
)

_ACTOR_ACTIVITY = View(
    name="actor_activity",
    area=Area.MEMORY,
    description="The fifty actors of each workspace who were active last, as their profiles are now; those whose"
    " profile was merged into another count there.",
    columns=(
        Column("workspace_id", "text", "Workspace of the profile.", is_key=True),
        Column("actor_id", "text", "Canonical id of the actor, unique within the workspace.", is_key=True),
        Column("name", "text", "Name shown, as it came from outside."),
        Column("observations", "integer", "Observations whose actor it is.", "count"),
        Column("last_active_at", "time", "When the latest of them happened."),
    ),
    numbers=(
        Number(
            "busiest_actor_observations",
            "count",
            "Observations of the actor listed who has most of them.",
            "max(observations)",
            rows_behind="select * from actor_activity order by observations desc, workspace_id, actor_id",
        ),
        Number(
            "seconds_since_actor_activity",
            "seconds",
            "From when an actor was last active to now; 0 where that lies ahead.",
            "round(greatest(extract(epoch from now() - max(last_active_at)), 0))",
            rows_behind="select * from actor_activity order by last_active_at desc, workspace_id, actor_id",
        ),
    ),
    tables=(_PROFILES,),
    rows_behind="select a.workspace_id, a.actor_id, a.name, o.id, o.occurred_at, o.title from actor_activity a"
    " join lightfast_workspace_neural_observations o"
    " on o.workspace_id = a.workspace_id and o.canonical_actor_id = a.actor_id"
    " order by a.last_active_at desc, a.actor_id, o.occurred_at desc limit 100",
    order="last_active_at desc, workspace_id, actor_id",
)


def _of_requests(function: str, metric: MetricType) -> str:
    """Show what was written, and the executions that ended without that."""
    return metric_rows(
        f"(m.type = '{metric}' or m.type = 'job_duration' and m.tags ->> 'jobType' = '{function}'"
        " and m.tags ->> 'result' is distinct from 'success')"
    )


def _failed(function: str) -> str:
    return metric_rows(
        f"m.type = 'job_duration' and m.tags ->> 'jobType' = '{function}' and m.tags ->> 'outcome' = 'failed'"
    )


_SUMMARIES = View(
    name="cluster_summaries",
    area=Area.MEMORY,
    description="Summaries of clusters by day: those written, and how else the requests for one ended.",
    columns=(
        Column("day", "day", "Day (UTC) on which the requests ended.", is_key=True),
        Column("generated", "integer", "Summaries written.", "count"),
        Column(
            "skipped", "integer", "Requests for which none was due: too small, too recent, or no tokens left.", "count"
        ),
        Column("superseded", "integer", "Requests that a newer one of the same cluster stands for.", "count"),
        Column("failed", "integer", "Requests that failed.", "count"),
        Column("cancelled", "integer", "Requests that were cancelled.", "count"),
    ),
    numbers=(
        Number(
            "cluster_summaries_generated",
            "count",
            "Summaries written.",
            "coalesce(sum(generated), 0)",
            rows_behind=metric_rows("m.type = 'cluster_summary_generated'"),
        ),
        Number(
            "cluster_summaries_failed",
            "count",
            "Requests that failed.",
            "coalesce(sum(failed), 0)",
            rows_behind=_failed("neural.cluster.summary"),
        ),
    ),
    tables=(_METRICS,),
    rows_behind=_of_requests("neural.cluster.summary", MetricType.CLUSTER_SUMMARY_GENERATED),
    order="day desc",
    metrics=(MetricType.CLUSTER_SUMMARY_GENERATED, MetricType.JOB_DURATION),
    by_day=True,
)

_PROFILE_UPDATES = View(
    name="profile_updates",
    area=Area.MEMORY,
    description="Profiles of actors by day: requests that were fulfilled, and how else the requests ended.",
    columns=(
        Column("day", "day", "Day (UTC) on which the requests ended.", is_key=True),
        Column("updated", "integer", "Requests after which the profile was written.", "count"),
        Column("skipped", "integer", "Requests about an actor who has no observations and no profile.", "count"),
        Column("superseded", "integer", "Requests that a newer one of the same actor stands for.", "count"),
        Column("failed", "integer", "Requests that failed.", "count"),
        Column("cancelled", "integer", "Requests that were cancelled.", "count"),
    ),
    numbers=(
        Number(
            "profiles_updated",
            "count",
            "Requests after which the profile was written.",
            "coalesce(sum(updated), 0)",
            rows_behind=metric_rows("m.type = 'profile_updated'"),
        ),
        Number(
            "profile_updates_failed",
            "count",
            "Requests that failed.",
            "coalesce(sum(failed), 0)",
            rows_behind=_failed("neural.profile.update"),
        ),
    ),
    tables=(_METRICS,),
    rows_behind=_of_requests("neural.profile.update", MetricType.PROFILE_UPDATED),
    order="day desc",
    metrics=(MetricType.PROFILE_UPDATED, MetricType.JOB_DURATION),
    by_day=True,
)

OF_MEMORY: tuple[View, ...] = (
    _AFFINITY,
    _JOIN_RATE,
    _CLUSTER_ACTIVITY,
    _ACTOR_ACTIVITY,
    _SUMMARIES,
    _PROFILE_UPDATES,
)
