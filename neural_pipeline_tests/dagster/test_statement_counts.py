"""Work on a batch takes as many statements as there are chunks in it, whatever the number of its events."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from neural_pipeline.cli.documents import Delivery, Kind
from neural_pipeline.cli.ingest import CHUNK_PAYLOADS, Desk, Intake, take_in
from neural_pipeline.cli.tally import Tally
from neural_pipeline.settings import Settings
from neural_pipeline_tests.building import in_transaction, workspaces
from neural_pipeline_tests.counting import Count, counting
from neural_pipeline_tests.dagster.hot_path import SETTINGS, WORKSPACES, HotPath
from neural_pipeline_tests.dagster.launching import Site
from neural_pipeline_tests.end_to_end.test_cli_ingest import issue


@pytest.fixture
def busy(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with the workspaces of the hot path and all caches filled."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    in_transaction(site.engine, lambda connection: workspaces(connection, *(f"ws_{n}" for n in range(WORKSPACES))))
    return site


def counted(site: Site, name: str, events: int, *, until: str = "") -> Count:
    """Count the statements of all that is done for batches of so many events, up to and with a step."""
    with counting(site.engine) as count:
        for step in HotPath(site, name).steps(events):
            if until and count.step == until:
                break
            count.step = step
    return count


def test_every_step_takes_as_many_statements_for_many_events_as_for_a_few(busy: Site) -> None:
    few, many = counted(busy, "a", 10), counted(busy, "b", 60)
    assert few.numbers().keys() == many.numbers().keys()
    assert {step: many.sent[step] - few.sent[step] for step in few.sent} == {step: Counter() for step in few.sent}
    assert few.numbers() == many.numbers()
    assert few.numbers()["capture"] > 10


def test_every_chunk_of_a_capture_takes_as_many_statements_as_the_one_before(
    busy: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", "50")
    numbers = [counted(busy, f"c{n}", n, until="settlement").numbers() for n in (50, 100, 150)]
    assert [(one["assignment"], one["progress"], one["settlement"]) for one in numbers] == [
        (numbers[0]["assignment"], numbers[0]["progress"], numbers[0]["settlement"])
    ] * 3
    [second, third] = [after["capture"] - before["capture"] for before, after in pairwise(numbers)]
    assert 0 < second == third <= 20


def deliveries(count: int) -> Iterator[Delivery]:
    for n in range(count):
        yield Delivery(f"line {n}", Kind("github", "issues"), json.dumps(issue(n)).encode())


def ingested(site: Site, payloads: int) -> Count:
    desk, tally = Desk.of(Settings.load(), workspace="ws_test"), Tally()
    with counting(site.engine) as count:
        take_in(site.engine, Intake(deliveries(payloads), "cli"), desk, tally=tally, quiet=True)
    assert (tally.total, tally.invalid) == (payloads, 0)
    return count


def test_ingest_takes_as_many_statements_as_there_are_chunks(busy: Site) -> None:
    numbers = [sum(ingested(busy, payloads).numbers().values()) for payloads in (1, CHUNK_PAYLOADS, 3 * CHUNK_PAYLOADS)]
    assert numbers == [numbers[0], numbers[0], 3 * numbers[0]]
