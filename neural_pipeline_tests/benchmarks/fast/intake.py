"""Handing the events in, as `neural ingest` does, for contestants that are not asked by command; and their settings."""

from collections.abc import Iterator
from itertools import islice
from uuid import uuid4

from sqlalchemy import Engine

from neural_pipeline.cli.documents import delivery_of_line
from neural_pipeline.cli.ingest import CHUNK_PAYLOADS, Desk
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.sources.intake import DEFAULT_ALLOWED
from neural_pipeline.store.intake import Channel, admit
from neural_pipeline_tests.benchmarks.fast.capture_logic import CAPTURE, Job
from neural_pipeline_tests.benchmarks.fast.events import Events

_CHANNEL = Channel("ingest", Trigger.MANUAL, "bench")
_MAX_BYTES = 25 * 1024 * 1024


def hand_in(engine: Engine, events: Events) -> Iterator[list[Job]]:
    """Take all events in, in chunks of one transaction each; yield what is to be done about each chunk."""
    desks = {name: Desk(name, DEFAULT_ALLOWED, _MAX_BYTES, uuid4().hex) for name in events.workspaces}
    given = enumerate(events.in_order(), start=1)
    while chunk := list(islice(given, CHUNK_PAYLOADS)):
        receipts = [desks[name].receipt(delivery_of_line(one, name, given=None), n) for n, (name, one) in chunk]
        with engine.begin() as connection:
            admissions = admit(connection, receipts, channel=_CHANNEL)
        done = zip(admissions, receipts, strict=True)
        yield [Job(one.event_id, CAPTURE, receipt.workspace_id) for one, receipt in done if one.event_id is not None]
