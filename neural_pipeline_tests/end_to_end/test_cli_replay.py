"""`neural runs replay` from the command line down to the rows, in this process."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from neural_pipeline.cli import replay as command
from neural_pipeline.cli.account import login_name
from neural_pipeline.cli.main import run
from neural_pipeline.sources.intake import judge
from neural_pipeline.store.summaries import unexplained
from neural_pipeline_tests.building import column, receipt, run_of, take_in
from neural_pipeline_tests.end_to_end.test_cli_ingest import ISSUE
from neural_pipeline_tests.replaying import PAYLOADS, appended, end, ended

Neural = Callable[..., tuple[int, str, str]]
RUNS = "select id from lightfast_workspace_workflow_runs order by id"
HOSTILE = "[bold red]paid[/bold red]\x1b[2J\r\nnext"


@pytest.fixture
def neural(workspace: str, capsys: pytest.CaptureFixture[str]) -> Neural:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["runs", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def rows(engine: Engine) -> Callable[..., list[Any]]:
    def read(sql: str = RUNS, **parameters: Any) -> list[Any]:
        with engine.begin() as connection:
            return column(connection, sql, **parameters)

    return read


def made(engine: Engine, *names: str, outcome: str = "completed", **how: Any) -> list[int]:
    with engine.begin() as connection:
        return [ended(connection, name, outcome, **how) for name in names]


def test_named_runs_are_replayed_on_behalf_of_whoever_asks(engine: Engine, neural: Neural, rows: Any) -> None:
    first, second = made(engine, "a", "b")
    execution = rows("select inngest_run_id from lightfast_workspace_workflow_runs where id = :id", id=second)[0]
    code, out, err = neural("replay", first, execution, second)
    assert (code, "after an interruption, repeat with --request-id" in err) == (0, True)
    assert out.splitlines()[0].startswith(f"run {first}: replayed as run ")
    assert "2 replayed, 0 refused, 0 asked for before (request " in out
    sql = "select replay_of from lightfast_workspace_workflow_runs where triggered_by = :by order by id"
    assert rows(sql, by=login_name()) == [first, second]


@pytest.mark.parametrize("function", PAYLOADS)
def test_runs_of_every_function_can_be_replayed_by_their_function(
    engine: Engine, neural: Neural, rows: Any, function: str
) -> None:
    with engine.begin() as connection:
        old = {name: end(connection, appended(connection, payload, name)) for name, payload in PAYLOADS.items()}
    assert neural("replay", "--function", function)[0] == 0
    assert rows("select replay_of from lightfast_workspace_workflow_runs where replay_of > 0") == [old[function]]


def test_a_bulk_replay_repeated_under_its_request_id_does_nothing_and_says_so(
    engine: Engine, neural: Neural, rows: Any
) -> None:
    made(engine, "a", "b", "c")
    arguments = ("replay", "--status", "completed", "--request-id", "mine", "--json")
    code, out, _ = neural(*arguments)
    found = json.loads(out)
    assert (code, found["replayed"], found["before"], found["request_id"]) == (0, 3, 0, "mine")
    runs = rows()
    found = json.loads(neural(*arguments)[1])
    assert (found["replayed"], found["before"], found["items"]) == (0, 3, [])
    assert rows() == runs


def test_an_interrupted_bulk_replay_is_finished_under_its_request_id(
    engine: Engine, neural: Neural, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = made(engine, "a", "b", "c", "d", "e")
    monkeypatch.setattr(command, "PAGE", 2)
    assert (
        json.loads(neural("replay", "-w", "ws_test", "--limit", 3, "--request-id", "x", "--json")[1])["replayed"] == 3
    )
    found = json.loads(neural("replay", "-w", "ws_test", "--request-id", "x", "--json")[1])
    assert (found["replayed"], found["before"]) == (2, 3)
    sql = "select replay_of from lightfast_workspace_workflow_runs where replay_of is not null order by id"
    assert rows(sql) == old


def test_each_page_of_a_bulk_replay_is_kept_whatever_happens_to_the_next(
    engine: Engine, neural: Neural, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(engine, "a", "b", "c")
    monkeypatch.setattr(command, "PAGE", 2)
    spoil = """
    create function spoil() returns trigger language plpgsql as $$ begin
      if new.delivery_id like '%3' then raise exception 'no'; end if; return new; end $$;
    create trigger spoil before insert on incoming_events for each row execute function spoil();
    """
    with engine.begin() as connection:
        connection.execute(text(spoil))
    assert neural("replay", "-w", "ws_test", "--request-id", "x-")[0] != 0
    assert rows("select replay_of from lightfast_workspace_workflow_runs where replay_of is not null") == [1, 2]


def test_every_filter_of_the_list_chooses_what_is_replayed(engine: Engine, neural: Neural) -> None:
    [wanted] = made(engine, "a", outcome="failed", error="Broken Pipe")
    made(engine, "b")
    with engine.begin() as connection:
        end(connection, appended(connection, PAYLOADS["profile"], "c"), "failed", error="other")
    filters = {"--function": "capture", "--status": "failed", "--since": "24h", "--error": "broken", "-w": "ws_test"}
    found = json.loads(neural("replay", "--dry-run", "--json", *(w for pair in filters.items() for w in pair))[1])
    assert [item["run"] for item in found["items"]] == [wanted]
    counts = {
        name: json.loads(neural("replay", "--dry-run", "--json", name, value)[1])["would_replay"]
        for name, value in filters.items()
    }
    assert counts == {"--function": 2, "--status": 2, "--since": 3, "--error": 1, "-w": 3}
    tomorrow = datetime.now(UTC).replace(year=datetime.now(UTC).year + 1).isoformat()
    assert json.loads(neural("replay", "--dry-run", "--json", "--since", tomorrow)[1])["would_replay"] == 0


def test_a_dry_run_shows_what_would_run_and_what_is_refused_and_writes_nothing(
    engine: Engine, neural: Neural, rows: Any
) -> None:
    [old] = made(engine, "a")
    with engine.begin() as connection:
        waits = run_of(connection, appended(connection, PAYLOADS["sync"], "waits"))["id"]
    code, out, err = neural("replay", "-w", "ws_test", "--dry-run")
    assert code == 0
    assert f"run {old}: would be replayed - [PR Opened] Fix the checkout" in out
    assert "1 would be replayed, 1 refused, 0 asked for before" in out
    assert err.splitlines() == [
        f"run {waits} is refused: it is queued: wait for its end, or `neural runs cancel {waits}` first"
    ]
    assert rows() == [old, waits]


def test_a_named_run_that_is_refused_is_told_and_the_others_go_through(
    engine: Engine, neural: Neural, rows: Any
) -> None:
    old, pruned = made(engine, "a", "b")
    with engine.begin() as connection:
        sql = "update incoming_events set payload = null, pruned_at = now() where delivery_id = 'b'"
        connection.execute(text(sql))
    code, out, err = neural("replay", old, pruned, "nowhere", "\udcff", 10**30)
    assert (code, "1 replayed, 4 refused" in out) == (1, True)
    assert f"run {pruned} is refused: its stored payload was pruned on " in err
    assert err.count("there is no such run") == 3
    assert len(rows()) == 3


def test_in_bulk_what_is_refused_is_counted_and_is_no_failure(engine: Engine, neural: Neural) -> None:
    made(engine, "a")
    with engine.begin() as connection:
        for number in range(25):
            appended(connection, PAYLOADS["sync"], str(number))
    code, out, err = neural("replay", "-w", "ws_test")
    assert (code, "1 replayed, 25 refused" in out, "and 5 more refused" in out) == (0, True, True)
    assert err.count("is refused") == 20


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--limit", "5"],
        ["--dry-run"],
        ["--error", ""],
        ["1", "--status", "failed"],
        ["1", "--limit", "5"],
        ["--function", "frob"],
        ["--since", "yesterday"],
        ["1", "--request-id", " "],
        ["1", "--request-id", "a\x1bb"],
        ["1", "--request-id", "x" * 151],
    ],
)
def test_what_does_not_say_which_runs_is_wrong_usage_and_one_line_says_what_to_do(
    engine: Engine, neural: Neural, rows: Any, arguments: list[str]
) -> None:
    made(engine, "a", outcome="failed")
    code, out, err = neural("replay", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert rows() == [1]


def test_the_longest_request_id_there_may_be_is_kept_whole(engine: Engine, neural: Neural, rows: Any) -> None:
    [old] = made(engine, "a")
    assert neural("replay", old, "--request-id", "x" * 150)[0] == 0
    sql = "select replay_request_id from lightfast_workspace_workflow_runs where replay_of is not null"
    assert rows(sql) == ["x" * 150]


def test_reprocessing_is_asked_for_by_an_option(engine: Engine, neural: Neural, rows: Any) -> None:
    first, second = made(engine, "a", "b")
    neural("replay", first)
    neural("replay", second, "--reprocess")
    assert rows("select reprocess from incoming_events where source = 'replay' order by id") == [False, True]


def test_hostile_titles_and_reasons_stay_text(engine: Engine, neural: Neural) -> None:
    [old] = made(engine, "a")
    with engine.begin() as connection:
        sql = (
            "insert into lightfast_workspace_workflow_runs (clerk_org_id, workspace_id, inngest_run_id, name, trigger, "
        )
        sql += "inngest_function_id) values ('o', 'ws_test', 'x', :name, 'manual', 'sync.orchestrator')"
        connection.execute(text(sql), {"name": HOSTILE})
        event = appended(connection, PAYLOADS["sync"], "b")
        naming = "update lightfast_workspace_workflow_runs set name = :name where event_id = :id"
        connection.execute(text(naming), {"name": HOSTILE, "id": event})
        hostile = end(connection, event)
    _, out, err = neural("replay", old, hostile, HOSTILE)
    assert "[bold red]paid[/bold red]\u241b[2J next" in out
    assert "\x1b" not in out + err
    assert neural("replay", hostile, "--json")[1].isascii()


def test_a_rejected_capture_goes_through_the_transformer_again(
    engine: Engine, neural: Neural, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(ISSUE).encode()
    with engine.begin() as connection:
        given = receipt("d", event_type="issues", body=body)
        judged = judge(
            "github",
            "issues",
            body,
            delivery_id="d",
            received_at=given.received_at,
            allowed={"issues.opened"},
            max_bytes=10_000,
        )
        [admission] = take_in(connection, receipt("d", event_type="issues", body=body, judgement=judged))
        assert admission.event_id is not None
        connection.execute(text("update incoming_events set payload = '{}'"))
        old = end(connection, admission.event_id, "failed", cause="rejected")
    monkeypatch.setenv("NEURAL_ALLOWED_EVENTS", "push")
    code, _, err = neural("replay", old, "--dry-run")
    assert (code, "issues.opened is not taken in" in err) == (1, True)
    monkeypatch.delenv("NEURAL_ALLOWED_EVENTS")
    assert neural("replay", old)[0] == 0
    sql = "select payload -> 'sourceEvent' ->> 'title' from incoming_events where source = 'replay'"
    assert rows(sql) == ["[Issue Opened] Search is slow"]
    with engine.begin() as connection:
        assert unexplained(connection) == 0


def test_a_run_is_shown_with_its_replays(engine: Engine, neural: Neural) -> None:
    [old] = made(engine, "a")
    neural("replay", old, "--request-id", "mine")
    shown = neural("show", old)[1]
    assert "replays:" in shown
    assert '"replay_request_id": "mine"' in shown
    assert f"replay_of            {old}" in neural("show", old + 1)[1]
