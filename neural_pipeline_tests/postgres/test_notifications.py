"""What the database announces the moment it is committed, and the reads that follow from it."""

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from neural_pipeline.store import batches
from neural_pipeline.store.announcements import (
    Channel,
    Listener,
    Unheard,
    asking_for_runs,
    left_to_the_sensor,
    listening,
    look_for_due,
)
from neural_pipeline_tests.building import (
    CAPTURE,
    capture,
    end_run,
    keep,
    open_batch,
    put_off,
    ready,
    waiting,
    workspaces,
)

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture
def listener(engine: Engine) -> Iterator[Listener]:
    with listening(engine, Channel.DUE, Channel.OUTCOMES) as listener:
        yield listener


def announced(listener: Listener) -> list[str]:
    time.sleep(0.1)
    return [channel for channel, _ in listener.heard()]


def test_events_that_are_taken_in_are_announced_once_per_transaction(engine: Engine, listener: Listener):
    with engine.begin() as connection:
        waiting(connection, 50)
        waiting(connection, 50, prefix="f")
        assert announced(listener) == []
    assert announced(listener) == ["neural_due"]


def test_outcomes_are_announced_when_they_are_committed(engine: Engine, listener: Listener):
    token, seen = ready(engine, 2)
    announced(listener)
    keep(engine, token, seen)
    assert "neural_outcomes" in announced(listener)


def test_work_on_a_batch_that_brings_no_outcome_is_not_announced(engine: Engine, listener: Listener):
    with engine.begin() as connection:
        ids = waiting(connection, 2)
    announced(listener)
    with engine.begin() as connection:
        token = batches.take(connection, open_batch(connection, ids), run_id="run-1", seconds=600, lease=60)
        assert token is not None
        batches.begin(connection, token)
        batches.count_stale_write(connection, token)
    assert announced(listener) == []


def test_a_batch_that_is_closed_makes_room_and_is_announced(engine: Engine, listener: Listener):
    token, _ = ready(engine, 1)
    announced(listener)
    with engine.begin() as connection:
        connection.execute(text("update batch_workspaces set closed_at = now()"))
    announced(listener)
    with engine.begin() as connection:
        assert end_run(connection, token)
    assert "neural_due" in announced(listener)


def test_a_workspace_that_is_let_go_before_its_batch_ends_is_announced(engine: Engine, listener: Listener):
    token, _ = ready(engine, 1)
    announced(listener)
    with engine.begin() as connection:
        batches.let_go(connection, token, workspaces=["ws_test"])
    assert announced(listener) == ["neural_due"]


def test_the_children_of_a_capture_are_announced_with_it(engine: Engine, listener: Listener):
    token, _ = ready(engine, 1)
    announced(listener)
    capture(engine, token)
    assert set(announced(listener)) == {"neural_due", "neural_outcomes"}


def test_a_listener_whose_connection_was_cut_says_so(engine: Engine):
    with suppress(SQLAlchemyError), listening(engine, Channel.DUE) as listener:
        cut(engine, listener)
        announced(listener)
        with pytest.raises(Unheard):
            announced(listener)


def test_a_function_is_due_from_the_moment_its_event_is(engine: Engine):
    with engine.begin() as connection:
        [now, later] = waiting(connection, 2)
        put_off(connection, later)
    with engine.begin() as connection:
        due = look_for_due(connection, [CAPTURE, "neural.profile.update"])
        assert due.functions == [CAPTURE]
        assert due.next_in == pytest.approx(3600, abs=10)
        connection.execute(text("update incoming_events set outcome = 'cancelled', outcome_at = now()"))
        assert look_for_due(connection, [CAPTURE]) == type(due)([], None)
    assert now != later


def test_what_is_on_a_batch_is_not_due(engine: Engine):
    with engine.begin() as connection:
        open_batch(connection, waiting(connection, 1))
        assert look_for_due(connection, [CAPTURE]).functions == []


def test_batches_whose_runs_a_dispatcher_asks_for_are_not_the_sensors(engine: Engine, listener: Listener):
    with asking_for_runs(listener.connection, function_id=CAPTURE), engine.begin() as connection:
        batch_id = open_batch(connection, waiting(connection, 1))
        assert left_to_the_sensor(connection, function_id=CAPTURE) == []
    with engine.begin() as connection:
        assert left_to_the_sensor(connection, function_id=CAPTURE) == [batch_id]


def test_another_functions_batches_are_the_sensors_meanwhile(engine: Engine, listener: Listener):
    with asking_for_runs(listener.connection, function_id="neural.profile.update"), engine.begin() as connection:
        batch_id = open_batch(connection, waiting(connection, 1))
        assert left_to_the_sensor(connection, function_id=CAPTURE) == [batch_id]


def test_a_dispatcher_that_takes_too_long_to_ask_is_not_waited_for(engine: Engine, listener: Listener):
    with engine.begin() as connection:
        workspaces(connection, "ws_late")
        late = open_batch(connection, waiting(connection, 1, workspace_id="ws_late", prefix="l"))
        connection.execute(text("update event_batches set assigned_at = now() - interval '31 s'"))
        open_batch(connection, waiting(connection, 1))
    with asking_for_runs(listener.connection, function_id=CAPTURE), engine.begin() as connection:
        assert left_to_the_sensor(connection, function_id=CAPTURE) == [late]


def test_a_dispatcher_that_dies_while_it_asks_leaves_its_batches_to_the_sensor(engine: Engine):
    with suppress(SQLAlchemyError), listening(engine, Channel.DUE) as dying:
        with engine.begin() as connection:
            batch_id = open_batch(connection, waiting(connection, 1))
        with asking_for_runs(dying.connection, function_id=CAPTURE):
            cut(engine, dying)
            with engine.begin() as connection:
                assert left_to_the_sensor(connection, function_id=CAPTURE) == [batch_id]


def cut(engine: Engine, listener: Listener) -> None:
    """End the server's side of a connection."""
    pid = listener.connection.execute(text("select pg_backend_pid()")).scalar_one()
    with engine.begin() as connection:
        connection.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
