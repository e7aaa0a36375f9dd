"""A lock for one process at a time: it refuses a second, ends with its holder, and hides no error."""

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from neural_pipeline.store.exclusive import Taken, exclusively
from neural_pipeline.store.sql import scalar

LOCK = "hashtext('neural.test'), hashtext(:place)"


def test_a_second_is_refused_and_the_next_is_not(engine: Engine) -> None:
    with exclusively(engine, LOCK, place="here"):
        with pytest.raises(Taken), exclusively(engine, LOCK, place="here"):
            pass
        with exclusively(engine, LOCK, place="there"):
            pass
    with exclusively(engine, LOCK, place="here"):
        pass


def test_after_an_error_the_lock_is_free_and_the_error_is_told(engine: Engine) -> None:
    with pytest.raises(ValueError, match="broken"), exclusively(engine, LOCK, place="here"):
        raise ValueError("broken")
    with exclusively(engine, LOCK, place="here"):
        pass


def dying(engine: Engine) -> None:
    with exclusively(engine, LOCK, place="here") as connection:
        pid = scalar(connection, "select pg_backend_pid()")
        with engine.begin() as other:
            other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        scalar(connection, "select 1")


def test_a_connection_that_dies_meanwhile_is_the_error_that_is_told(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match=r"terminat|closed"):
        dying(engine)
