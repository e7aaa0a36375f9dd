"""What must hold, as checks of the assets that tell of it. Each runs with its asset and blocks nothing.

The facts are read in `store.guarded_facts` and `store.health`; how a check says what it found is in `verdicts`.
"""

from datetime import UTC, datetime

import dagster as dg

from neural_pipeline.metrics.assets import ROLLUPS
from neural_pipeline.metrics.frames import Period, last_days
from neural_pipeline.metrics.of_now import WORKED_ON
from neural_pipeline.metrics.preview import code
from neural_pipeline.metrics.verdicts import FIRST, NOBODY, Offence, share, verdict, verdict_on
from neural_pipeline.resources import Pipeline
from neural_pipeline.store import guarded_facts, health
from neural_pipeline.store.guarded_facts import Tally

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@dg.asset_check(
    asset="accounting",
    description="The last audit of the whole record found nothing that is unexplained (error), and is no older than"
    " NEURAL_METRICS_FRESH_HOURS (warning).",
)
def accounting_exact(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Look at the last audit."""
    with pipeline.transaction() as connection:
        audit = guarded_facts.latest_audit(connection)
    if audit is None:
        return dg.AssetCheckResult(passed=False, severity=_WARN, description="the record was never audited")
    seconds, rules = audit
    is_old = seconds > 3600 * pipeline.settings.metrics_fresh_hours
    broken = {rule.rule: rule.unexplained for rule in rules if rule.unexplained}
    told = "; ".join(f"{count} against `{rule}`" for rule, count in broken.items())
    return dg.AssetCheckResult(
        passed=not broken and not is_old,
        severity=_ERROR if broken else _WARN,
        description=f"{told or f'{len(rules)} rules hold'}, as of {seconds:.0f} seconds ago",
        metadata={
            "unexplained": sum(broken.values()),
            "rules": len(rules),
            "seconds_since_audit": seconds,
            "broken_rules": dg.MetadataValue.json(broken),
            "sql": dg.MetadataValue.md(code("select * from event_accounting where unexplained <> 0")),
        },
    )


@dg.asset_check(asset="inbox_lag", description="No batch and no workflow run is left behind: somebody works on each.")
def nothing_stuck(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Look for batches that nobody takes or gives up, and for runs that are open for nobody."""
    bound = pipeline.settings.max_wait_seconds
    with pipeline.transaction() as connection:
        return verdict(
            _ERROR,
            Offence("batches_untaken", health.untaken_batches(connection, bound=bound, first=FIRST)),
            Offence(
                "batches_unsettled",
                health.unsettled_batches(connection, bound=health.UNSETTLED_SECONDS, first=FIRST),
            ),
            Offence("runs_without_batch", health.runs_without_batch(connection, first=FIRST)),
            Offence("runs_unrecorded", health.unrecorded_runs(connection, bound=bound, first=FIRST)),
        )


@dg.asset_check(
    asset="inbox_lag",
    description="No due execution waits longer than NEURAL_MAX_WAIT_SECONDS (error), or half of that (warning).",
)
def inbox_lag_within_bound(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Look for due executions that wait for too long."""
    bound = pipeline.settings.max_wait_seconds
    with pipeline.transaction() as connection:
        late = guarded_facts.waiting_runs(connection, WORKED_ON, bound=bound, first=FIRST)
        if late.count:
            return verdict(_ERROR, Offence("runs_waiting", late))
        return verdict(
            _WARN,
            Offence("runs_waiting", guarded_facts.waiting_runs(connection, WORKED_ON, bound=bound / 2, first=FIRST)),
        )


@dg.asset_check(
    asset="observation_funnel",
    description="No two observations have the same source id, or are of one execution. Those of 1000 such ids and of"
    " 1000 such executions are counted, at most.",
)
def no_duplicate_observation(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Look for observations that were captured twice."""
    with pipeline.transaction() as connection:
        return verdict(
            _ERROR, Offence("duplicate_observations", guarded_facts.duplicate_observations(connection, first=FIRST))
        )


@dg.asset_check(
    asset="job_statistics",
    description="Every execution has its workflow run, and every end that has reached it has one duration.",
)
def every_end_is_measured(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Look for gaps between inbox, record and metrics. Ends that do not reach the record, nothing_stuck finds."""
    with pipeline.transaction() as connection:
        return verdict(
            _ERROR,
            Offence("runs_unmeasured", guarded_facts.unmeasured_ends(connection, first=FIRST)),
            Offence("events_without_run", guarded_facts.events_without_run(connection, first=FIRST)),
        )


@dg.asset_check(
    asset="job_statistics",
    description="Of no function fail more executions than NEURAL_FAILURE_RATE_WARN_PERCENT and ..._ERROR_PERCENT"
    " allow, over NEURAL_CHECK_DAYS whole days (UTC) before today, and today.",
)
def failure_rate(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Look for functions that fail too often, among those with enough executions to tell."""
    settings, period = pipeline.settings, _period(pipeline)
    with pipeline.transaction() as connection:
        counted = guarded_facts.failures(connection, *period)
        telling = [one for one in counted if one.counted >= settings.check_min_executions]
        wrong = [one for one in telling if share(one) > settings.failure_rate_warn_percent]
        names = [one.name for one in wrong]
        failed = guarded_facts.failed_runs(connection, names, days=period, first=FIRST) if names else NOBODY
    worst = max(map(share, telling), default=0.0)
    return verdict_on(
        [Offence("runs_failed", failed)],
        severity=_ERROR if worst > settings.failure_rate_error_percent else _WARN,
        passed=not wrong,
        reason=", ".join(f"{share(one):.1f} % of {one.counted} {one.name}" for one in wrong),
        numbers={"worst_failure_rate_percent": worst},
    )


@dg.asset_check(
    asset="actor_resolution_by_source",
    description="At least NEURAL_RESOLUTION_RATE_WARN_PERCENT of the events with an actor are resolved to a person,"
    " over NEURAL_CHECK_DAYS whole days (UTC) before today, and today.",
)
def resolution_rate(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Look at how many actors were not resolved, of all sources together."""
    settings, period = pipeline.settings, _period(pipeline)
    with pipeline.transaction() as connection:
        sources = guarded_facts.resolutions(connection, *period)
        counted, against = sum(one.counted for one in sources), sum(one.against for one in sources)
        resolved = 100 - share(Tally("all", counted, against))
        passed = resolved >= settings.resolution_rate_warn_percent or counted < settings.check_min_executions
        unresolved = NOBODY if passed else guarded_facts.unresolved_captures(connection, days=period, first=FIRST)
    return verdict_on(
        [Offence("runs_unresolved", unresolved)],
        severity=_WARN,
        passed=passed,
        reason=f"{resolved:.1f} % of {counted} are resolved" if counted else "no event had an actor",
        numbers={"events_with_actor": counted, "events_unresolved": against},
    )


@dg.asset_check(
    asset=ROLLUPS, description="Metrics were added up within NEURAL_METRICS_FRESH_HOURS, and none was left out."
)
def metrics_fresh(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Look at when metrics were last added up, and for old ones that were not."""
    bound = 3600 * pipeline.settings.metrics_fresh_hours
    with pipeline.transaction() as connection:
        left = guarded_facts.metrics_not_added_up(connection, bound=bound, first=FIRST)
        seconds = guarded_facts.seconds_since_rollup(connection)
    return verdict_on(
        [Offence("metrics_not_added_up", left)],
        severity=_WARN,
        passed=not left.count and seconds <= bound,
        reason=f"added up {seconds:.0f} seconds ago",
        numbers={"seconds_since_rollup": seconds},
    )


def _period(pipeline: Pipeline) -> Period:
    """Return whole days before today, and today: what failed shortly before midnight is judged after it too."""
    return last_days(pipeline.settings.check_days + 1, now=datetime.now(UTC))


CHECKS = (
    accounting_exact,
    nothing_stuck,
    inbox_lag_within_bound,
    no_duplicate_observation,
    every_end_is_measured,
    failure_rate,
    resolution_rate,
    metrics_fresh,
)
