"""Retention in the store: what goes at which age, and what stays whatever its age."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.store import lifecycle, retention
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline_tests.building import (
    begun_batch,
    column,
    event_of,
    examined,
    in_transaction,
    keep,
    open_batch,
    run_of,
    waiting,
    workspaces,
)
from neural_pipeline_tests.retention_world import (
    OBSERVATIONS,
    RUNS,
    age,
    age_everything,
    captured,
    ended,
    failed,
    pruned,
    refused,
    replayed,
    settled,
    superseded,
    unexplained,
)

pytestmark = pytest.mark.usefixtures("workspace")
OUTCOMES = ("completed", "cancelled", "superseded", "failed")
PAYLOAD_DAYS = {"completed": 30, "cancelled": 30, "superseded": 30, "failed": 90}
RECORD_DAYS = {"completed": 180, "cancelled": 180, "superseded": 180, "failed": 365}
REFUSAL_DAYS = {"duplicate": 30, "invalid": 90, "unsupported": 90}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_payload_goes_at_the_age_of_its_outcome_and_its_record_stays(engine: Engine, outcome: str) -> None:
    id_ = ended(engine, outcome)
    with engine.begin() as connection:
        age(connection, PAYLOAD_DAYS[outcome] - 0.1)
        assert pruned(connection) == {}
        run = run_of(connection, id_)
        age(connection, 0.2)
        assert pruned(connection) == {f"payload {outcome}": 1, "raw payload accepted": 1}
        event = event_of(connection, id_)
        assert (event["payload"], event["raw_payload_id"], event["outcome"]) == (None, None, outcome)
        assert event["pruned_at"] is not None
        assert run_of(connection, id_) == run
        assert column(connection, "select count(*) from raw_payloads") == [0]
        assert pruned(connection) == {}


@pytest.mark.parametrize("disposition", REFUSAL_DAYS)
def test_a_refused_payload_goes_at_the_age_of_its_disposition(engine: Engine, disposition: str) -> None:
    made_older = "update raw_payloads set received_at = now() - :days * interval '1 day'"
    with engine.begin() as connection:
        refused(connection, disposition)
        connection.execute(text(made_older), {"days": REFUSAL_DAYS[disposition] - 0.1})
        assert pruned(connection) == {}
        connection.execute(text(made_older), {"days": REFUSAL_DAYS[disposition] + 0.1})
        assert pruned(connection) == {f"raw payload {disposition}": 1}
        assert unexplained(connection) == {}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_record_goes_at_the_age_of_its_outcome_with_all_that_hangs_on_it(engine: Engine, outcome: str) -> None:
    id_ = ended(engine, outcome)
    with engine.begin() as connection:
        age(connection, RECORD_DAYS[outcome] - 0.1)
        pruned(connection)
        assert event_of(connection, id_)["outcome"] == outcome
        age(connection, 0.2)
        assert pruned(connection) == {f"execution {outcome}": 1}
        for table, key in (("incoming_events", "id"), (RUNS, "event_id"), ("workflow_run_attempts", "event_id")):
            assert column(connection, f"select count(*) from {table} where {key} = :id", id=id_) == [0]
        assert unexplained(connection) == {}


def test_an_observation_stays_for_ever_and_stands_without_its_execution(engine: Engine) -> None:
    captured(engine)
    with engine.begin() as connection:
        but_for_the_execution = f"select to_jsonb(o) - 'event_id' from {OBSERVATIONS} o"
        before = column(connection, but_for_the_execution)
        age_everything(connection, 4000)
        assert pruned(connection)["execution completed"] == 1
        assert column(connection, but_for_the_execution) == before
        assert column(connection, f"select event_id from {OBSERVATIONS}") == [None]
        assert column(connection, "select count(*) from observation_vectors") == [3]


def test_children_that_are_kept_stand_without_their_parent(engine: Engine) -> None:
    [parent] = captured(engine)
    with engine.begin() as connection:
        children = column(connection, "select id from incoming_events where parent_event_id = :id", id=parent)
        age(connection, 4000)
        assert pruned(connection)["execution completed"] == 1
        assert [event_of(connection, child)["parent_event_id"] for child in children] == [None, None]
        assert [run_of(connection, child)["status"] for child in children] == ["queued", "queued"]


def test_a_child_does_not_go_before_its_parent(engine: Engine) -> None:
    [parent] = captured(engine)
    with engine.begin() as connection:
        sql = "select id from incoming_events where function_id = 'neural.cluster.summary'"
        [summary] = column(connection, sql)
        sql = "update incoming_events set outcome = 'cancelled', outcome_at = now() where id = :id"
        connection.execute(text(sql), {"id": summary})
        lifecycle.record_events(connection, [summary])
        age(connection, 4000, summary)
        assert "execution cancelled" not in pruned(connection)
        assert unexplained(connection) == {}
        age(connection, 4000, parent)
        assert pruned(connection)["execution cancelled"] == 1
        assert unexplained(connection) == {}


@pytest.mark.parametrize("page", [1, 1000])
def test_what_was_superseded_a_moment_before_its_parent_ended_goes_in_the_same_night(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """And so does the one that stands for it."""
    monkeypatch.setattr(retention, "PAGE", page)
    [parent] = captured(engine)
    with engine.begin() as connection:
        [survivor] = waiting(connection, 1, prefix="newer")
        of_parent = "select id from incoming_events where parent_event_id = :id"
        children = [superseded(connection, id_) for id_ in column(connection, of_parent, id=parent)]
        cancel_event(connection, survivor, by="ada")
        age(connection, 200)
        age(connection, 0.1, *children)
        age(connection, 0.05, survivor)
        removed = pruned(connection)
        assert {name: removed[name] for name in removed if name.startswith("execution")} == {
            "execution completed": 1,
            "execution superseded": 2,
            "execution cancelled": 1,
        }
        assert column(connection, "select id from incoming_events") == []


def nothing_goes(connection: Connection, *event_ids: int) -> None:
    before = [(event_of(connection, id_), run_of(connection, id_)) for id_ in event_ids]
    pruned(connection)
    assert [(event_of(connection, id_), run_of(connection, id_)) for id_ in event_ids] == before
    assert column(connection, "select count(*) from raw_payloads where disposition = 'accepted'") == [len(event_ids)]


def test_what_waits_or_is_on_a_batch_never_goes(engine: Engine) -> None:
    with engine.begin() as connection:
        waits, *on_batches = waiting(connection, 2) + waiting(
            connection, 1, workspace_id=workspaces(connection, "b")[0]
        )
        open_batch(connection, on_batches[:1])
        begun_batch(connection, on_batches[1:])
        age_everything(connection, 4000)
        nothing_goes(connection, waits, *on_batches)
        assert column(connection, "select state from event_batches order by 1") == ["open", "running"]


def test_what_has_ended_on_a_batch_that_is_not_closed_never_goes(engine: Engine) -> None:
    with engine.begin() as connection:
        ids = waiting(connection, 2)
        token = begun_batch(connection, ids)
        seen = examined(connection, token)
    keep(engine, token, seen[:1])
    with engine.begin() as connection:
        lifecycle.record_batch(connection, token.batch_id)
        age_everything(connection, 4000)
        assert run_of(connection, ids[0])["status"] == "completed"
        nothing_goes(connection, *ids)


def test_what_is_not_recorded_yet_or_recorded_otherwise_never_goes(engine: Engine) -> None:
    end = "update incoming_events set outcome = 'cancelled', outcome_at = now() where id = :id"
    disagree = f"update {RUNS} set status = 'completed', completed_at = now() where event_id = :id"
    with engine.begin() as connection:
        unrecorded, disputed = waiting(connection, 2)
        for sql, id_ in ((end, unrecorded), (end, disputed), (disagree, disputed)):
            connection.execute(text(sql), {"id": id_})
        age_everything(connection, 4000)
        nothing_goes(connection, unrecorded, disputed)


def test_a_raw_payload_stays_as_long_as_a_replay_can_use_it_and_so_does_the_record_it_came_with(engine: Engine) -> None:
    [id_] = captured(engine)
    with engine.begin() as connection:
        again = replayed(connection, id_)
        age(connection, 4000)
        assert pruned(connection) == {"payload completed": 1}
        assert event_of(connection, id_)["payload"] is None
        assert event_of(connection, id_)["raw_payload_id"] == event_of(connection, again)["raw_payload_id"] is not None
        assert unexplained(connection) == {}
    settled(engine, [again])
    with engine.begin() as connection:
        age(connection, 4000)
        assert pruned(connection)["execution completed"] == 2
        assert column(connection, "select count(*) from raw_payloads") == [0]
        assert unexplained(connection) == {}


def test_a_replacement_does_not_go_before_what_it_replaced(engine: Engine) -> None:
    first, second = captured(engine, 2)
    replaced = f"""
    with gone as (delete from {OBSERVATIONS} where event_id = :first returning external_id)
    insert into replaced_observations (event_id, replaced_by_event_id, external_id)
    select :first, :second, external_id from gone
    """
    with engine.begin() as connection:
        connection.execute(text(replaced), {"first": first, "second": second})
        assert unexplained(connection) == {}
        age(connection, 200, second)
        assert "execution completed" not in pruned(connection)
        assert unexplained(connection) == {}
        age(connection, 200, first)
        assert pruned(connection)["execution completed"] == 2
        assert unexplained(connection) == {}


def test_what_is_left_of_a_workspace_that_was_deleted_goes_like_a_refusal(engine: Engine) -> None:
    with engine.begin() as connection:
        waiting(connection, 1, workspace_id=workspaces(connection, "ws_gone")[0])
        connection.execute(text("delete from lightfast_org_workspaces where id = 'ws_gone'"))
        connection.execute(text("update raw_payloads set received_at = now() - interval '89 days'"))
        assert pruned(connection) == {}
        connection.execute(text("update raw_payloads set received_at = now() - interval '91 days'"))
        assert pruned(connection) == {"raw payload accepted": 1}
        assert unexplained(connection) == {}


def test_a_payload_whose_execution_is_lost_is_kept_as_evidence(engine: Engine) -> None:
    with engine.begin() as connection:
        waiting(connection, 1)
        connection.execute(text(f"delete from {RUNS}"))
        connection.execute(text("delete from incoming_events"))
        age_everything(connection, 4000)
        assert pruned(connection) == {}


def test_a_closed_batch_goes_when_it_is_old_and_no_execution_is_left_of_it(engine: Engine) -> None:
    captured(engine, prefix="young")
    failed(engine)
    captured(engine, prefix="old")
    with engine.begin() as connection:
        connection.execute(text("update event_batches set closed_at = closed_at - interval '200 days' where id > 1"))
        age(connection, 200)
        assert pruned(connection)["batch closed"] == 1
        assert column(connection, "select id from event_batches order by 1") == [1, 2]
        assert column(connection, "select batch_id from batch_workspaces order by 1") == [1, 2]


def test_metrics_go_by_their_own_age(engine: Engine) -> None:
    captured(engine)
    made_older = """
    update lightfast_workspace_operations_metrics set timestamp = timestamp - interval '366 days'
    where type = 'job_duration'
    """
    with engine.begin() as connection:
        connection.execute(text(made_older))
        assert pruned(connection) == {"metric job_duration": 1}
        assert column(connection, "select count(*) from lightfast_workspace_operations_metrics") == [5]


def test_what_somebody_holds_is_passed_over_and_goes_the_next_time(engine: Engine) -> None:
    held, child_held, observation_held, free = captured(engine, 4)
    locks = {
        "select from incoming_events where id = :id for share": held,
        "select from incoming_events where parent_event_id = :id for no key update": child_held,
        f"select from {OBSERVATIONS} where event_id = :id for no key update": observation_held,
    }
    with engine.begin() as connection:
        age(connection, 4000)
    with engine.connect() as busy, ThreadPoolExecutor(1) as thread:
        for sql, id_ in locks.items():
            busy.execute(text(sql), {"id": id_})
        removed = thread.submit(in_transaction, engine, pruned).result(timeout=20)
        assert (removed["payload completed"], removed["execution completed"]) == (3, 1)
        busy.rollback()
    with engine.begin() as connection:
        sql = "select id from incoming_events where id = any(:ids) order by 1"
        assert column(connection, sql, ids=[held, child_held, observation_held, free]) == [
            held, child_held, observation_held
        ]  # fmt: skip
        assert pruned(connection)["execution completed"] == 3
