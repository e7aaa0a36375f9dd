"""`neural ingest`: deliveries judged and admitted in chunks, each chunk one transaction. Reading is `reading`."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from sqlalchemy import Engine

from neural_pipeline.cli.account import login_name
from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.documents import Delivery, Kind
from neural_pipeline.cli.output import ExitCode, print_json, say, warn
from neural_pipeline.cli.progress import intake_progress
from neural_pipeline.cli.reading import STANDARD_INPUT, files_at, read_files, read_standard_input
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.cli.tally import Tally
from neural_pipeline.cli.workspaces import require_name
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.settings import Settings
from neural_pipeline.sources.git_history import read_history
from neural_pipeline.sources.intake import DEFAULT_ALLOWED, Judgement, judge
from neural_pipeline.store.intake import Channel, Receipt, admit

CHUNK_PAYLOADS = 500
CHUNK_BYTES = 8 * 1024 * 1024
_COMMIT = Kind("git", "push")


@dataclass(frozen=True, slots=True)
class Intake:
    """Deliveries on their way into one workspace; `size` is their number of bytes where it is known."""

    deliveries: Iterator[Delivery]
    channel: str
    size: int | None = None


def ingest(
    path: Annotated[
        str | None, typer.Argument(help="A file, a folder (*.json, *.jsonl, *.ndjson), or - for standard input.")
    ] = None,
    *,
    workspace: Annotated[str, typer.Option("--workspace", "-w", envvar="NEURAL_WORKSPACE", help="Where it goes.")],
    git: Annotated[str | None, typer.Option(help="Hand in the history of this git repository instead.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --git: only the newest so many commits.")] = None,
    source: Annotated[str | None, typer.Option(help="Source of payloads that do not say: github or vercel.")] = None,
    event_type: Annotated[str | None, typer.Option(help="Event type of the same, as the provider names it.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Hand in webhook payloads, or the history of a git repository.

    Input is one JSON payload, JSON lines, or a dataset {"webhooks": [...]}; items and lines are payloads or
    {"source", "eventType", "payload"}, with a "deliveryId" of their own if they shall be taken in only once.
    Exit code 1 if anything was invalid; its bytes are kept, and all else is taken in.
    """
    require_name(workspace, "workspace")
    given = _given_kind(source, event_type)
    settings = Settings.load()
    intake = _intake(path, git, limit=limit, given=given)
    engine = ready_engine(settings)
    tally = Tally()
    try:
        take_in(engine, intake, Desk.of(settings, workspace=workspace), tally=tally, quiet=quiet)
    except BaseException:
        if tally.total:
            warn(f"stopped: {tally.total} payloads were handed in before")
        raise
    if not quiet or as_json:
        _report(tally, as_json=as_json)
    if tally.invalid:
        raise typer.Exit(ExitCode.INVALID)


def _given_kind(source: str | None, event_type: str | None) -> Kind | None:
    if source is not None and event_type is not None:
        return Kind(source, event_type)
    if source is not None or event_type is not None:
        raise Refusal("--source and --event-type go together: pass both, or neither where the payloads say it")
    return None


def _intake(path: str | None, git: str | None, *, limit: int | None, given: Kind | None) -> Intake:
    if (path is None) == (git is None):
        raise Refusal("say what to hand in: either PATH (a file, a folder, or -) or --git with a repository")
    if git is not None:
        if given is not None:
            raise Refusal("--source and --event-type are for payloads: leave them out with --git")
        return Intake(commits(read_history(git, limit=limit)), "git")
    if limit is not None:
        raise Refusal("--limit counts commits: use it with --git")
    if path == STANDARD_INPUT:
        return Intake(read_standard_input(given=given), "cli")
    files = files_at(Path(str(path)))
    return Intake(read_files(files, given=given), "cli", size=sum(file.stat().st_size for file in files))


def commits(records: Iterator[bytes]) -> Iterator[Delivery]:
    """Return the records of a history as deliveries."""
    for number, record in enumerate(records, start=1):
        yield Delivery(f"commit {number}", _COMMIT, record)


@dataclass(frozen=True, slots=True)
class Desk:
    """What is decided once for a whole call: where payloads go, which are let in, and the stem of delivery ids."""

    workspace: str
    allowed: frozenset[str]
    max_bytes: int
    call: str

    @classmethod
    def of(cls, settings: Settings, *, workspace: str) -> "Desk":
        """Return the desk of a new call."""
        allowed = DEFAULT_ALLOWED if settings.allowed_events is None else frozenset(settings.allowed_events)
        return cls(workspace, allowed, settings.max_payload_bytes, uuid4().hex)

    def receipt(self, delivery: Delivery, number: int) -> Receipt:
        """Judge a delivery and return what is to be stored; `number` counts within the call."""
        received_at = datetime.now(UTC)
        delivery_id = delivery.delivery_id or f"{self.call}-{number}"
        judgement = self._judgement(delivery, delivery_id, received_at=received_at)
        source, event_type = delivery.kind
        return Receipt(self.workspace, source, event_type, delivery_id, delivery.body, received_at, judgement)

    def _judgement(self, delivery: Delivery, delivery_id: str, *, received_at: datetime) -> Judgement:
        if delivery.flaw is not None:
            return Judgement("invalid", reason=delivery.flaw)
        return judge(
            *delivery.kind,
            delivery.body if delivery.payload is None else delivery.payload,
            delivery_id=delivery_id,
            received_at=received_at,
            allowed=self.allowed,
            max_bytes=self.max_bytes,
        )


def take_in(engine: Engine, intake: Intake, desk: Desk, *, tally: Tally, quiet: bool) -> None:
    """Admit all deliveries of an intake in chunks and count what became of them.

    While the database takes one chunk in, the next one is read and judged.
    """
    channel = Channel(intake.channel, Trigger.MANUAL, login_name())
    given, on_its_way = 0, list[Future[None]]()
    with intake_progress(intake.size, quiet=quiet) as advance, ThreadPoolExecutor(max_workers=1) as clerk:

        def hand_over(chunk: list[Delivery], receipts: list[Receipt]) -> None:
            with engine.begin() as connection:
                admissions = admit(connection, receipts, channel=channel)
            for delivery, admission in zip(chunk, admissions, strict=True):
                tally.add(admission, delivery.place)
            advance(len(chunk), sum(len(delivery.body) for delivery in chunk))

        try:
            for chunk in chunks(intake.deliveries):
                receipts = [desk.receipt(delivery, number) for number, delivery in enumerate(chunk, start=given + 1)]
                given += len(chunk)
                _await(on_its_way)
                on_its_way.append(clerk.submit(hand_over, chunk, receipts))
            _await(on_its_way)
        except Exception:
            # What went wrong with the chunk before counts first: nobody else would tell of it.
            _await(on_its_way)
            raise


def _await(on_its_way: list[Future[None]]) -> None:
    while on_its_way:
        on_its_way.pop().result()


def chunks(deliveries: Iterator[Delivery]) -> Iterator[list[Delivery]]:
    """Yield deliveries in chunks, each ended by the 500th delivery or by the one that brings it to 8 MB."""
    chunk: list[Delivery] = []
    size = 0
    for delivery in deliveries:
        chunk.append(delivery)
        size += len(delivery.body)
        if len(chunk) == CHUNK_PAYLOADS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _report(tally: Tally, *, as_json: bool) -> None:
    if as_json:
        print_json(tally.summary())
        return
    for line in tally.lines():
        say(line)
