"""Chunks are taken in beside the reading of the next one: what goes wrong there is told, and what is in is counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from neural_pipeline.cli.documents import Delivery, Kind
from neural_pipeline.cli.ingest import CHUNK_PAYLOADS, Desk, Intake, take_in
from neural_pipeline.cli.tally import Tally
from neural_pipeline.sources.intake import DEFAULT_ALLOWED


class InputLost(Exception):
    """The input could not be read on."""


def deliveries(count: int, *, then: Exception | None) -> Iterator[Delivery]:
    for number in range(count):
        yield Delivery(f"line {number}", Kind("github", "push"), b"{}")
    if then is not None:
        raise then


@pytest.mark.parametrize("then", [None, InputLost()])
def test_a_database_that_is_away_is_told_also_where_the_input_ends_badly(
    tmp_path: Path, then: Exception | None
) -> None:
    nowhere = create_engine(URL.create("postgresql+psycopg2", username="u", query={"host": str(tmp_path)}))
    tally = Tally()
    desk = Desk("ws_test", DEFAULT_ALLOWED, 1_000, "call")
    with pytest.raises(OperationalError):
        take_in(nowhere, Intake(deliveries(CHUNK_PAYLOADS, then=then), "cli"), desk, tally=tally, quiet=True)
    assert tally.total == 0
