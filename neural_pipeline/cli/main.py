"""The entry point: which commands there are, and what becomes of an error. A command's module is loaded when called."""

import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile
from typing import Annotated, Any, NoReturn, Protocol, runtime_checkable

import typer
from typer.main import get_command

_COMMANDS = {
    "up": ("up:up", "Start the database, Dagster's daemon and its user interface."),
    "demo": ("demo:demo", "Show the whole way of an event on sample data."),
    "ingest": (
        "ingest:ingest",
        "Hand in webhook payloads from files or standard input, or the history of a repository.",
    ),
    "runs": ("runs:app", "Look at the executions of the workflows."),
    "search": ("search:search_memory", "Ask a workspace's memory: by text, by what is named, by who acted."),
    "report": ("report:report", "Write what the metrics say about the last days as a page and as Markdown."),
    "payloads": ("payloads:app", "Look at payloads that were refused, and hand them in again."),
    "workspaces": ("workspaces:app", "Make and list workspaces."),
    "reembed": ("reembed:reembed", "Move a workspace to another embedding model."),
    "prune": ("prune:prune", "Remove what the settings say is old."),
    "doctor": ("doctor:doctor", "Check that everything works and nothing is stuck, and say what to do."),
    "db": ("db:app", "Start, stop and upgrade the database."),
    "env": ("environment:env", "Print the variables that a plain `dagster` command needs."),
    "settings": ("environment:settings", "List every setting with its value and meaning."),
}
_HELP = (
    "Turn engineering events into a searchable memory and look at the record of that work.\n\n"
    "Exit codes: 0 done; 1 a payload was invalid, what was asked for is not there, or the doctor found a fault; "
    "2 wrong usage or unusable input; 3 `neural db status`: it does not run; 4 the database cannot be used; "
    "70 an unexpected error; 130 interrupted."
)


@runtime_checkable
class _UsageProblem(Protocol):
    exit_code: int

    def format_message(self) -> str: ...


def main() -> NoReturn:
    """Run the command line of this process."""
    stdout: Any = sys.stdout
    if getattr(stdout, "errors", None) == "strict":
        # A terminal that is not UTF-8 lacks characters: better without them than without what follows.
        stdout.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors end as one line on standard error."""
    leading = list(takewhile(lambda word: word.startswith("-"), arguments))
    called = next(iter(arguments[len(leading) :]), "")
    try:
        command = get_command(_application(called))
        result: Any = command.main(list(arguments) or ["--help"], prog_name="neural", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        if "--debug" in leading:
            traceback.print_exc()
        return _complain(error)
    return result if isinstance(result, int) else 0


def _application(called: str) -> typer.Typer:
    """Make the application with the called command in full and all others as their names and one line of help."""
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.callback(help=_HELP)(_options)
    for name, (place, summary) in _COMMANDS.items():
        module, _, attribute = place.partition(":")
        if find_spec(f"neural_pipeline.cli.{module}") is None:
            continue
        command = _load(module, attribute) if name == called else None
        if isinstance(command, typer.Typer):
            application.add_typer(command, name=name, help=summary)
        else:
            application.command(name, help=None if command else summary)(command or _not_loaded)
    return application


def _load(module: str, attribute: str) -> typer.Typer | Callable[..., None]:
    return getattr(import_module(f"neural_pipeline.cli.{module}"), attribute)


def _not_loaded() -> None:
    """Stand for a command that was not called."""


def _options(
    *, debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False
) -> None:
    """Take the options before the command; `run` has read them from the arguments."""


def _complain(error: Exception) -> int:
    if isinstance(error, _UsageProblem):
        path = getattr(getattr(error, "ctx", None), "command_path", "neural")
        code, line = error.exit_code, f"{error.format_message().rstrip('.')}; see `{path} --help`"
    else:
        # Only now: what it knows of errors takes a second to import.
        from neural_pipeline.cli.failures import described

        code, line = described(error)
    from neural_pipeline.cli.output import flat

    typer.echo(f"neural: {flat(line)}", err=True)
    return code
