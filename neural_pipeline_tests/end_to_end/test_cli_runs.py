"""`neural runs` and `neural workspaces`, in this process: what is shown, and that hostile text stays text."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from neural_pipeline.cli.main import run
from neural_pipeline.cli.output import flat, visible
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.cli.runs import cursor_of
from neural_pipeline.cli.selection import moment_of
from neural_pipeline.contracts.integrations import parse_workspace_settings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOSTILE = "[bold red]paid[/bold red]\x1b[2J\x1b]0;owned\x07\r\nnext \x9b31m \u202egnp.exe <script> [/nothing]"
AddRun = Callable[..., int]
Neural = Callable[..., tuple[int, str, str]]


@pytest.fixture
def add_run(engine: Engine, workspace: str) -> AddRun:
    def add(title: str = "a title", *, minute: int = 0, error: str | None = None, **columns: Any) -> int:
        values = {
            "clerk_org_id": "org_test",
            "workspace_id": workspace,
            "inngest_run_id": f"execution-{minute}",
            "inngest_function_id": "neural.observation.capture",
            "name": "Capture github/push",
            "trigger": "manual",
            "created_at": NOON + timedelta(minutes=minute),
            "input": json.dumps({"title": title}),
        } | columns
        sql = f"""
        insert into lightfast_workspace_workflow_runs ({", ".join(values)})
        values ({", ".join(f":{name}" for name in values)}) returning id
        """
        failed = """
        update lightfast_workspace_workflow_runs set status = 'failed', error_message = :error, completed_at = now(),
          output = jsonb_build_object('inngestFunctionId', inngest_function_id, 'status', 'failure')
        where id = :id
        """
        with engine.begin() as connection:
            number = connection.execute(text(sql), values).scalar_one()
            if error is not None:
                connection.execute(text(failed), {"error": error, "id": number})
        return number

    return add


@pytest.fixture
def neural(database: object, capsys: pytest.CaptureFixture[str]) -> Neural:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.parametrize("width", [80, 200])
def test_hostile_text_stays_one_row_of_text_at_any_width(
    add_run: AddRun, neural: Neural, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    add_run(HOSTILE, error=HOSTILE)
    monkeypatch.setenv("COLUMNS", str(width))
    _, shown, _ = neural("runs", "list")
    assert "[bold red]" in shown
    assert len(shown.splitlines()) == 2
    assert all(len(line) <= width for line in shown.splitlines())
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(shown)


def test_hostile_text_is_shown_in_full_and_as_text(add_run: AddRun, neural: Neural) -> None:
    number = add_run(HOSTILE, error=HOSTILE)
    _, shown, _ = neural("runs", "show", number)
    assert "[bold red]paid[/bold red]\u241b[2J\u241b]0;owned\u2407 next \\u009b31m \\u202egnp.exe" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(shown)


def test_json_holds_hostile_text_letter_for_letter_and_is_plain_ascii(add_run: AddRun, neural: Neural) -> None:
    number = add_run(HOSTILE, error=HOSTILE)
    for arguments in (("list",), ("show", number)):
        _, shown, _ = neural("runs", *arguments, "--json")
        found = json.loads(shown)
        row = found["items"][0] if arguments == ("list",) else found
        assert row["error_message"] == HOSTILE
        assert shown.isascii()
        assert "\x1b" not in shown


@pytest.mark.parametrize("width", [80, 200])
def test_number_status_title_and_error_can_be_read_at_any_width(
    add_run: AddRun, neural: Neural, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    number = add_run("Search is slow", error="worker died")
    monkeypatch.setenv("COLUMNS", str(width))
    _, shown, _ = neural("runs", "list")
    row = shown.splitlines()[1]
    assert row.startswith(str(number))
    assert all(part in row for part in ("capture", "failed", "Search is slow", "worker died"))


def test_output_into_a_pipe_is_not_cut_to_eighty_columns(
    add_run: AddRun, neural: Neural, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run("x" * 70)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "x" * 70 in neural("runs", "list")[1]


def test_the_cursor_below_a_page_leads_to_the_next(add_run: AddRun, neural: Neural) -> None:
    numbers = [add_run(minute=minute) for minute in range(3)]
    _, _, hint = neural("runs", "list", "--limit", 2)
    cursor = hint.split("--after ")[1].strip()
    _, shown, _ = neural("runs", "list", "--limit", 2, "--after", cursor, "--json")
    found = json.loads(shown)
    assert [row["id"] for row in found["items"]] == [numbers[0]]
    assert found["next"] is None
    _, shown, _ = neural("runs", "list", "--limit", 2, "--json")
    assert json.loads(shown)["next"] == cursor


def test_filters_reach_the_history(add_run: AddRun, neural: Neural) -> None:
    recent = {"created_at": datetime.now(UTC), "inngest_run_id": "recent"}
    add_run("old")
    add_run("other function", inngest_function_id="neural.profile.update", **recent)
    add_run("healthy", **recent | {"inngest_run_id": "recent2"})
    wanted = add_run("wanted", error="Broken Pipe", **recent | {"inngest_run_id": "recent3"})
    filters = {"--function": "capture", "--status": "failed", "--since": "24h", "--error": "broken", "-w": "ws_test"}
    _, shown, _ = neural("runs", "list", "--json", *(word for pair in filters.items() for word in pair))
    assert [row["id"] for row in json.loads(shown)["items"]] == [wanted]
    without = {
        option: len(json.loads(neural("runs", "list", "--json", option, value)[1])["items"])
        for option, value in filters.items()
    }
    assert without == {"--function": 3, "--status": 1, "--since": 3, "--error": 1, "-w": 4}


def test_a_run_is_shown_by_the_id_of_its_execution(add_run: AddRun, neural: Neural) -> None:
    number = add_run()
    _, shown, _ = neural("runs", "show", "execution-0")
    assert shown.splitlines()[0].split() == ["id", str(number)]


@pytest.mark.parametrize("name", ["77", "no-such", "\udcff"])
def test_a_run_that_is_not_there_is_told_on_one_line(neural: Neural, name: str) -> None:
    code, out, err = neural("runs", "show", name)
    assert (code, out, len(err.splitlines())) == (1, "", 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--function", "frob"],
        ["--status", "done"],
        ["--since", "yesterday"],
        ["--since", "999999w"],
        ["--limit", "0"],
        ["--limit", "1001"],
        ["--after", "17"],
        ["--after", "2026-03-02T12:00:00,17"],
    ],
)
def test_a_filter_that_cannot_be_read_is_wrong_usage(neural: Neural, arguments: list[str]) -> None:
    code, out, err = neural("runs", "list", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("30m", NOON - timedelta(minutes=30)),
        ("24h", NOON - timedelta(hours=24)),
        ("7d", NOON - timedelta(days=7)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T10:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
    ],
)
def test_since_takes_spans_and_dates(written: str, moment: datetime) -> None:
    assert moment_of(written, now=NOON) == moment


def test_a_cursor_needs_an_offset_and_a_number() -> None:
    assert cursor_of("2026-03-02T12:00:00+00:00,17") == (NOON, 17)
    with pytest.raises(Refusal):
        cursor_of("2026-03-02T12:00:00+00:00,x")


def test_ordinary_text_of_any_script_is_shown_as_it_is() -> None:
    for ordinary in ("Größe 漢字 🎉", "a\u00a0b", "👩\u200d💻"):
        assert visible(ordinary) == ordinary
    assert flat("one\r\n\ttwo\u2028three") == "one two three"
    assert visible("\udcff\x7f\U000e0041") == "\\udcff\u2421\\U000e0041"


def test_a_new_workspace_can_be_used_and_is_listed(neural: Neural, engine: Engine) -> None:
    assert neural("workspaces", "create", "ws_new", "--org", "org_a", "--name", "[red]new")[0] == 0
    with engine.begin() as connection:
        stored = connection.execute(text("select settings from lightfast_org_workspaces")).scalar_one()
    embedding = parse_workspace_settings(stored).embedding
    assert (embedding.embedding_provider, embedding.embedding_model) == ("offline", "hashing-256")
    assert (embedding.embedding_dim, embedding.namespace_name) == (256, "org_a:ws_new")
    assert all(part in neural("workspaces", "list")[1] for part in ("ws_new", "org_a", "[red]new"))
    assert [one["id"] for one in json.loads(neural("workspaces", "list", "--json")[1])] == ["ws_new"]


def test_an_id_or_a_name_that_is_taken_is_told(neural: Neural) -> None:
    assert neural("workspaces", "create", "ws_a", "--name", "team")[0] == 0
    code, _, err = neural("workspaces", "create", "ws_a", "--name", "other")
    assert (code, "there is a workspace ws_a already" in err) == (1, True)
    code, _, err = neural("workspaces", "create", "ws_b", "--name", "team")
    assert (code, "named team already" in err) == (1, True)
    assert neural("workspaces", "create", "ws_b", "--name", "team", "--org", "org_b")[0] == 0


@pytest.mark.parametrize("name", ["", " ", "a\x1b[2Jb", "x" * 192])
def test_an_id_that_cannot_be_shown_or_stored_is_refused(neural: Neural, name: str) -> None:
    assert neural("workspaces", "create", name)[0] == 2
