"""Settings of the child workflows, of search, metrics and models, as groups that `settings.Settings` is made of."""

import sys
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

_MODEL = "A language model as provider:name, like anthropic:claude-haiku-4-5 or openai:gpt-5-mini; offline: rules."


class ChildSettings(BaseSettings):
    """When profiles, summaries and model-extracted entities are worked on. Spec, 4.1 to 4.4."""

    profile_debounce_seconds: float = Field(
        default=300.0, ge=0, le=86_400, description="Seconds without news of an actor before the profile is updated."
    )
    profile_max_debounce_seconds: float = Field(
        default=1800.0, ge=0, le=604_800, description="Seconds after which it is updated though news keep coming."
    )
    summary_debounce_seconds: float = Field(
        default=600.0, ge=0, le=86_400, description="Seconds without news of a cluster before it is summarised."
    )
    summary_max_debounce_seconds: float = Field(
        default=3600.0, ge=0, le=604_800, description="Seconds after which it is summarised though news keep coming."
    )
    extraction_debounce_seconds: float = Field(
        default=60.0, ge=0, le=86_400, description="Seconds before a model reads a captured observation for entities."
    )
    extraction_max_debounce_seconds: float = Field(
        default=300.0, ge=0, le=604_800, description="Seconds after which it reads it though it was captured anew."
    )
    summary_min_observations: int = Field(
        default=5, ge=1, le=10_000, description="Observations from which a cluster is summarised."
    )
    summary_min_age_hours: float = Field(
        default=24.0, ge=0, le=8760, description="Hours for which a summary is not made anew."
    )
    summary_observations: int = Field(
        default=20, ge=1, le=200, description="Latest observations that a summary is made of."
    )
    summary_snippet: int = Field(
        default=200, ge=20, le=10_000, description="Characters of each observation's content that a summary sees."
    )
    extraction_min_content: int = Field(
        default=200, ge=1, le=100_000, description="Characters of content from which a model is asked for entities."
    )
    extraction_min_confidence: float = Field(
        default=0.65, ge=0, le=1, description="Confidence from which a model's entity is kept."
    )
    extraction_max_entities: int = Field(
        default=15, ge=1, le=100, description="Most entities a model may add to one observation."
    )


class LaunchSettings(BaseSettings):
    """How runs come about under `neural up`: who starts their processes, and whether sensors are waited for."""

    run_launcher: Literal["warm", "stock"] = Field(
        default="warm" if sys.platform == "linux" else "stock",
        description="warm: runs are forked from a process with all imports; stock: as Dagster does. See decision 19.",
    )
    dispatcher: bool = Field(
        default=True,
        description="Act on new events and ended runs at once, not with the next turn of the sensors. See decision 20.",
    )


class ModelSettings(BaseSettings):
    """Which models are asked, within which bounds. Their keys are the providers' own environment variables."""

    classify_model: str = Field(default="offline", min_length=1, description=f"{_MODEL} Classifies captured events.")
    summary_model: str = Field(default="offline", min_length=1, description=f"{_MODEL} Summarises clusters.")
    extraction_model: str = Field(
        default="offline", min_length=1, description=f"{_MODEL} Finds entities in the text of observations."
    )
    embed_model: str = Field(
        default="offline",
        min_length=1,
        description="Embeds new workspaces' observations: offline, fastembed:NAME, or a provider's like"
        " openai:text-embedding-3-small.",
    )
    model_base_url: str | None = Field(
        default=None, description="Address of a server that speaks OpenAI's protocol, instead of OpenAI's own."
    )
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias="OPENAI_API_KEY", description="Key for openai: models."
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None, validation_alias="ANTHROPIC_API_KEY", description="Key for anthropic: models."
    )
    model_timeout_seconds: float = Field(
        default=30.0, gt=0, le=600, description="Seconds that one answer of a model may take."
    )
    model_retry_after_seconds: float = Field(
        default=5.0,
        ge=0,
        le=120,
        description="Longest pause before the one repetition of a call that a provider refused for the moment.",
    )
    model_seconds_per_call: float = Field(
        default=5.0, gt=0, le=600, description="Seconds that a call is reckoned with where batches are bounded by them."
    )
    model_daily_tokens: int | None = Field(
        default=None, ge=0, description="Tokens per day (UTC) that all calls together may use. Not set: no limit."
    )
    classify_concurrency: int = Field(
        default=10, ge=1, le=200, description="Classifications asked for at the same time, per workspace."
    )
    extraction_concurrency: int = Field(
        default=5, ge=1, le=200, description="Entity extractions asked for at the same time, per workspace."
    )
    summary_concurrency: int = Field(
        default=3, ge=1, le=200, description="Summaries asked for at the same time, per workspace."
    )


class SearchSettings(BaseSettings):
    """How search finds vectors."""

    vector_tail: int = Field(
        default=5000,
        ge=0,
        le=10_000_000,
        description="Vectors outside the index from which the scheduled job moves them into it.",
    )


class MetricSettings(BaseSettings):
    """From when on a check of the metrics warns, or turns red."""

    check_days: int = Field(
        default=1,
        ge=1,
        le=366,
        description="Whole days (UTC) before today over which, and over today, the checks of metrics take their rates.",
    )
    check_min_executions: int = Field(
        default=20, ge=1, description="Executions without which a rate says nothing, and its check passes."
    )
    failure_rate_warn_percent: float = Field(
        default=5.0, ge=0, le=100, description="Failed of completed and failed executions, above which a check warns."
    )
    failure_rate_error_percent: float = Field(
        default=25.0, ge=0, le=100, description="The same, above which the check is an error."
    )
    resolution_rate_warn_percent: float = Field(
        default=50.0, ge=0, le=100, description="Actors resolved to a person, below which a check warns."
    )
    metrics_fresh_hours: float = Field(
        default=3.0, gt=0, le=8760, description="Hours after which metrics not added up again are stale."
    )
