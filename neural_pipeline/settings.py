"""Every environment variable the pipeline reads, typed and checked. Reading happens in `Settings.load`, at an edge."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode, SettingsConfigDict

from neural_pipeline.setting_groups import ChildSettings, LaunchSettings, MetricSettings, ModelSettings, SearchSettings

_PREFIX = "NEURAL_"
_MEGABYTE = 1024 * 1024


class SettingsInvalid(Exception):
    """An environment variable has a value that cannot be used."""


def checkout_root(start: Path) -> Path:
    """Return the nearest folder at or above `start` that holds a project or a checkout, else `start`."""
    marks = (".git", "pyproject.toml")
    real = start.resolve()
    return next((folder for folder in (real, *real.parents) if any((folder / mark).exists() for mark in marks)), real)


def _default_home() -> Path:
    """The project's own folder, wherever a command is called; an installed package has none and takes the caller's."""
    own = Path(__file__).resolve().parents[1]
    return (own if (own / "pyproject.toml").exists() else checkout_root(Path.cwd())) / ".neural"


class Settings(ChildSettings, LaunchSettings, MetricSettings, ModelSettings, SearchSettings):
    """The settings of one process; an empty variable counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(
        default_factory=_default_home,
        description="Folder of all that is kept on disk, embedded Postgres included. Default: .neural in the checkout.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="Postgres to work in. Not set: an embedded server below the home folder.",
    )
    dagster_url: SecretStr | None = Field(
        default=None,
        description="Postgres of Dagster's own storage. Not set: the same database, schema neural_dagster.",
    )
    capture_max_batch: int = Field(
        default=20_000, ge=1, le=100_000, description="Most events one capture run starts with."
    )
    capture_max_batch_bytes: int = Field(
        default=32 * _MEGABYTE, ge=1024, description="Most bytes of events one capture run starts with."
    )
    capture_chunk: int = Field(default=500, ge=1, le=10_000, description="Events committed in one transaction.")
    max_open_batches: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Open batches per workflow; how many runs of it go on at once, dagster.yaml says.",
    )
    significance_threshold: int = Field(
        default=40, ge=0, le=100, description="Score from which an event becomes an observation."
    )
    git_significance_threshold: int = Field(
        default=30, ge=0, le=100, description="The same for commits imported from git history."
    )
    cluster_affinity_threshold: float = Field(
        default=60.0, ge=0, le=100, description="Points from which an observation joins a cluster."
    )
    cluster_lookback_days: int = Field(
        default=7, ge=1, le=3650, description="Days before an event in which a cluster must have been active."
    )
    cluster_candidates: int = Field(default=10, ge=1, le=100, description="Clusters an observation is compared with.")
    embedding_dimension: int = Field(
        default=256, ge=8, le=2000, description="Numbers per embedding of the offline embedder."
    )
    max_payload_bytes: int = Field(
        default=25 * _MEGABYTE, ge=1024, le=1024 * _MEGABYTE, description="Largest webhook body that is accepted."
    )
    allowed_events: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        default=None,
        description="Event types that are captured, comma-separated or JSON. Not set: the built-in list; []: none.",
    )
    webserver_port: int = Field(default=3000, ge=1, le=65535, description="Port of Dagster's user interface.")
    webserver_host: str = Field(
        default="127.0.0.1", min_length=1, description="Address Dagster's user interface listens on."
    )
    drain_seconds: int = Field(
        default=30, ge=0, le=3600, description="Seconds that running batches are given at shutdown."
    )
    run_max_seconds: int = Field(
        default=110,
        ge=5,
        le=240,
        description="Seconds after which a run takes no further chunk and leaves the rest to the next one.",
    )
    capture_timeout_seconds: int = Field(
        default=300, ge=10, le=3600, description="Seconds a capture run may take; then its batch is taken from it."
    )
    profile_timeout_seconds: int = Field(default=120, ge=10, le=3600, description="The same for profile updates.")
    summary_timeout_seconds: int = Field(default=180, ge=10, le=3600, description="The same for cluster summaries.")
    extraction_timeout_seconds: int = Field(
        default=300, ge=10, le=3600, description="The same for model-extracted entities."
    )
    lease_seconds: int = Field(
        default=30, ge=3, le=600, description="Seconds without a sign of life after which a worker counts as lost."
    )
    isolating_losses: int = Field(
        default=3, ge=1, le=10, description="Lost workers after which an event stands alone in its batch."
    )
    capture_retries: int = Field(
        default=3, ge=0, le=20, description="Attempts a failed capture gets beside its first one."
    )
    profile_retries: int = Field(default=2, ge=0, le=20, description="The same for profile updates.")
    summary_retries: int = Field(default=2, ge=0, le=20, description="The same for cluster summaries.")
    extraction_retries: int = Field(default=2, ge=0, le=20, description="The same for model-extracted entities.")
    retry_base_seconds: float = Field(
        default=10.0, ge=0, le=3600, description="Longest pause before the second attempt; it doubles with each one."
    )
    retry_max_seconds: float = Field(default=600.0, ge=0, le=86_400, description="Longest pause between two attempts.")
    max_wait_seconds: int = Field(
        default=900, ge=10, description="Seconds no due event should wait; beyond it `neural doctor` complains."
    )
    keep_payload_days: int = Field(
        default=30, ge=1, description="Days the payloads of completed and cancelled executions are kept."
    )
    keep_failed_payload_days: int = Field(
        default=90, ge=1, description="Days the payloads of failed executions and of refused deliveries are kept."
    )
    keep_run_days: int = Field(
        default=180, ge=1, description="Days the record of completed and cancelled executions is kept."
    )
    keep_failed_run_days: int = Field(default=365, ge=1, description="Days the record of failed executions is kept.")
    keep_metric_days: int = Field(
        default=365, ge=1, description="Days the metrics of single executions and the calls of models are kept."
    )
    keep_dagster_days: int = Field(
        default=14, ge=1, description="Days Dagster's own runs, event logs and ticks are kept."
    )

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raises SettingsInvalid, which names every variable at fault and shows no value."""
        try:
            return cls()
        except ValidationError as error:
            problems = [f"{_variable_of(problem['loc'])}: {problem['msg']}" for problem in error.errors()]
            raise SettingsInvalid("; ".join(problems)) from None

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the environment variable of a setting."""
        alias = cls.model_fields[name].validation_alias
        return alias if isinstance(alias, str) else f"{_PREFIX}{name.upper()}"

    def describe(self) -> list[tuple[str, str, str, str]]:
        """List name, environment variable, value with secrets masked, and meaning of every setting."""
        return [self._described(name, field) for name, field in type(self).model_fields.items()]

    def _described(self, name: str, field: FieldInfo) -> tuple[str, str, str, str]:
        return name, self.variable(name), _shown(getattr(self, name)), field.description or ""

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.failure_rate_error_percent < self.failure_rate_warn_percent:
            error, warn = self.variable("failure_rate_error_percent"), self.variable("failure_rate_warn_percent")
            raise ValueError(f"{error} is less than {warn}: a check warns before it turns red")
        for kind in ("payload", "run"):
            longer, shorter = f"keep_failed_{kind}_days", f"keep_{kind}_days"
            if getattr(self, longer) < getattr(self, shorter):
                problem = f"{self.variable(longer)} is less than {self.variable(shorter)}"
                raise ValueError(f"{problem}: failures are kept at least as long as the rest")
        return self

    @field_validator("allowed_events", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return _listed(value) if isinstance(value, str) else value


def masked_url(url: str) -> str:
    """Return a URL with its user, password and secret parameters replaced by `***`."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***"
    shown = re.sub(r"(?i)([?&][a-z_]*(?:password|secret|token|user)=)[^&]*", r"\1***", rest)
    # Up to the last @: a password may contain one, and a slash or a question mark.
    _, at, place = shown.rpartition("@")
    return f"{scheme}://***@{place}" if at else f"{scheme}://{shown}"


def _variable_of(location: tuple[int | str, ...]) -> str:
    if not location:
        return "settings"
    name = str(location[0])
    return Settings.variable(name) if name in Settings.model_fields else name


def _shown(value: object) -> str:
    match value:
        case None:
            return "not set"
        case SecretStr():
            secret = value.get_secret_value()
            return masked_url(secret) if "://" in secret else "***"
        case tuple():
            return json.dumps(value)
        case _:
            return str(value)


def _listed(text: str) -> tuple[str, ...]:
    if not text.lstrip().startswith("["):
        return tuple(name for part in text.split(",") if (name := part.strip()))
    try:
        return tuple(json.loads(text))
    except ValueError:
        raise ValueError("is neither a JSON list nor names separated by commas") from None
