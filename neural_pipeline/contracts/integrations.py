"""The two JSON documents that configure a workspace: its settings and the configuration of each source. Spec, 7.1, 7.2.

They are written by others too, so unknown keys are ignored here; what is known is checked.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast

from pydantic import ConfigDict, Field, StrictBool, TypeAdapter, ValidationError, model_validator

from neural_pipeline.contracts.events import Source
from neural_pipeline.contracts.shape import Shape

SETTINGS_VERSION = 1
MAX_DIMENSION = 16_000
"""The most dimensions that a vector column can hold."""

_MAX_MESSAGE = 300
_OURS = f"version {SETTINGS_VERSION}"


class InvalidWorkspaceSettings(ValueError):
    """The settings of a workspace cannot be read, whatever is retried; the message is one line."""


class _Lenient(Shape):
    model_config = ConfigDict(extra="ignore")


Name = Annotated[str, Field(min_length=1)]
_Positive = Annotated[int, Field(strict=True, gt=0)]


class EmbeddingSettings(_Lenient):
    """Where vectors are kept, what makes them, and how texts are cut up for it; sizes of chunks are in tokens."""

    index_name: Name = "lightfast-v1"
    namespace_name: Name
    embedding_dim: Annotated[_Positive, Field(le=MAX_DIMENSION)] = 1024
    embedding_model: Name = "embed-english-v3.0"
    embedding_provider: Name = "cohere"
    pinecone_metric: Literal["cosine", "euclidean", "dotproduct"] = "cosine"
    pinecone_cloud: Name = "aws"
    pinecone_region: Name = "us-east-1"
    chunk_max_tokens: _Positive = 512
    chunk_overlap: Annotated[int, Field(strict=True, ge=0)] = 50

    @model_validator(mode="after")
    def _overlap_is_smaller_than_the_chunk(self) -> Self:
        if self.chunk_overlap >= self.chunk_max_tokens:
            raise ValueError("chunkOverlap must be smaller than chunkMaxTokens")
        return self


class RepositorySettings(_Lenient):
    """Whether a repository takes part."""

    enabled: StrictBool


class PathDefaults(_Lenient):
    """The paths that are taken and left out where a repository says nothing itself."""

    patterns: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None


class Features(_Lenient):
    """Switches of optional behaviour."""

    code_indexing: StrictBool | None = None
    multi_language: StrictBool | None = None


class WorkspaceSettings(_Lenient):
    """The column `settings` of a workspace; `repositories` goes by repository id."""

    version: Literal[1] = SETTINGS_VERSION
    embedding: EmbeddingSettings
    repositories: dict[str, RepositorySettings] | None = None
    defaults: PathDefaults | None = None
    features: Features | None = None


class Subscription(_Lenient):
    """Which events of a source are wanted.

    `events` lists subscription keys (`pull_request`, `deployment.ready`). An event is admitted if and only if its key
    is listed: an empty or missing list admits nothing.
    """

    events: tuple[str, ...] = ()
    auto_sync: StrictBool

    def admits(self, key: str) -> bool:
        """Tell whether events with a subscription key are wanted."""
        return key in self.events


class RepositorySubscription(Subscription):
    """Which events, branches and paths of a repository are wanted; an empty or missing list of events admits none."""

    branches: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None


class ConfigStatus(_Lenient):
    """What was last seen of the configuration file inside a repository."""

    config_status: str | None = None
    config_path: str | None = None
    last_config_check: str | None = None


class GithubSourceConfig(_Lenient):
    """A connected GitHub repository."""

    version: Literal[1] = 1
    source_type: Literal[Source.GITHUB] = Source.GITHUB
    type: Literal["repository"] = "repository"
    installation_id: Name
    repo_id: Name
    repo_name: Name
    repo_full_name: Name
    default_branch: Name
    is_private: StrictBool
    is_archived: StrictBool
    sync: RepositorySubscription
    status: ConfigStatus | None = None


class VercelSourceConfig(_Lenient):
    """A connected Vercel project."""

    version: Literal[1] = 1
    source_type: Literal[Source.VERCEL] = Source.VERCEL
    type: Literal["project"] = "project"
    project_id: Name
    project_name: Name
    team_id: str | None = None
    team_slug: str | None = None
    configuration_id: Name
    sync: Subscription


SourceConfig = Annotated[GithubSourceConfig | VercelSourceConfig, Field(discriminator="source_type")]

_SOURCE_CONFIG: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)


def parse_source_config(data: object) -> SourceConfig:
    """Read the configuration of a source; raises pydantic's ValidationError."""
    return _SOURCE_CONFIG.validate_python(data)


def parse_workspace_settings(data: object) -> WorkspaceSettings:
    """Read the settings of a workspace; raises InvalidWorkspaceSettings with one line that says what is wrong."""
    if not isinstance(data, Mapping):
        raise InvalidWorkspaceSettings("workspace settings are not a JSON object")
    _check_version(cast("Mapping[str, object]", data))
    try:
        return WorkspaceSettings.model_validate(data)
    except ValidationError as invalid:
        raise InvalidWorkspaceSettings(_one_line(invalid)) from invalid


def _check_version(data: Mapping[str, object]) -> None:
    if "version" not in data:
        raise InvalidWorkspaceSettings(f"workspace settings have no version, this program reads {_OURS}")
    version = data["version"]
    if isinstance(version, bool) or version != SETTINGS_VERSION:
        found = repr(version)[:40]
        raise InvalidWorkspaceSettings(f"workspace settings have version {found}, this program reads {_OURS}")


def _one_line(invalid: ValidationError) -> str:
    first = invalid.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return " ".join(f"workspace settings: {place}: {first['msg']}".split())[:_MAX_MESSAGE]
