"""What surrounds Dagster's processes: their home folder and variables; `neural env` and `neural settings` show them."""

import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import neural_pipeline
from neural_pipeline.cli.output import cell, console, print_json, table, warn
from neural_pipeline.postgres import server
from neural_pipeline.postgres.target import Target, resolve_database
from neural_pipeline.settings import Settings

_PACKAGE = Path(neural_pipeline.__file__).resolve().parent


def deployment_file(name: str) -> Path:
    """Return the path of `dagster.yaml` or `workspace.yaml`: in the installed package, else in the checkout."""
    packaged = _PACKAGE / "_deploy" / name
    return packaged if packaged.exists() else _PACKAGE.parent / name


def dagster_home(target: Target) -> Path:
    """Return Dagster's home folder, made if need be, with this program's dagster.yaml in it."""
    folder = target.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    _put(folder / "dagster.yaml", deployment_file("dagster.yaml").read_bytes())
    return folder


def _put(path: Path, content: bytes) -> None:
    """Replace a file in one step: a daemon may be reading it."""
    if path.exists() and path.read_bytes() == content:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as written:
        written.write(content)
    Path(written.name).replace(path)


def process_environment(target: Target) -> dict[str, str]:
    """Return the variables that Dagster's processes need beside those of this process; one may hold a password."""
    return {
        "DAGSTER_HOME": str(dagster_home(target)),
        "NEURAL_DAGSTER_URL": target.dagster_url.render_as_string(hide_password=False),
        "NEURAL_HOME": str(target.home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        # gRPC would stop its threads for every process that a code server starts. Only the run server forks without
        # exec, and it has neither threads nor channels.
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }


def env() -> None:
    """Print shell commands that export what a plain `dagster` command needs: eval "$(neural env)".

    The lines hold the password of the database, if it has one: they are for your own shell.
    """
    target = resolve_database(Settings.load())
    if target.dagster_url.password or "sslpassword" in target.dagster_url.query:
        warn("these lines hold the password of the database: keep them out of logs and files")
    if target.embedded and not server.status(target.home).running:
        warn("the database is not running: start it with `neural db start`")
    for name, value in process_environment(target).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def settings(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False
) -> None:
    """List every setting with its environment variable, value and meaning; secrets are masked."""
    described = Settings.load().describe()
    if as_json:
        keys = ("name", "variable", "value", "meaning")
        print_json([dict(zip(keys, setting, strict=True)) for setting in described])
        return
    shown = table(("variable", "value", "meaning"), fold=True)
    for _, variable, value, meaning in described:
        shown.add_row(cell(variable), cell(value), cell(meaning))
    console().print(shown)
