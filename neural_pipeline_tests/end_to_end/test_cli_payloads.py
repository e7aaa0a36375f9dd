"""`neural payloads`: what was refused is listed, and handed in again it gets its execution once a rule has changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from neural_pipeline.cli import documents
from neural_pipeline.cli import payloads as command
from neural_pipeline.cli.documents import Kind
from neural_pipeline.cli.main import run
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store.summaries import unexplained
from neural_pipeline_tests.building import receipt, take_in, workspaces
from neural_pipeline_tests.dagster.test_launchpad import SOURCE_EVENT
from neural_pipeline_tests.end_to_end.test_cli_ingest import ISSUE, enveloped, issue, lines

Neural = Callable[..., tuple[int, Any, str]]
Rows = Callable[..., list[Any]]
STAR = {"source": "github", "eventType": "star", "payload": {"action": "created"}}
EVENTS = "select payload -> 'sourceEvent' ->> 'sourceId' from incoming_events order by id"


@pytest.fixture
def neural(workspace: str, capsys: pytest.CaptureFixture[str]) -> Neural:
    """Call with --json and return what was printed, parsed."""

    def call(*arguments: object) -> tuple[int, Any, str]:
        code = run([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return call


@pytest.fixture
def rows(engine: Engine) -> Rows:
    def read(sql: str, **parameters: Any) -> list[Any]:
        with engine.begin() as connection:
            assert unexplained(connection) == 0
            return list(connection.execute(text(sql), parameters).scalars())

    return read


@pytest.fixture
def not_allowed(tmp_path: Path, neural: Neural, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three issues that were handed in while the allow-list had no room for them."""
    monkeypatch.setenv("NEURAL_ALLOWED_EVENTS", "push")
    path = tmp_path / "issues.jsonl"
    path.write_bytes(lines(*(enveloped(issue(n), deliveryId=f"d-{n}") for n in (1, 2)), issue(3)))
    assert neural("ingest", "-w", "ws_test", path)[1]["unsupported"] == 3
    monkeypatch.delenv("NEURAL_ALLOWED_EVENTS")
    return [1, 2, 3]


def test_refused_payloads_are_listed_newest_first_with_their_reason(neural: Neural, not_allowed: list[int]) -> None:
    code, found, _ = neural("payloads", "list")
    assert (code, [row["id"] for row in found]) == (0, not_allowed[::-1])
    assert {(row["disposition"], row["reason"], row["run_id"]) for row in found} == {
        ("unsupported", "issues.opened is not taken in", None)
    }
    assert [row["id"] for row in neural("payloads", "list", "--limit", 1)[1]] == [3]
    assert neural("payloads", "list", "--disposition", "invalid")[1] == []
    assert neural("payloads", "list", "-w", "ws_other")[1] == []
    assert neural("payloads", "list", "--since", "2999-01-01")[1] == []


def test_refused_payloads_are_shown_as_a_table(
    neural: Neural, not_allowed: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["payloads", "list"]) == 0
    assert capsys.readouterr().out.count("issues.opened is not taken in") == len(not_allowed)


def test_what_is_allowed_by_now_is_taken_in_under_its_own_delivery_whatever_form_it_had(
    engine: Engine, neural: Neural, not_allowed: list[int], rows: Rows
) -> None:
    code, found, _ = neural("payloads", "replay", "--disposition", "unsupported")
    assert (code, found["replayed"], found["refused"]) == (0, 3, 0)
    assert [name.partition("@")[0] for name in rows(EVENTS)] == [f"issue:acme/shop#{n}:opened" for n in (1, 2, 3)]
    assert rows("select delivery_id from incoming_events order by id")[:2] == ["d-1", "d-2"]
    assert rows("select channel from intakes order by id") == ["cli", "replay"]
    runs = rows("select id from lightfast_workspace_workflow_runs order by id")
    assert [item["new_run"] for item in found["items"]] == runs
    assert [row["run_id"] for row in neural("payloads", "list")[1]] == runs[::-1]
    with engine.begin() as connection:
        first, again = connection.execute(text("select body from raw_payloads where delivery_id = 'd-1'")).scalars()
        assert bytes(first) == bytes(again)


def test_a_second_replay_of_payloads_does_nothing(neural: Neural, not_allowed: list[int], rows: Rows) -> None:
    neural("payloads", "replay", 1)
    assert neural("payloads", "replay", "-w", "ws_test")[1]["replayed"] == 2
    kept = rows("select id from raw_payloads")
    code, found, _ = neural("payloads", "replay", "-w", "ws_test")
    assert (code, found["replayed"], found["before"]) == (0, 0, 3)
    assert neural("payloads", "replay", *not_allowed)[:1] == (0,)
    assert rows("select id from raw_payloads") == kept


