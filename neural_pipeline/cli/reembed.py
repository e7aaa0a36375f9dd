"""`neural reembed`: moving a workspace to another embedder. The work itself is in `workflows.reembedding`."""

from collections.abc import Callable
from time import monotonic
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.memories import embedder_of, embedding_settings, workspace_meant
from neural_pipeline.cli.output import ExitCode, say, warn
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.contracts.integrations import MAX_DIMENSION, EmbeddingSettings
from neural_pipeline.models.access import ModelMisconfigured
from neural_pipeline.models.choosing import OFFLINE, EmbedderChoice, embedder_choice
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.language import ModelFailed
from neural_pipeline.settings import Settings
from neural_pipeline.store.reembedding import Left, captures_begun_before, choose, left
from neural_pipeline.workflows.reembedding.passes import Reembedding, ReembeddingRefused, Renewed

_HASHING = "hashing"
_PAUSE = 2.0
"""Seconds between two lines of progress."""


def reembed(
    *,
    workspace: Annotated[str, typer.Option("--workspace", "-w", envvar="NEURAL_WORKSPACE", help="Whose memory.")],
    to: Annotated[str, typer.Option(metavar="MODEL", help="offline, openai:NAME or fastembed:NAME.")],
    dimension: Annotated[
        int | None, typer.Option(min=1, max=MAX_DIMENSION, help="Numbers per vector. Default: the model's own.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Observations embedded and stored at once.")] = 500,
) -> None:
    """Have a workspace's observations embedded by another model: those to come at once, then all that are there.

    Broken off, the same command goes on with what is left. Until it has ended, search compares the text only of what
    is done; entities and actors are found all the while.
    """
    settings = Settings.load()
    choice = _choice(to, dimension, settings)
    engine = ready_engine(settings)
    with engine.begin() as connection:
        workspace_id = workspace_meant(connection, workspace)
        chosen = embedding_settings(connection, workspace_id)
    wanted = _document(choice)
    embedder = _embedder(engine, settings, _changed(chosen, choice), workspace_id=workspace_id)
    if not dry_run:
        _try_out(embedder)
    with engine.begin() as connection:
        is_switched = not dry_run and choose(connection, workspace_id, embedding=wanted)
        todo = left(connection, workspace_id, model=embedder.name)
    if dry_run:
        say(f"{_counted(todo)} would be embedded anew by {embedder.name}")
    else:
        _work(engine, workspace_id, embedder, todo=todo, batch=batch, is_switched=is_switched)


def _work(engine: Engine, workspace_id: str, embedder: Embedder, *, todo: Left, batch: int, is_switched: bool) -> None:
    if is_switched:
        warn(f"workspace {workspace_id} embeds by {embedder.name} from now on")
    try:
        done = Reembedding(engine, workspace_id, embedder, batch, told=_progress(todo)).run()
    except ReembeddingRefused as refused:
        raise Refusal(str(refused)) from None
    except ModelFailed as failed:
        raise Refusal(f"stopped: {failed}; the same command goes on with what is left", ExitCode.INVALID) from None
    except KeyboardInterrupt:
        warn("stopped; the same command goes on with what is left")
        raise
    if done.observations or done.clusters:
        say(f"{_counted(done)} of workspace {workspace_id} were embedded anew by {embedder.name}")
    else:
        say(f"nothing is left to do: all of workspace {workspace_id} is embedded by {embedder.name}")
    with engine.begin() as connection:
        late = captures_begun_before(connection, workspace_id)
    if late:
        warn(f"{late} capture runs began before the change and still embed by the old model: repeat this afterwards")


def _choice(to: str, dimension: int | None, settings: Settings) -> EmbedderChoice:
    spec = OFFLINE if to.strip().lower() == _HASHING else to
    if dimension is not None and spec.strip().lower() != OFFLINE:
        spec = f"{spec.partition('@')[0]}@{dimension}"
    try:
        return embedder_choice(spec, offline_dimension=dimension or settings.embedding_dimension)
    except ModelMisconfigured as error:
        raise _misconfigured(error) from None


def _misconfigured(error: ModelMisconfigured) -> Refusal:
    return Refusal(str(error).replace("NEURAL_EMBED_MODEL", "--to"))


def _document(choice: EmbedderChoice) -> dict[str, Any]:
    """Return the part of a workspace's settings that names its embedder."""
    model = f"{_HASHING}-{choice.dimension}" if choice.provider == OFFLINE else choice.model
    return {"embeddingProvider": choice.provider, "embeddingModel": model, "embeddingDim": choice.dimension}


def _changed(chosen: EmbeddingSettings, choice: EmbedderChoice) -> EmbeddingSettings:
    return EmbeddingSettings.model_validate(chosen.to_json() | _document(choice))


def _embedder(engine: Engine, settings: Settings, chosen: EmbeddingSettings, *, workspace_id: str) -> Embedder:
    try:
        return embedder_of(engine, settings, chosen, workspace_id=workspace_id, purpose="neural.reembed")
    except ModelMisconfigured as error:
        raise _misconfigured(error) from None


def _try_out(embedder: Embedder) -> None:
    """Embed a word before anything is changed: a model that does not answer would leave the workspace without one."""
    try:
        embedder.embed(["word"])
    except (ModelMisconfigured, ModelFailed) as error:
        raise Refusal(f"nothing was changed, as {embedder.name} does not answer: {error}", ExitCode.INVALID) from None


def _counted(what: Left | Renewed) -> str:
    return f"{what.observations} observations and {what.clusters} clusters"


def _progress(todo: Left) -> Callable[[Renewed], None]:
    last = monotonic()

    def tell(done: Renewed) -> None:
        nonlocal last
        if monotonic() - last >= _PAUSE:
            last = monotonic()
            warn(f"{_counted(done)} of {todo.observations} and {todo.clusters}")

    return tell
