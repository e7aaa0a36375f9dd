"""What metric rows of executions say: how long it waited and took, of whose event it was, what it indexed."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from neural_pipeline.contracts.metrics import DocumentsIndexed, parse_metric
from neural_pipeline.contracts.synchronisation import SyncFailure, SyncSuccess
from neural_pipeline.store import lifecycle
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.outcomes import Outcome, keep_outcomes
from neural_pipeline_tests.building import NOON, begun_batch, end_run, waiting
from neural_pipeline_tests.debouncing import STUMBLED, at_work, news
from neural_pipeline_tests.measuring import complaints, duration_of
from neural_pipeline_tests.replaying import PAYLOADS, appended, replay_event


def times(connection: Connection, event_id: int, **seconds: float) -> None:
    """Set times of an execution that is at work, in seconds from noon."""
    for name, value in seconds.items():
        table, key = (
            ("lightfast_workspace_workflow_runs", "event_id") if name == "created_at" else ("incoming_events", "id")
        )
        sql = f"update {table} set {name} = :moment where {key} = :id"
        connection.execute(text(sql), {"moment": NOON + timedelta(seconds=value), "id": event_id})


def completed(connection: Connection, event_id: int, *, after: float) -> None:
    sql = "update incoming_events set outcome = 'completed', outcome_at = :moment where id = :id"
    connection.execute(text(sql), {"moment": NOON + timedelta(seconds=after), "id": event_id})
    lifecycle.record_events(connection, [event_id])


def test_waiting_for_its_turn_being_worked_on_and_both_are_told_apart(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    begun_batch(scratch, [id_])
    times(scratch, id_, created_at=0, due_at=60, begun_at=62.5)
    completed(scratch, id_, after=65)
    duration = duration_of(scratch, id_)
    assert (duration.tags.queue_wait_ms, duration.value, duration.tags.total_ms) == (2_500, 2_500, 65_000)
    assert duration.tags.begun is True
    assert complaints(scratch) == []


def test_a_run_that_is_launched_by_hand_before_its_time_has_not_waited(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    begun_batch(scratch, [id_])
    times(scratch, id_, created_at=0, due_at=600, begun_at=5)
    completed(scratch, id_, after=6)
    assert duration_of(scratch, id_).tags.queue_wait_ms == 0


def test_times_beyond_an_integer_of_milliseconds_are_recorded_all_the_same(scratch: Connection) -> None:
    [id_] = waiting(scratch, 1)
    begun_batch(scratch, [id_])
    weeks = 40 * 86_400.0
    times(scratch, id_, created_at=0, due_at=0, begun_at=weeks)
    completed(scratch, id_, after=2 * weeks)
    duration = duration_of(scratch, id_)
    assert {duration.value, duration.tags.queue_wait_ms, duration.tags.total_ms} == {2**31 - 1}


def test_the_source_is_the_provider_of_the_event_also_when_it_is_replayed_and_children_have_none(
    scratch: Connection,
) -> None:
    [id_] = waiting(scratch, 1)
    cancel_event(scratch, id_, by="ada")
    again = replay_event(scratch, id_)
    child, sync = news(scratch, "github:7", "c-1"), appended(scratch, PAYLOADS["sync"])
    for event_id in (again, child, sync):
        cancel_event(scratch, event_id, by="ada")
    tags = [duration_of(scratch, event_id).tags for event_id in (id_, again, child, sync)]
    assert [one.source_type for one in tags] == ["github", "github", None, "github"]
    assert [one.sync_mode for one in tags] == [None, None, None, "full"]
    assert complaints(scratch) == []


@pytest.mark.parametrize(("items", "measured"), [(0, 0), (7, 7), (2**40, 2**31 - 1)])
def test_a_synchronisation_says_how_many_documents_it_indexed(scratch: Connection, items: int, measured: int) -> None:
    output = SyncSuccess(
        source_id="s",
        source_type="github",  # pyright: ignore[reportArgumentType]
        sync_mode="full",
        items_processed=items,
        items_failed=1,
        embeddings_created=2,
    )
    [metric] = documents_of(scratch, output)
    assert (metric.value, metric.tags.files_processed) == (measured, items)
    assert (metric.tags.job_type, metric.tags.source_type, metric.tags.sync_mode) == (
        "sync.orchestrator",
        "github",
        "full",
    )
    assert complaints(scratch) == []


def test_a_synchronisation_that_failed_has_indexed_nothing(scratch: Connection) -> None:
    output = SyncFailure(
        source_id="s",
        source_type="github",  # pyright: ignore[reportArgumentType]
        sync_mode="full",
        items_processed=7,
        items_failed=1,
        embeddings_created=2,
        error="no",
    )
    assert documents_of(scratch, output) == []


def documents_of(connection: Connection, output: SyncSuccess | SyncFailure) -> list[DocumentsIndexed]:
    """End a synchronisation with an output; return what it counts."""
    id_ = appended(connection, PAYLOADS["sync"])
    token = at_work(connection, id_, function_id=output.inngest_function_id)
    failure = STUMBLED if isinstance(output, SyncFailure) else None
    end = Outcome(id_, "ws_test", "org_test", "42", output, work_ms=5, failure=failure)
    keep_outcomes(connection, [end], token=token)
    end_run(connection, token)
    sql = """
    select type, value, unit, tags from lightfast_workspace_operations_metrics
    where event_id = :id and type = 'documents_indexed'
    """
    found = [parse_metric(dict(row)) for row in connection.execute(text(sql), {"id": id_}).mappings()]
    return [metric for metric in found if isinstance(metric, DocumentsIndexed)]
