"""Views as data frames: declared columns, declared types, and the numbers of a period."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from neural_pipeline.contracts.metrics import MetricType
from neural_pipeline.metrics.catalogue import BY_NAME, VIEWS
from neural_pipeline.metrics.definition import View
from neural_pipeline.metrics.frames import Period, frame_of, last_days, numbers_of
from neural_pipeline_tests.building import workspaces
from neural_pipeline_tests.measured import CAPTURE, metric, write_metrics

PERIOD = Period(date(2026, 1, 1), date(2026, 1, 8))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_without_rows_has_its_declared_columns_and_no_number_that_is_made_up(
    scratch: Connection, view: View
) -> None:
    assert list(frame_of(scratch, view, PERIOD).columns) == [column.name for column in view.columns]
    counts = {number.name for number in view.numbers if number.unit == "count"}
    assert all(value == 0 for name, value in numbers_of(scratch, view, PERIOD).items() if name in counts)


@pytest.mark.parametrize("year", [1, 1677, 2300, 9999])
def test_a_moment_far_from_now_is_shown_like_any_other(scratch: Connection, year: int) -> None:
    """Payloads tell times, and a commit may be dated at will."""
    workspaces(scratch, "ws_test")
    moment = datetime(year, 6, 1, tzinfo=UTC)
    sql = """
    insert into lightfast_workspace_actor_profiles (workspace_id, actor_id, display_name, last_active_at)
    values ('ws_test', 'github:1', 'Ada', :moment)
    """
    scratch.execute(text(sql), {"moment": moment})
    assert list(frame_of(scratch, BY_NAME["actor_activity"], PERIOD)["last_active_at"]) == [moment]


SAMPLES: dict[MetricType, dict[str, Any]] = {
    MetricType.JOB_DURATION: {"trigger": "webhook", "outcome": "failed", "begun": True, "queueWaitMs": 1, "totalMs": 2},
    MetricType.DOCUMENTS_INDEXED: {"jobType": "sync.orchestrator", "sourceType": "github"},
    MetricType.ERRORS: {"jobType": CAPTURE, "errorType": "job_failure"},
    MetricType.ENTITIES_EXTRACTED: {"observationId": "o", "entityCount": 3, "source": "git"},
    MetricType.CLUSTER_ASSIGNED: {"clusterId": "1"},
    MetricType.CLUSTER_SUMMARY_GENERATED: {"clusterId": "1"},
    MetricType.PROFILE_UPDATED: {"actorId": "a"},
    MetricType.ACTOR_RESOLUTION: {"resolved": True, "source": "git", "method": "email"},
    MetricType.CLUSTER_AFFINITY: {"joined": True, "affinityScore": 80.0},
}
OF_JOBS = {"cluster_summaries": "neural.cluster.summary", "profile_updates": "neural.profile.update"}
"""Which function's durations a view reads; the others' read those of captures."""


@pytest.mark.parametrize(("view", "kind"), [(view, kind) for view in VIEWS for kind in view.metrics], ids=str)
def test_a_metric_is_seen_in_every_view_that_claims_to_read_it(
    scratch: Connection, view: View, kind: MetricType
) -> None:
    workspaces(scratch, "ws_test")
    before = scratch.execute(text(f"select * from {view.name}")).all()
    tags = SAMPLES.get(kind, {"source": "git", "sourceType": "commit"})
    if kind is MetricType.JOB_DURATION:
        tags = tags | {"jobType": OF_JOBS.get(view.name, CAPTURE)}
    write_metrics(scratch, [(metric(kind, **tags), datetime.now(UTC))])
    assert scratch.execute(text(f"select * from {view.name}")).all() != before


def test_the_last_days_end_with_today():
    period = last_days(7, now=datetime(2026, 3, 5, 23, 59, tzinfo=UTC))
    assert (period, period.days) == (Period(date(2026, 2, 27), date(2026, 3, 6)), 7)