def test_what_is_refused_again_is_told_and_leaves_no_further_trace(
    neural: Neural, not_allowed: list[int], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_ALLOWED_EVENTS", "push")
    code, found, _ = neural("payloads", "replay", 1)
    assert (code, found["refusals"]) == (
        1,
        [{"payload": 1, "reason": "it is still unsupported: issues.opened is not taken in"}],
    )
    assert neural("payloads", "replay", "-w", "ws_test")[0] == 0
    assert rows("select id from raw_payloads") == not_allowed
    assert rows("select id from intakes") == [1]


def test_a_dry_run_writes_nothing(neural: Neural, not_allowed: list[int], rows: Rows) -> None:
    code, found, _ = neural("payloads", "replay", "-w", "ws_test", "--dry-run")
    assert (code, found["would_replay"]) == (0, 3)
    assert rows("select id from raw_payloads") == not_allowed
    assert rows("select id from incoming_events") == []


def test_pages_and_a_limit_take_the_oldest_first(
    neural: Neural, not_allowed: list[int], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PAGE", 1)
    assert neural("payloads", "replay", "-w", "ws_test", "--limit", 2)[1]["replayed"] == 2
    assert rows("select delivery_id from incoming_events order by id") == ["d-1", "d-2"]
    monkeypatch.setattr(command, "PAGE", 200)
    monkeypatch.setattr(command, "PAGE_BYTES", 1)
    assert neural("payloads", "replay", "-w", "ws_test")[1] | {"items": []} == {
        "replayed": 1,
        "refused": 0,
        "before": 2,
        "items": [],
        "refusals": [],
    }


def test_a_payload_for_a_workspace_that_exists_by_now_is_taken_in(
    tmp_path: Path, engine: Engine, neural: Neural, rows: Rows
) -> None:
    path = tmp_path / "issue.json"
    path.write_bytes(json.dumps(ISSUE).encode())
    neural("ingest", "-w", "ws_new", path)
    code, found, _ = neural("payloads", "replay", 1)
    assert (code, "make it with `neural workspaces create`" in found["refusals"][0]["reason"]) == (1, True)
    assert rows("select id from raw_payloads") == [1]
    with engine.begin() as connection:
        workspaces(connection, "ws_new")
    assert neural("payloads", "replay", 1)[1]["replayed"] == 1
    assert rows("select workspace_id from incoming_events") == ["ws_new"]


def test_what_could_not_be_told_apart_may_be_by_now_and_is_taken_in_once(
    tmp_path: Path, neural: Neural, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "issue.json"
    path.write_bytes(json.dumps(ISSUE).encode())
    with monkeypatch.context() as older_program:
        older_program.setattr(documents, "kind_of", lambda _: None)
        assert neural("ingest", "-w", "ws_test", path)[1]["invalid"] == 1
    assert neural("payloads", "replay", 1)[1]["replayed"] == 1
    assert neural("payloads", "replay", 1)[1]["before"] == 1
    assert rows("select source || '/' || event_type from raw_payloads order by id") == [
        "/".join(Kind("unknown", "unknown")),
        "github/issues",
    ]


def test_a_ready_made_event_is_judged_as_one(engine: Engine, neural: Neural, rows: Rows) -> None:
    body = json.dumps(SOURCE_EVENT).encode()
    refused = Judgement("invalid", reason="a rule of old")
    with engine.begin() as connection:
        take_in(connection, receipt("d", event_type="pull-request.opened", body=body, judgement=refused))
        connection.execute(text("update intakes set channel = 'launchpad'"))
    assert neural("payloads", "replay", 1)[1]["replayed"] == 1
    assert rows(EVENTS) == ["typed"]
    assert rows("select headers ->> 'neural-channel' from raw_payloads where id = 2") == ["launchpad"]


def test_only_the_launchpad_takes_ready_made_events(engine: Engine, neural: Neural, rows: Rows) -> None:
    body = json.dumps(SOURCE_EVENT).encode()
    refused = Judgement("invalid", reason="no webhook")
    with engine.begin() as connection:
        take_in(connection, receipt("d", event_type="pull-request.opened", body=body, judgement=refused))
    assert neural("payloads", "replay", 1)[1]["refused"] == 1
    assert rows(EVENTS) == []


def test_of_one_delivery_that_was_refused_twice_one_payload_is_taken_in(
    engine: Engine, neural: Neural, rows: Rows
) -> None:
    body = json.dumps(ISSUE).encode()
    refused = Judgement("unsupported", reason="a rule of old")
    with engine.begin() as connection:
        take_in(connection, *[receipt("d", event_type="issues", body=body, judgement=refused)] * 2)
    found = neural("payloads", "replay", "-w", "ws_test")[1]
    assert (found["replayed"], found["before"]) == (1, 1)
    assert rows("select disposition from raw_payloads order by id") == ["unsupported", "unsupported", "accepted"]


def test_a_delivery_whose_id_was_cut_is_not_mistaken_for_another(engine: Engine, neural: Neural, rows: Rows) -> None:
    body = json.dumps(ISSUE).encode()
    with engine.begin() as connection:
        take_in(connection, receipt("x" * 192, event_type="issues", body=body))
    code, found, _ = neural("payloads", "replay", 1)
    assert (code, "hand it in with a shorter one" in found["refusals"][0]["reason"]) == (1, True)
    assert rows(EVENTS) == []


def test_what_was_accepted_or_is_not_there_is_refused_by_its_number(engine: Engine, neural: Neural, rows: Rows) -> None:
    with engine.begin() as connection:
        take_in(connection, receipt("d"))
    code, found, _ = neural("payloads", "replay", 1, 77, "x")
    reasons = {str(one["payload"]): one["reason"] for one in found["refusals"]}
    assert (code, found["refused"]) == (1, 3)
    assert reasons["1"] == "it was accepted: `neural runs replay 1` replays its run"
    assert reasons["77"].startswith("there is no such payload")
    assert reasons["x"].startswith("that is no number")


@pytest.mark.parametrize(
    "arguments", [[], ["--limit", "5"], ["1", "-w", "ws_test"], ["1", "--limit", "2"], ["--disposition", "accepted"]]
)
def test_what_does_not_say_which_payloads_is_wrong_usage(
    neural: Neural, not_allowed: list[int], rows: Rows, arguments: list[str]
) -> None:
    code, out, err = neural("payloads", "replay", *arguments)
    assert (code, out, len(err.splitlines())) == (2, None, 1)
    assert rows(EVENTS) == []
