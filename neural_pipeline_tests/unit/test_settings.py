import os
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from neural_pipeline import settings
from neural_pipeline.settings import Settings, SettingsInvalid, checkout_root, masked_url

OTHER = {
    "home": "elsewhere",
    "database_url": "postgresql://localhost/x",
    "dagster_url": "postgresql://localhost/y",
    "allowed_events": "push",
    "webserver_host": "localhost",
    "run_launcher": "stock",
    "dispatcher": "false",
    "classify_model": "openai:gpt-5-mini",
    "summary_model": "openai:gpt-5-mini",
    "extraction_model": "openai:gpt-5-mini",
    "embed_model": "openai:text-embedding-3-small",
    "model_base_url": "http://127.0.0.1:9/v1",
    "openai_api_key": "sk-one",
    "anthropic_api_key": "sk-two",
    "model_daily_tokens": "1000",
    "extraction_min_confidence": "0.9",
}
STANDARD_NAMES = {"DATABASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("NEURAL_") or name in STANDARD_NAMES:
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    # As if installed: a package in a checkout has a home of its own.
    monkeypatch.setattr(settings, "__file__", str(tmp_path / "lib" / "neural_pipeline" / "settings.py"))


def test_nothing_set_gives_the_documented_defaults(tmp_path: Path) -> None:
    assert Settings.load().model_dump() == {
        "home": tmp_path / ".neural",
        "database_url": None,
        "dagster_url": None,
        "capture_max_batch": 20_000,
        "capture_max_batch_bytes": 33_554_432,
        "capture_chunk": 500,
        "max_open_batches": 2,
        "significance_threshold": 40,
        "git_significance_threshold": 30,
        "cluster_affinity_threshold": 60.0,
        "cluster_lookback_days": 7,
        "cluster_candidates": 10,
        "embedding_dimension": 256,
        "max_payload_bytes": 26_214_400,
        "allowed_events": None,
        "webserver_port": 3000,
        "webserver_host": "127.0.0.1",
        "drain_seconds": 30,
        "run_max_seconds": 110,
        "capture_timeout_seconds": 300,
        "profile_timeout_seconds": 120,
        "summary_timeout_seconds": 180,
        "extraction_timeout_seconds": 300,
        "lease_seconds": 30,
        "isolating_losses": 3,
        "capture_retries": 3,
        "profile_retries": 2,
        "summary_retries": 2,
        "extraction_retries": 2,
        "retry_base_seconds": 10.0,
        "retry_max_seconds": 600.0,
        "max_wait_seconds": 900,
        "keep_payload_days": 30,
        "keep_failed_payload_days": 90,
        "keep_run_days": 180,
        "keep_failed_run_days": 365,
        "keep_metric_days": 365,
        "keep_dagster_days": 14,
        "profile_debounce_seconds": 300.0,
        "profile_max_debounce_seconds": 1800.0,
        "summary_debounce_seconds": 600.0,
        "summary_max_debounce_seconds": 3600.0,
        "extraction_debounce_seconds": 60.0,
        "extraction_max_debounce_seconds": 300.0,
        "summary_min_observations": 5,
        "summary_min_age_hours": 24.0,
        "summary_observations": 20,
        "summary_snippet": 200,
        "extraction_min_content": 200,
        "extraction_min_confidence": 0.65,
        "extraction_max_entities": 15,
        "run_launcher": "warm" if sys.platform == "linux" else "stock",
        "dispatcher": True,
        "classify_model": "offline",
        "summary_model": "offline",
        "extraction_model": "offline",
        "embed_model": "offline",
        "model_base_url": None,
        "openai_api_key": None,
        "anthropic_api_key": None,
        "model_timeout_seconds": 30.0,
        "model_retry_after_seconds": 5.0,
        "model_seconds_per_call": 5.0,
        "model_daily_tokens": None,
        "classify_concurrency": 10,
        "extraction_concurrency": 5,
        "summary_concurrency": 3,
        "check_days": 1,
        "check_min_executions": 20,
        "failure_rate_warn_percent": 5.0,
        "failure_rate_error_percent": 25.0,
        "resolution_rate_warn_percent": 50.0,
        "metrics_fresh_hours": 3.0,
        "vector_tail": 5000,
    }


def test_every_setting_is_read_from_the_variable_that_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Settings.load().describe()
    for name, variable, value, _ in before:
        monkeypatch.setenv(variable, OTHER.get(name) or str(int(float(value)) + 1))
    after = Settings.load().describe()
    assert {variable for _, variable, *_ in after if variable[:7] != "NEURAL_"} == STANDARD_NAMES
    assert [old for old, new in zip(before, after, strict=True) if old[2] == new[2]] == []


def test_the_home_is_in_the_nearest_project_above(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deeper = tmp_path / "some" / "folder"
    deeper.mkdir(parents=True)
    monkeypatch.chdir(deeper)
    assert Settings.load().home == tmp_path / ".neural"
    (deeper / ".git").touch()
    assert checkout_root(deeper) == deeper


def test_a_package_in_a_checkout_has_its_home_there_wherever_it_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    monkeypatch.setattr(settings, "__file__", str(checkout / "neural_pipeline" / "settings.py"))
    assert Settings.load().home == checkout / ".neural"


def test_a_relative_home_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEURAL_HOME", "data")
    assert Settings.load().home == tmp_path / "data"


@pytest.mark.parametrize(
    "text", ["push,pull_request.opened", " push , pull_request.opened ,", '["push", "pull_request.opened"]']
)
def test_allowed_events_are_read_from_commas_and_from_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NEURAL_ALLOWED_EVENTS", text)
    assert Settings.load().allowed_events == ("push", "pull_request.opened")


def test_an_empty_list_allows_nothing_and_an_empty_variable_means_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_ALLOWED_EVENTS", "[]")
    monkeypatch.setenv("DATABASE_URL", "")
    assert Settings.load().allowed_events == ()
    assert Settings.load().database_url is None
    monkeypatch.setenv("NEURAL_ALLOWED_EVENTS", "")
    assert Settings.load().allowed_events is None


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("NEURAL_CAPTURE_CHUNK", "0", "greater than or equal to 1"),
        ("NEURAL_CAPTURE_CHUNK", "many", "valid integer"),
        ("NEURAL_WEBSERVER_PORT", "65536", "less than or equal to 65535"),
        ("NEURAL_SIGNIFICANCE_THRESHOLD", "101", "less than or equal to 100"),
        ("NEURAL_CLUSTER_AFFINITY_THRESHOLD", "nan", "less than or equal to 100"),
        ("NEURAL_EMBEDDING_DIMENSION", "4000", "less than or equal to 2000"),
        ("NEURAL_ALLOWED_EVENTS", "[push", "names separated by commas"),
        ("NEURAL_ALLOWED_EVENTS", "[1]", "valid string"),
    ],
)
def test_a_bad_value_is_reported_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid, match=f"^{variable}: .*{reason}"):
        Settings.load()


