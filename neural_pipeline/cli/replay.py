"""`neural runs replay`: runs that have ended are done once more, as new runs. What that means is in `store.replay`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

import typer
from sqlalchemy import Engine

from neural_pipeline.cli.account import login_name
from neural_pipeline.cli.answers import Answers
from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.output import ExitCode, warn
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.cli.rejudging import Judge
from neural_pipeline.cli.selection import Error, Function, Since, Status, Workspace, run_filter
from neural_pipeline.settings import Settings
from neural_pipeline.store.replay import MAX_REQUEST_ID, PAGE, Answer, Replay, newest_run, preview, runs_to_replay
from neural_pipeline.store.replay import replay as replay_runs
from neural_pipeline.store.runs import RunFilter, number_of_run

_NOTHING_ASKED = (
    "say which runs to replay: their IDs, or a filter as `neural runs list` takes it, such as --status failed"
)


def replay(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Numbers of runs, or ids of their executions.")
    ] = None,
    *,
    function: Function = None,
    status: Status = None,
    workspace: Workspace = None,
    since: Since = None,
    error: Error = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many runs, the oldest first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be replayed.")] = False,
    request_id: Annotated[str | None, typer.Option(help="One request replays a run once. Default: a new one.")] = None,
    reprocess: Annotated[bool, typer.Option("--reprocess", help="Replace what was captured of the event.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Do runs that have ended once more: those named, or all that match a filter; each gets a new run.

    Capturing an event again ends as a duplicate, unless --reprocess replaces its observation. Exit code 1 if a run that
    was named could not be replayed.
    """
    filters = (function, status, workspace, since, error)
    names = list(dict.fromkeys(runs or ()))
    _require_one_way(has_names=bool(names), has_filter=any(filters), has_limit=limit is not None)
    wanted = run_filter(function=function, status=status, workspace=workspace, since=since, error=error)
    settings = Settings.load()
    wish = Replay(_request(request_id), login_name(), reprocess=reprocess)
    desk = _Desk(ready_engine(settings), wish, Judge.of(settings), dry_run=dry_run)
    if request_id is None and not dry_run:
        warn(f"request {wish.request_id}: after an interruption, repeat with --request-id {wish.request_id}")
    answers = Answers("run", is_dry=dry_run)
    for answer in desk.named(names, answers) if names else desk.matching(wanted, limit=limit):
        answers.add(
            answer.run_id, answer.title, refusal=answer.refusal, before=answer.asked_before, new=answer.new_run_id
        )
    answers.report({} if dry_run else {"request_id": wish.request_id}, as_json=as_json)
    if names and answers.refused:
        raise typer.Exit(ExitCode.INVALID)


def _require_one_way(*, has_names: bool, has_filter: bool, has_limit: bool) -> None:
    if not has_names and not has_filter:
        raise Refusal(_NOTHING_ASKED)
    if has_names and (has_filter or has_limit):
        raise Refusal("IDs and filters exclude each other: name the runs, or say which are meant")


def _request(request_id: str | None) -> str:
    name = uuid4().hex if request_id is None else request_id
    if not name.strip() or not name.isprintable() or len(name) > MAX_REQUEST_ID:
        raise Refusal(f"--request-id {name[:40]!r} cannot be used: give 1 to {MAX_REQUEST_ID} printable characters")
    return name


@dataclass(frozen=True, slots=True)
class _Desk:
    """Answers for pages of runs, each page in a transaction of its own."""

    engine: Engine
    wish: Replay
    judge: Judge
    dry_run: bool

    def named(self, names: list[str], answers: Answers) -> Iterator[Answer]:
        """Answer for the runs that are named; those that do not exist are refused at once."""
        with self.engine.begin() as connection:
            found = {name: number_of_run(connection, name) if name.isprintable() else None for name in names}
        for name in (name for name, number in found.items() if number is None):
            answers.add(name, "", refusal="there is no such run: `neural runs list` shows the runs")
        numbers = list(dict.fromkeys(number for number in found.values() if number is not None))
        for start in range(0, len(numbers), PAGE):
            yield from self._answer(numbers[start : start + PAGE])

    def matching(self, wanted: RunFilter, *, limit: int | None) -> Iterator[Answer]:
        """Answer for the runs that match, oldest first; runs that begin meanwhile are left alone."""
        with self.engine.begin() as connection:
            until = newest_run(connection)
        left = limit
        after = None
        while left is None or left > 0:
            with self.engine.begin() as connection:
                size = PAGE if left is None else min(PAGE, left)
                page = runs_to_replay(
                    connection, wanted, request_id=self.wish.request_id, until=until, limit=size, after=after
                )
            if not page:
                return
            yield from self._answer([place.id for place in page])
            after, left = page[-1], None if left is None else left - len(page)

    def _answer(self, numbers: list[int]) -> list[Answer]:
        with self.engine.begin() as connection:
            act = preview if self.dry_run else replay_runs
            return act(connection, numbers, self.wish, judge=self.judge)
