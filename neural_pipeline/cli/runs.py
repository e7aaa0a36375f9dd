"""`neural runs`: the job history page by page, and one run in full. The reads are in `store.runs`."""

from datetime import datetime
from typing import Annotated, Any

import typer

from neural_pipeline.cli.cancel import cancel
from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.history import full_view, page_view
from neural_pipeline.cli.output import ExitCode, console, print_json, say, warn
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.cli.replay import replay
from neural_pipeline.cli.selection import Error, Function, Since, Status, Workspace, run_filter
from neural_pipeline.settings import Settings
from neural_pipeline.store.runs import Cursor, Page, find_run, list_runs

_JSON = typer.Option("--json", help="Print JSON.")

app = typer.Typer()
app.command()(cancel)
app.command()(replay)


@app.command(name="list")
def list_page(
    *,
    function: Function = None,
    status: Status = None,
    workspace: Workspace = None,
    since: Since = None,
    error: Error = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Runs per page.")] = 50,
    after: Annotated[str | None, typer.Option(help="Go on where a page ended: the cursor printed below it.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List runs, newest first. Pages hold still while new runs come in. Times are UTC."""
    wanted = run_filter(function=function, status=status, workspace=workspace, since=since, error=error)
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
    """Show everything about one run: input, output, attempts, parent, children, replays, and what was received."""
    with ready_engine(Settings.load()).begin() as connection:
        found: dict[str, Any] | None = find_run(connection, run) if run.isprintable() else None
    if found is None:
        raise Refusal(f"there is no run {run[:60]}: `neural runs list` shows the runs", ExitCode.INVALID)
    if as_json:
        print_json(found)
        return
    for line in full_view(found):
        say(line)


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
