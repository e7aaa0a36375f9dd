import pytest
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError

from neural_pipeline.store.refusals import is_fault_of_circumstances, is_fault_of_data


class Refused(Exception):
    """An error of the driver."""

    def __init__(self, pgcode: str | None) -> None:
        super().__init__("refused")
        self.pgcode = pgcode


def error(code: str | None, kind: type[DBAPIError] = DBAPIError) -> DBAPIError:
    return kind("statement", None, Refused(code))


@pytest.mark.parametrize(
    "code", ["08006", "25006", "28000", "40001", "42501", "42P01", "53100", "55P03", "57P01", "58030"]
)
def test_no_event_is_blamed_for_circumstances(code: str):
    assert is_fault_of_circumstances(error(code))
    assert not is_fault_of_data(error(code))


@pytest.mark.parametrize("code", ["53200", "57014"])
def test_a_statement_too_heavy_for_the_server_is_not_tried_for_ever(code: str):
    assert not is_fault_of_circumstances(error(code, OperationalError))


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_a_connection_that_broke_has_no_code_and_is_a_circumstance(kind: type[DBAPIError]):
    assert is_fault_of_circumstances(error(None, kind))


@pytest.mark.parametrize("given", [error("22001", DataError), error("P0001"), error("54000")])
def test_what_the_data_bring_about_is_the_events_own_fault(given: DBAPIError):
    assert is_fault_of_data(given)
    assert not is_fault_of_circumstances(given)


def test_the_error_behind_an_error_is_looked_at():
    broken = RuntimeError("the op broke")
    assert not is_fault_of_circumstances(broken)
    broken.__cause__ = error("57P01")
    assert is_fault_of_circumstances(broken)
