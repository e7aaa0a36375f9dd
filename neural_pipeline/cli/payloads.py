"""`neural payloads`: what was refused when it came in, and handing it in again. The reads are in `store.payloads`."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer
from sqlalchemy import Engine

from neural_pipeline.cli.account import login_name
from neural_pipeline.cli.answers import Answers
from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.output import ExitCode, cell, console, print_json, table, warn
from neural_pipeline.cli.readmission import Readmission, Verdict
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.cli.rejudging import Judge
from neural_pipeline.cli.selection import Since, Workspace, since_of
from neural_pipeline.contracts.lifecycle import Disposition
from neural_pipeline.settings import Settings
from neural_pipeline.store.payloads import PayloadFilter, newest_payload, payloads_to_replay, refused_payloads

PAGE = 200
PAGE_BYTES = 16 * 1024 * 1024
_LONGEST_ID = 18
"""Digits that fit into a bigint whatever they are."""


class Refused(StrEnum):
    """The dispositions of payloads that have no execution."""

    INVALID = Disposition.INVALID.value
    UNSUPPORTED = Disposition.UNSUPPORTED.value


_Disposition = Annotated[Refused | None, typer.Option(help="Only payloads refused in this way.")]
_AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer()


@app.command(name="list")
def list_payloads(
    *,
    disposition: _Disposition = None,
    workspace: Workspace = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first.")] = 50,
    as_json: _AS_JSON = False,
) -> None:
    """List payloads that were refused, newest first, each with the reason, and its run if it was taken in since."""
    wanted = PayloadFilter(disposition=disposition, workspace_id=workspace, since=since_of(since))
    with ready_engine(Settings.load()).begin() as connection:
        found = refused_payloads(connection, wanted, limit=limit)
    if as_json:
        print_json(found)
    elif not found:
        warn("no refused payloads")
    else:
        columns = (
            "id",
            "received_at",
            "workspace_id",
            "source",
            "event_type",
            "bytes",
            "disposition",
            "run_id",
            "reason",
        )
        headings = ("id", "received (UTC)", "workspace", "source", "type", "bytes", "disposition", "run", "reason")
        shown = table(headings, sharing={"workspace": 1, "type": 1, "reason": 4})
        for row in found:
            shown.add_row(*(cell(row[column]) for column in columns))
        console().print(shown)


@app.command()
def replay(
    payloads: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Numbers of payloads.")] = None,
    *,
    disposition: _Disposition = None,
    workspace: Workspace = None,
    since: Since = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many payloads, the oldest first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be taken in.")] = False,
    as_json: _AS_JSON = False,
) -> None:
    """Hand refused payloads in again: those named, or all that match a filter. What is accepted now gets its run.

    What was taken in before is left alone. Exit code 1 if a payload that was named is refused again.
    """
    has_filter = any((disposition, workspace, since))
    if not payloads and not has_filter:
        raise Refusal("say which payloads to replay: their IDs, or a filter such as --disposition invalid")
    if payloads and (has_filter or limit is not None):
        raise Refusal("IDs and filters exclude each other: name the payloads, or say which are meant")
    wanted = PayloadFilter(disposition=disposition, workspace_id=workspace, since=since_of(since))
    settings = Settings.load()
    engine = ready_engine(settings)
    readmission = Readmission(Judge.of(settings), login_name(), dry_run=dry_run)
    answers = Answers("payload", is_dry=dry_run)
    names = list(dict.fromkeys(payloads or ()))
    pages = _named(names, answers) if names else _matching(engine, wanted, limit=limit)
    for verdict in _verdicts(engine, pages, readmission):
        answers.add(
            verdict.payload_id, verdict.title, refusal=verdict.refusal, before=verdict.before, new=verdict.run_id
        )
    answers.report({}, as_json=as_json)
    if names and answers.refused:
        raise typer.Exit(ExitCode.INVALID)


def _verdicts(engine: Engine, pages: Iterator[list[int]], readmission: Readmission) -> Iterator[Verdict]:
    missing = "there is no such payload: `neural payloads list` shows them"
    for page in pages:
        with engine.begin() as connection:
            verdicts = readmission.judge_and_admit(connection, page)
        yield from verdicts
        for id_ in sorted(set(page) - {verdict.payload_id for verdict in verdicts}):
            yield Verdict(id_, "", refusal=missing)


def _named(names: list[str], answers: Answers) -> Iterator[list[int]]:
    """Yield the ids that are named, one at a time: their bodies may be large."""
    for name in names:
        if name.isascii() and name.isdigit() and len(name) <= _LONGEST_ID:
            yield [int(name)]
        else:
            answers.add(name, "", refusal="that is no number: `neural payloads list` shows the payloads")


def _matching(engine: Engine, wanted: PayloadFilter, *, limit: int | None) -> Iterator[list[int]]:
    """Yield the ids that match page by page, oldest first; what comes in meanwhile is left alone."""
    with engine.begin() as connection:
        until = newest_payload(connection)
    left, after = limit, None
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        with engine.begin() as connection:
            page = payloads_to_replay(connection, wanted, until=until, limit=size, max_bytes=PAGE_BYTES, after=after)
        if not page:
            return
        yield [place.id for place in page]
        after, left = page[-1], None if left is None else left - len(page)
