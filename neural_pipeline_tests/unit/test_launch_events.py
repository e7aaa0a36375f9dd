"""Raw events of a launch: what becomes of them at the door, and the batch that they are put on."""

from typing import Any

import pytest
from sqlalchemy import Connection

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.store.batches import WorkspaceHeld
from neural_pipeline.store.intake import Channel
from neural_pipeline.workflows.batch_work.claiming import Terms, batch_of_due_events
from neural_pipeline.workflows.observation_capture.intake import FUNCTION, Door, batch_of_raw_events
from neural_pipeline_tests.building import NOON, column, one, source_event, waiting

LAUNCHPAD = Channel("launchpad", Trigger.MANUAL, "grace")
LIMITS = Limits(max_events=10, max_bytes=10_000_000, max_open=2)
TERMS = Terms(FUNCTION, LIMITS, working=1, timeout=1, lease=1, pause=1)
EVENT = source_event("typed").to_json()


def taken_in(connection: Connection, *raw: Any, door: Door | None = None) -> tuple[int | None, list[str]]:
    batch_id, admissions = batch_of_raw_events(
        connection, raw, workspace_id="ws_test", channel=LAUNCHPAD, door=door or Door(), limits=LIMITS
    )
    return batch_id, [admission.disposition.value for admission in admissions]


def test_a_door_judges_by_its_allow_list_and_its_largest_body():
    body = b'{"action": "starred"}'
    door = Door(frozenset({"push"}), max_bytes=10)
    assert door.judge("github", "issues", b"{}", delivery_id="d", received_at=NOON).disposition == "invalid"
    too_large = door.judge("github", "issues", body, delivery_id="d", received_at=NOON)
    assert too_large.reason is not None
    assert "at most 10" in too_large.reason


@pytest.mark.usefixtures("workspace")
def test_every_raw_event_is_kept_and_those_accepted_share_a_batch(connection: Connection):
    batch_id, dispositions = taken_in(connection, EVENT, EVENT | {"title": ""}, {}, EVENT | {"sourceId": "other"})
    assert dispositions == ["accepted", "invalid", "invalid", "accepted"]
    batch = one(connection, "select * from event_batches")
    assert (batch["id"], batch["trigger"], batch["state"], batch["events"]) == (batch_id, "manual", "open", 2)
    ids = column(connection, "select payload -> 'sourceEvent' ->> 'sourceId' from incoming_events order by id")
    assert ids == ["typed", "other"]
    assert column(connection, "select count(*) from raw_payloads") == [4]
    assert set(column(connection, "select trigger || triggered_by from lightfast_workspace_workflow_runs")) == {
        "manualgrace"
    }


@pytest.mark.usefixtures("workspace")
def test_every_launch_is_a_delivery_of_its_own(connection: Connection):
    taken_in(connection, EVENT)
    connection.exec_driver_sql("update batch_workspaces set closed_at = now()")
    assert taken_in(connection, EVENT)[1] == ["accepted"]
    assert len(set(column(connection, "select delivery_id from raw_payloads"))) == 2


@pytest.mark.usefixtures("workspace")
def test_without_an_accepted_event_there_is_no_batch(connection: Connection):
    assert taken_in(connection, {}, {"payload": {}}) == (None, ["invalid", "unsupported"])
    assert column(connection, "select id from event_batches") == []


@pytest.mark.usefixtures("workspace")
def test_events_over_the_largest_body_are_refused(connection: Connection):
    assert taken_in(connection, EVENT, door=Door(max_bytes=100)) == (None, ["invalid"])


@pytest.mark.usefixtures("workspace")
def test_nothing_is_taken_in_for_a_workspace_that_is_held(connection: Connection):
    batch_id, _ = taken_in(connection, EVENT)
    with pytest.raises(WorkspaceHeld, match=f"being worked on by batch {batch_id}, which waits for its run"):
        taken_in(connection, EVENT)
    assert column(connection, "select count(*) from raw_payloads") == [1]


@pytest.mark.usefixtures("workspace")
def test_what_is_due_is_put_on_a_batch_within_the_limits(connection: Connection):
    waiting(connection, 12)
    batch_id = batch_of_due_events(connection, None, TERMS)
    batch = one(connection, "select * from event_batches")
    assert (batch["id"], batch["events"], batch["trigger"]) == (batch_id, 10, "manual")


@pytest.mark.usefixtures("workspace")
def test_where_nothing_is_due_there_is_no_batch(connection: Connection):
    assert batch_of_due_events(connection, None, TERMS) is None
    assert batch_of_due_events(connection, "ws_test", TERMS) is None


@pytest.mark.usefixtures("workspace")
def test_a_held_workspace_is_refused_by_name_and_passed_by_otherwise(connection: Connection):
    waiting(connection, 1)
    batch_of_due_events(connection, "ws_test", TERMS)
    waiting(connection, 1, prefix="later")
    assert batch_of_due_events(connection, None, TERMS) is None
    with pytest.raises(WorkspaceHeld, match="ws_test"):
        batch_of_due_events(connection, "ws_test", TERMS)


@pytest.mark.usefixtures("workspace")
def test_events_beyond_the_largest_batch_wait_in_the_inbox(connection: Connection):
    raw = [source_event(f"typed-{n}").to_json() for n in range(LIMITS.max_events + 3)]
    batch_id, dispositions = taken_in(connection, *raw)
    assert set(dispositions) == {"accepted"}
    on_batch = one(connection, f"select count(*) from incoming_events where batch_id = {batch_id}")["count"]
    assert on_batch == LIMITS.max_events
