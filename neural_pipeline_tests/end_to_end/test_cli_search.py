"""`neural search` and `neural reembed`, in this process: what they show, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from neural_pipeline.cli.main import run
from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.store.workspaces import create_workspace
from neural_pipeline.workflows.reembedding import passes
from neural_pipeline_tests.building import column, workspaces
from neural_pipeline_tests.postgres.test_search import observe

Neural = Callable[..., tuple[int, str, str]]
DEFAULT = HashingEmbedder(256)


@pytest.fixture
def neural(
    engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Neural:
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def memory(engine: Engine) -> Engine:
    """A workspace with three observations."""
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
        observe(
            connection,
            "checkout timeout",
            "It waits for ever.",
            embedder=DEFAULT,
            names=["#12"],
            actor=("github:7", "ada"),
        )
        observe(connection, "renewed the certificate", embedder=DEFAULT)
        observe(connection, "checkout is slow", embedder=DEFAULT)
    return engine


def stored_models(engine: Engine) -> list[str]:
    with engine.begin() as connection:
        return column(connection, "select distinct model from observation_vectors order by 1")


def test_hits_are_listed_for_people_the_best_first_with_the_reason(memory: Engine, neural: Neural) -> None:
    code, shown, told = neural("search", "checkout", "timeout")
    assert (code, told) == (0, "")
    lines = shown.splitlines()
    assert lines[0] == "  1. checkout timeout"
    assert lines[1] == "     2026-03-02 12:00 | github push | ada"
    assert lines[2] == "     It waits for ever."
    assert lines[3].startswith("     found by text (0.")
    assert lines[4] == "  2. checkout is slow"


def test_json_is_a_list_of_hits(memory: Engine, neural: Neural) -> None:
    code, shown, _ = neural("search", "timeout #12 ada", "--json", "--limit", 1)
    [hit] = json.loads(shown)
    assert code == 0
    assert {*hit} == {
        "id", "occurred_at", "source", "type", "title", "snippet", "actor", "cluster", "score", "why"
    }  # fmt: skip
    assert (hit["title"], hit["actor"], hit["occurred_at"]) == ("checkout timeout", "ada", "2026-03-02T12:00:00+00:00")
    assert [why["way"] for why in hit["why"]] == ["vector", "entity", "actor"]


def test_nothing_found_is_said_and_is_no_error(memory: Engine, neural: Neural) -> None:
    assert neural("search", "xylophone") == (0, "", "nothing was found in workspace ws_test\n")
    assert json.loads(neural("search", "xylophone", "--json")[1]) == []


@pytest.mark.parametrize("asked", ["", "  ", "\n"])
def test_an_empty_text_is_refused(memory: Engine, neural: Neural, asked: str) -> None:
    code, shown, told = neural("search", asked)
    assert (code, shown, len(told.splitlines())) == (2, "", 1)
    assert "nothing to look for" in told


def test_a_terminal_obeys_nothing_that_stands_in_a_memory(engine: Engine, neural: Neural) -> None:
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
        observe(
            connection, "bad\x1b[2J title\nFAKE LINE", "body\x07 [bold]x", embedder=DEFAULT, actor=("a:1", "e\x1bvil")
        )
    _, shown, _ = neural("search", "bad title")
    assert not set("\x1b\x07") & set(shown)
    assert "[bold]x" in shown
    assert all(line.startswith(" ") for line in shown.splitlines())


def test_the_workspace_must_be_named_where_there_are_several(memory: Engine, neural: Neural) -> None:
    with memory.begin() as connection:
        workspaces(connection, "ws_second")
    code, _, told = neural("search", "checkout")
    assert code == 2
    assert "ws_test" in told
    assert "ws_second" in told
    code, _, told = neural("search", "checkout", "-w", "ws_nowhere")
    assert code == 1
    assert "there is no workspace ws_nowhere" in told
    assert neural("search", "checkout", "-w", "ws_second")[2] == "nothing was found in workspace ws_second\n"
    assert "checkout timeout" in neural("search", "checkout", "-w", "ws_test")[1]


def test_without_any_workspace_the_command_says_what_to_do(engine: Engine, neural: Neural) -> None:
    code, _, told = neural("search", "checkout")
    assert (code, "neural workspaces create" in told) == (1, True)


def test_a_model_that_cannot_be_used_leaves_what_is_named(memory: Engine, neural: Neural) -> None:
    settings = {"version": 1, "embedding": {"namespaceName": "x", "embeddingProvider": "none", "embeddingModel": "m"}}
    with memory.begin() as connection:
        connection.execute(
            text("update lightfast_org_workspaces set settings = cast(:s as jsonb)"), {"s": json.dumps(settings)}
        )
    code, shown, told = neural("search", "timeout #12")
    assert (code, "checkout timeout" in shown) == (0, True)
    assert told.startswith("only names are looked for")


def test_settings_that_cannot_be_read_are_an_error(engine: Engine, neural: Neural) -> None:
    with engine.begin() as connection:
        create_workspace(connection, "ws_odd", organisation="o", name="odd", settings={"version": 7})
    for command in (["search", "x"], ["reembed", "-w", "ws_odd", "--to", "offline"]):
        code, _, told = neural(*command)
        assert (code, "version 7" in told) == (1, True)


def test_a_workspace_moves_to_another_model_and_is_searched_by_it(memory: Engine, neural: Neural) -> None:
    to = ("reembed", "-w", "ws_test", "--to", "hashing", "--dimension", 64)
    code, shown, _ = neural(*to, "--dry-run")
    assert (code, shown) == (0, "3 observations and 0 clusters would be embedded anew by hashing-64\n")
    assert stored_models(memory) == ["hashing-256"]
    code, shown, told = neural(*to)
    assert (code, shown) == (
        0, "3 observations and 0 clusters of workspace ws_test were embedded anew by hashing-64\n",
    )  # fmt: skip
    assert told == "workspace ws_test embeds by hashing-64 from now on\n"
    assert stored_models(memory) == ["hashing-64"]
    assert neural("search", "checkout timeout")[1].splitlines()[0] == "  1. checkout timeout"
    code, shown, told = neural(*to)
    assert (code, shown, told) == (0, "nothing is left to do: all of workspace ws_test is embedded by hashing-64\n", "")


def test_broken_off_it_is_said_how_much_is_not_searched_and_the_same_command_goes_on(
    memory: Engine, neural: Neural, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = passes.Reembedding._next_batch  # pyright: ignore[reportPrivateUsage] - the plug is pulled between batches

    def once(self: Any, done: Any) -> bool:
        if done.observations:
            raise KeyboardInterrupt
        return real(self, done)

    to = ("reembed", "-w", "ws_test", "--to", "offline", "--dimension", 64, "--batch", 1)
    with monkeypatch.context() as patch:
        patch.setattr(passes.Reembedding, "_next_batch", once)
        code, _, told = neural(*to)
    assert (code, "goes on with what is left" in told) == (130, True)
    _, _, told = neural("search", "checkout")
    assert told.startswith("2 observations are not searched by their text")
    assert "neural reembed" in told
    assert neural(*to)[1].startswith("2 observations")
    assert neural("search", "checkout")[2] == ""


@pytest.mark.parametrize(
    ("to", "complaint"),
    [
        ("nonsense", "names no model"),
        ("acme:model@5", "no embedding provider 'acme'"),
        ("openai:text-embedding-3-small", "OPENAI_API_KEY"),
        ("openai:something-new", "--to must tell the length"),
    ],
)
def test_models_that_cannot_be_used_are_refused_and_nothing_is_changed(
    memory: Engine, neural: Neural, monkeypatch: pytest.MonkeyPatch, to: str, complaint: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, shown, told = neural("reembed", "-w", "ws_test", "--to", to)
    assert (code, shown, len(told.splitlines())) == (2, "", 1)
    assert complaint in told
    with memory.begin() as connection:
        [settings] = column(connection, "select settings from lightfast_org_workspaces")
    assert "embeddingModel" not in settings["embedding"]


def test_a_model_that_does_not_answer_is_found_out_before_anything_is_changed(
    memory: Engine, neural: Neural, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_MODEL_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("NEURAL_MODEL_TIMEOUT_SECONDS", "5")
    monkeypatch.setenv("NEURAL_MODEL_RETRY_AFTER_SECONDS", "0")
    code, _, told = neural("reembed", "-w", "ws_test", "--to", "openai:text-embedding-3-small")
    assert (code, told.startswith("neural: nothing was changed")) == (1, True)
    with memory.begin() as connection:
        [settings] = column(connection, "select settings from lightfast_org_workspaces")
    assert "embeddingModel" not in settings["embedding"]


def test_an_unknown_workspace_is_not_embedded_anew(memory: Engine, neural: Neural) -> None:
    code, _, told = neural("reembed", "-w", "ws_nowhere", "--to", "offline")
    assert (code, "there is no workspace ws_nowhere" in told) == (1, True)
    assert neural("reembed", "--to", "offline")[0] == 2


def test_how_far_it_is_is_told_on_the_way(memory: Engine, neural: Neural, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neural_pipeline.cli.reembed._PAUSE", 0.0)
    _, _, told = neural("reembed", "-w", "ws_test", "--to", "offline", "--dimension", 64, "--batch", 1)
    assert "1 observations and 0 clusters of 3 and 0" in told.splitlines()
