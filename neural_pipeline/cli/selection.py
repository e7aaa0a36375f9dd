"""How a command line says which runs are meant: the options that `list` and `replay` share, and what they stand for."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from neural_pipeline.cli.history import SHORT_NAMES
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.lifecycle import RunStatus
from neural_pipeline.store.runs import RunFilter

_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Function = Annotated[str | None, typer.Option(help=f"Full name, or: {', '.join(SHORT_NAMES)}.")]
Status = Annotated[RunStatus | None, typer.Option(help="Only runs in this state.")]
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only those of this workspace.")]
Since = Annotated[str | None, typer.Option(help="30m, 24h, 7d, or a date or time as 2026-03-02T08:00 (UTC).")]
Error = Annotated[str | None, typer.Option(help="Only runs with this in their error, in any case.")]


def run_filter(
    *, function: str | None, status: RunStatus | None, workspace: str | None, since: str | None, error: str | None
) -> RunFilter:
    """Return which runs the options ask for; raises Refusal."""
    return RunFilter(
        function_id=function_named(function),
        status=status,
        workspace_id=workspace,
        since=since_of(since),
        error=error,
    )


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


def since_of(text: str | None) -> datetime | None:
    """Return the time that `--since` stands for, now; raises Refusal."""
    return None if text is None else moment_of(text, now=datetime.now(UTC))
