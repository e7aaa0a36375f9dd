"""What `neural doctor` says of the models that are chosen."""

import json

import pytest
from sqlalchemy.engine import URL

from neural_pipeline.cli.main import run


def models(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    code = run(["doctor", "--json"])
    found = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}
    return code, found["models"]


def test_without_any_setting_rules_do_everything(database: URL, capsys: pytest.CaptureFixture[str]) -> None:
    assert models(capsys) == (
        0,
        {"check": "models", "status": "ok", "found": "offline: rules do everything", "todo": None},
    )


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("NEURAL_CLASSIFY_MODEL", "openai:gpt-5-mini", "set OPENAI_API_KEY"),
        ("NEURAL_SUMMARY_MODEL", "anthropic:claude-haiku-4-5", "set ANTHROPIC_API_KEY"),
        ("NEURAL_EXTRACTION_MODEL", "gpt-5-mini", "names no model"),
        ("NEURAL_EMBED_MODEL", "openai:made-up", "NEURAL_EMBED_MODEL must tell the length"),
    ],
)
def test_a_model_that_cannot_be_used_fails_the_check_with_what_to_set(
    database: URL,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    problem: str,
) -> None:
    monkeypatch.setenv(variable, value)
    code, found = models(capsys)
    assert (code, found["status"]) == (1, "FAIL")
    assert problem in found["found"]
