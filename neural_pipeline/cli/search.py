"""`neural search`: asking a workspace's memory. How it finds is in `store.search`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy import Engine

from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.memories import embedder_of, embedding_settings, workspace_meant
from neural_pipeline.cli.output import print_json, say, warn
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.contracts.integrations import EmbeddingSettings
from neural_pipeline.models.access import ModelMisconfigured
from neural_pipeline.models.language import ModelFailed
from neural_pipeline.settings import Settings
from neural_pipeline.store.search import Embedding, Hit, Reason, search
from neural_pipeline.store.search_ways import other_models
from neural_pipeline.store.sql import storable

MAX_TEXT = 10_000


def search_memory(
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to look for; a name, #12 or @login counts.")],
    *,
    workspace: Annotated[
        str | None,
        typer.Option("--workspace", "-w", envvar="NEURAL_WORKSPACE", help="Where to look. Default: the only one."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Find observations, the best first: by the nearness of their text, by what they name, and by who acted."""
    asked = storable(" ".join(text).strip(), limit=MAX_TEXT)
    if not asked:
        raise Refusal("there is nothing to look for: say what, as in `neural search checkout timeout`")
    settings = Settings.load()
    engine = ready_engine(settings)
    with engine.begin() as connection:
        workspace_id = workspace_meant(connection, workspace)
        chosen = embedding_settings(connection, workspace_id)
    embedding = _embedded(engine, settings, chosen, text=asked, workspace_id=workspace_id)
    with engine.begin() as connection:
        hits = search(connection, asked, workspace_id=workspace_id, embedding=embedding, limit=limit)
        unsearched = other_models(connection, workspace_id, embedding.model) if embedding else 0
    if as_json:
        print_json([asdict(hit) for hit in hits])
    else:
        _show(hits, workspace_id)
    if unsearched and embedding:
        warn(
            f"{unsearched} observations are not searched by their text, as another model than {embedding.model}"
            f" embedded them: see `neural reembed --help`"
        )


def _embedded(
    engine: Engine, settings: Settings, chosen: EmbeddingSettings, *, text: str, workspace_id: str
) -> Embedding | None:
    """Embed the query; where the model cannot, say why: what is named is found all the same."""
    try:
        embedder = embedder_of(engine, settings, chosen, workspace_id=workspace_id, purpose="neural.search")
        return Embedding(embedder.name, embedder.embed([text])[0])
    except (ModelMisconfigured, ModelFailed) as error:
        warn(f"only names are looked for, not the text: {error}")
        return None


def _show(hits: Sequence[Hit], workspace_id: str) -> None:
    if not hits:
        warn(f"nothing was found in workspace {workspace_id}")
    for place, hit in enumerate(hits, start=1):
        when = f"{hit.occurred_at:%Y-%m-%d %H:%M}"
        about = (when, f"{hit.source} {hit.type}", hit.actor or "", f"in: {hit.cluster}" if hit.cluster else "")
        _say_flat(f"{place:>3}. {hit.title}")
        _say_flat("     " + " | ".join(part for part in about if part))
        if hit.snippet and hit.snippet != hit.title:
            _say_flat(f"     {hit.snippet}")
        _say_flat(f"     found by {', '.join(map(_told, hit.why))}; id {hit.id}, score {hit.score:.4f}")


def _say_flat(line: str) -> None:
    # A line feed in a title must not begin a line of its own.
    say(" ".join(line.splitlines()))


def _told(reason: Reason) -> str:
    match reason.way:
        case "vector":
            return f"text ({reason.detail} alike)"
        case "entity":
            return f"what it names ({reason.detail})"
        case "actor":
            return "who acted"