def test_every_bad_value_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", "-1")
    monkeypatch.setenv("NEURAL_DRAIN_SECONDS", "soon")
    with pytest.raises(SettingsInvalid, match=r"NEURAL_CAPTURE_CHUNK.*; NEURAL_DRAIN_SECONDS"):
        Settings.load()


def test_a_batch_of_one_needs_no_other_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_CAPTURE_MAX_BATCH", "1")
    assert Settings.load().capture_max_batch == 1


def test_settings_can_be_given_by_name_but_not_changed_nor_misspelt() -> None:
    settings = Settings(database_url="postgresql://localhost/x", drain_seconds=0)  # pyright: ignore[reportArgumentType]
    assert settings.drain_seconds == 0
    with pytest.raises(ValidationError):
        settings.drain_seconds = 1
    with pytest.raises(ValidationError):
        Settings(drain_second=1)  # pyright: ignore[reportCallIssue]


def test_no_secret_is_shown_by_the_settings_in_any_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:hunter2@db.example:5432/neural")
    monkeypatch.setenv("NEURAL_DAGSTER_URL", "hunter2 without a scheme")
    settings = Settings.load()
    shown = {name: value for name, _, value, _ in settings.describe()}
    assert shown["database_url"] == "postgresql://***@db.example:5432/neural"
    assert shown["dagster_url"] == "***"
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://ann@host/db", "postgresql://***@host/db"),
        ("postgresql://ann:a@b/c?d@host/db", "postgresql://***@host/db"),
        (
            "postgresql:///db?host=/run&password=a@b&sslpassword=c",
            "postgresql:///db?host=/run&password=***&sslpassword=***",
        ),
        ("postgresql:///db?user=ann", "postgresql:///db?user=***"),
        ("secret", "***"),
    ],
)
def test_a_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, _, _, meaning in Settings.load().describe() if len(meaning) < 10] == []


def test_a_check_that_turned_red_before_it_warns_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_FAILURE_RATE_WARN_PERCENT", "30")
    with pytest.raises(SettingsInvalid, match="NEURAL_FAILURE_RATE_ERROR_PERCENT is less than"):
        Settings.load()
