"""`neural workspaces`: making and listing them, and the settings a new one gets."""

from typing import Annotated, Any

import typer
from sqlalchemy.exc import IntegrityError

from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.output import ExitCode, cell, console, print_json, say, table
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.settings import Settings
from neural_pipeline.store.workspaces import create_workspace, workspaces

app = typer.Typer()
_WIDTH = 191


def new_settings(workspace_id: str, *, organisation: str, dimension: int) -> dict[str, Any]:
    """Return the settings of a new workspace, version 1, with the offline embedder of a dimension."""
    # Only now: `neural ingest` takes from here what a name may be, and needs no models of settings.
    from neural_pipeline.contracts.integrations import EmbeddingSettings, WorkspaceSettings

    embedding = EmbeddingSettings(
        namespace_name=f"{organisation}:{workspace_id}",
        embedding_dim=dimension,
        embedding_model=f"hashing-{dimension}",
        embedding_provider="offline",
    )
    return WorkspaceSettings(embedding=embedding).to_json()


@app.command()
def create(
    workspace: Annotated[str, typer.Argument(metavar="ID", help="The id, as `--workspace` takes it.")],
    *,
    org: Annotated[str, typer.Option(help="The organisation it belongs to.")] = "org_local",
    name: Annotated[str | None, typer.Option(help="Its name, one of a kind in the organisation. Default: ID.")] = None,
) -> None:
    """Make a workspace."""
    title = workspace if name is None else name
    for label, value in (("id", workspace), ("organisation", org), ("name", title)):
        require_name(value, label)
    settings = Settings.load()
    document = new_settings(workspace, organisation=org, dimension=settings.embedding_dimension)
    try:
        with ready_engine(settings).begin() as connection:
            made = create_workspace(connection, workspace, organisation=org, name=title, settings=document)
    except IntegrityError:
        message = f"organisation {org} has a workspace named {title} already: pass another --name"
        raise Refusal(message, ExitCode.INVALID) from None
    if not made:
        raise Refusal(f"there is a workspace {workspace} already: choose another id", ExitCode.INVALID)
    say(f"workspace {workspace} made")


def require_name(value: str, label: str) -> None:
    """Raise Refusal unless a value can be an id or a name: printable, not blank, at most 191 characters."""
    if not value.strip() or not value.isprintable() or len(value) > _WIDTH:
        raise Refusal(f"the {label} {value[:40]!r} cannot be used: give 1 to {_WIDTH} printable characters")


@app.command(name="list")
def list_workspaces(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False
) -> None:
    """List all workspaces with the number of their observations and of their unfinished executions."""
    with ready_engine(Settings.load()).begin() as connection:
        found = workspaces(connection)
    if as_json:
        print_json([dict(row) for row in found])
        return
    shown = table(("id", "organisation", "name", "created (UTC)", "observations", "unfinished"))
    for row in found:
        columns = ("id", "clerk_org_id", "name", "created_at", "observations", "unfinished")
        shown.add_row(*(cell(row[column]) for column in columns))
    console().print(shown)
