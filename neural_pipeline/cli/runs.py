"""`neural runs`: the job history page by page, and one run in full. The reads are in `store.runs`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from neural_pipeline.cli.cancel import cancel
from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.history import SHORT_NAMES, full_view, page_view
from neural_pipeline.cli.output import ExitCode, console, print_json, say, warn
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.lifecycle import RunStatus
from neural_pipeline.settings import Settings
from neural_pipeline.store.runs import Cursor, Page, RunFilter, find_run, list_runs

_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_JSON = typer.Option("--json", help="Print JSON.")

app = typer.Typer()
app.command()(cancel)


@app.command(name="list")
def list_page(
    *,
    function: Annotated[str | None, typer.Option(help=f"Full name, or: {', '.join(SHORT_NAMES)}.")] = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs in this state.")] = None,
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only runs of this workspace.")] = None,
    since: Annotated[
        str | None, typer.Option(help="30m, 24h, 7d, or a date or time as 2026-03-02T08:00 (UTC).")
    ] = None,
    error: Annotated[str | None, typer.Option(help="Only runs with this in their error, in any case.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Runs per page.")] = 50,
    after: Annotated[str | None, typer.Option(help="Go on where a page ended: the cursor printed below it.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List runs, newest first. Pages hold still while new runs come in. Times are UTC."""
    wanted = RunFilter(
        function_id=function_named(function),
        status=status,
        workspace_id=workspace,
        since=None if since is None else moment_of(since, now=datetime.now(UTC)),
        error=error,
    )
    place = cursor_of(after) if after else None
    with ready_engine(Settings.load()).begin() as connection:
        page = list_runs(connection, wanted, limit=limit, after=place)
    _print_page(page, as_json=as_json)


def _print_page(page: Page, *, as_json: bool) -> None:
    following = page.next and f"{page.next.created_at.isoformat()},{page.next.id}"
    if as_json:
        print_json({"items": list(page.runs), "next": following})
        return
    screen = console()
    if not page.runs:
        warn("no runs")
        return
    screen.print(page_view(page.runs, width=screen.width))
    if following:
        warn(f"older: --after {following}")


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="ID", help="The number of a run, or the id of its execution.")],
    *,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show everything about one run: input, output, attempts, parent, children, and what was received."""
    with ready_engine(Settings.load()).begin() as connection:
        found: dict[str, Any] | None = find_run(connection, run) if run.isprintable() else None
    if found is None:
        raise Refusal(f"there is no run {run[:60]}: `neural runs list` shows the runs", ExitCode.INVALID)
    if as_json:
        print_json(found)
        return
    for line in full_view(found):
        say(line)


def function_named(name: str | None) -> str | None:
    """Return the full name of a function given by its full or short name; raises Refusal."""
    if name is None or name in set(FunctionId):
        return name
    if name not in SHORT_NAMES:
        raise Refusal(f"there is no function {name[:60]}: use {', '.join(SHORT_NAMES)}, or {', '.join(FunctionId)}")
    return SHORT_NAMES[name]


def moment_of(text: str, *, now: datetime) -> datetime:
    """Return the time that `24h`, or an ISO date or time stands for, UTC where it does not say; raises Refusal."""
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        given = datetime.fromisoformat(text)
        return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Refusal(f"--since {text[:60]} is no time: write 30m, 24h, 7d or 2026-03-02T08:00") from None


def cursor_of(text: str) -> Cursor:
    """Read a cursor as it was printed; raises Refusal."""
    moment, _, number = text.rpartition(",")
    try:
        created_at = datetime.fromisoformat(moment)
        if created_at.tzinfo and number.isascii() and number.isdigit() and len(number) < 19:
            return Cursor(created_at, int(number))
    except ValueError:
        pass
    raise Refusal(f"--after {text[:60]} is no cursor: copy the one printed below the page before")
