"""`neural ingest` from the command line down to the rows, in this process."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from neural_pipeline.cli.main import run
from neural_pipeline.cli.reading import MAX_DOCUMENT

Ingest = Callable[..., tuple[int, dict[str, Any]]]
ISSUE: dict[str, Any] = {
    "action": "opened",
    "issue": {
        "id": 7,
        "number": 7,
        "title": "Search is slow",
        "body": "It takes ten seconds.",
        "user": {"login": "mira", "id": 3},
        "html_url": "https://github.com/acme/shop/issues/7",
        "created_at": "2026-03-02T08:12:40Z",
        "updated_at": "2026-03-02T08:12:40Z",
    },
    "repository": {"id": 5, "full_name": "acme/shop", "name": "shop", "html_url": "https://github.com/acme/shop"},
    "sender": {"login": "mira", "id": 3},
}


def issue(number: int) -> dict[str, Any]:
    return ISSUE | {"issue": ISSUE["issue"] | {"id": number, "number": number}}


def enveloped(payload: object, **more: object) -> dict[str, Any]:
    return {"source": "github", "eventType": "issues", "payload": payload} | more


def lines(*values: object) -> bytes:
    return b"".join(value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n" for value in values)


@pytest.fixture
def ingest(workspace: str, capsys: pytest.CaptureFixture[str]) -> Ingest:
    def call(*arguments: object) -> tuple[int, dict[str, Any]]:
        code = run(["ingest", "-w", workspace, "--json", *map(str, arguments)])
        captured = capsys.readouterr()
        assert not captured.err, captured.err
        return code, json.loads(captured.out)

    return call


@pytest.fixture
def kept(engine: Engine) -> Callable[[], list[Any]]:
    """The payloads in the database: disposition, reason and bytes, in the order in which they came."""

    def read() -> list[Any]:
        with engine.begin() as connection:
            found = connection.execute(text("select disposition, reason, body from raw_payloads order by id"))
            return [(disposition, reason, bytes(body)) for disposition, reason, body in found]

    return read


def counts(summary: dict[str, Any]) -> tuple[int, ...]:
    return tuple(summary[name] for name in ("accepted", "duplicate", "unsupported", "invalid"))


def test_one_payload_is_taken_in_with_the_bytes_of_its_file(tmp_path: Path, ingest: Ingest, kept: Any) -> None:
    file = tmp_path / "one.json"
    content = b"\n" + json.dumps(ISSUE, indent=3).encode() + b"\n\n"
    file.write_bytes(content)
    assert ingest(file) == (0, {"accepted": 1, "duplicate": 0, "unsupported": 0, "invalid": 0, "reasons": []})
    assert kept() == [("accepted", None, content)]


def test_an_execution_of_the_caller_waits_for_what_was_taken_in(tmp_path: Path, ingest: Ingest, engine: Engine) -> None:
    (tmp_path / "one.json").write_text(json.dumps(ISSUE))
    ingest(tmp_path)
    with engine.begin() as connection:
        sql = "select status, trigger, triggered_by, input ->> 'title' from lightfast_workspace_workflow_runs"
        status, trigger, triggered_by, title = connection.execute(text(sql)).one()
        channel = connection.execute(text("select channel from intakes")).scalar_one()
    assert (status, trigger, channel, title) == ("queued", "manual", "cli", "[Issue Opened] Search is slow")
    assert triggered_by


def test_handing_a_payload_in_again_is_a_new_execution(tmp_path: Path, ingest: Ingest) -> None:
    (tmp_path / "one.json").write_text(json.dumps(ISSUE))
    assert [counts(ingest(tmp_path)[1]) for _ in range(2)] == [(1, 0, 0, 0), (1, 0, 0, 0)]


def test_a_delivery_id_in_the_file_is_taken_in_once(tmp_path: Path, ingest: Ingest) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(lines(enveloped(ISSUE, deliveryId="d-1"), enveloped(ISSUE, deliveryId="d-1")))
    assert counts(ingest(file)[1]) == (1, 1, 0, 0)
    code, summary = ingest(file)
    assert (code, counts(summary)) == (0, (0, 2, 0, 0))


def test_json_lines_keep_the_bytes_of_each_line_and_one_bad_line_stops_no_other(
    tmp_path: Path, ingest: Ingest, kept: Any
) -> None:
    bad, odd = b'{"action": "opened", "iss\n', b"\xff\xfe not text\r\n"
    bare, wrapped = json.dumps(issue(1)).encode() + b"\n", json.dumps(enveloped(issue(2))).encode() + b"\n"
    file = tmp_path / "some.ndjson"
    file.write_bytes(bare + bad + b"\n" + odd + wrapped)
    code, summary = ingest(file)
    assert (code, counts(summary)) == (1, (2, 0, 0, 2))
    assert [reason["example"] for reason in summary["reasons"]] == [f"{file}:2", f"{file}:4"]
    assert [body for _, _, body in kept()] == [bare[:-1], bad[:-1], odd[:-2], wrapped[:-1]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "not JSON"),
        (json.dumps(ISSUE).encode()[:-40], "not JSON"),
        (b'{\n "action": "opened",\n "issue": {"id": 1}\n', "not JSON"),
        (b"\xff\xfe{", "not UTF-8 (byte 0)"),
        (b"", "empty"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"issue": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"issue": NaN}', "NaN"),
        (b"[1, 2]", "--source and --event-type"),
        (b'{"hello": 1}', "--source and --event-type"),
        (b'{"source": 5, "eventType": "push", "payload": {}}', "not both text"),
        (b'{"source": "github", "eventType": "push", "payload": {}, "deliveryId": 5}', "deliveryId"),
        (b'{"issue": 5, "action": "opened"}', "repository is missing"),
    ],
)
def test_what_cannot_be_used_is_kept_as_it_came_with_a_reason(
    tmp_path: Path, ingest: Ingest, kept: Any, content: bytes, reason: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    code, summary = ingest(file)
    assert (code, counts(summary)) == (1, (0, 0, 0, 1))
    [(disposition, why, body)] = kept()
    assert (disposition, body) == ("invalid", content)
    assert reason in why
    assert summary["reasons"] == [{"disposition": "invalid", "reason": why, "count": 1, "example": str(file)}]


def test_every_item_of_a_dataset_is_handed_in(tmp_path: Path, ingest: Ingest, kept: Any) -> None:
    odd = issue(3) | {"note": "\ud800 \x00 é"}
    items = [enveloped(issue(1)), {"nothing": 1}, enveloped(odd), enveloped({}, eventType="star"), 5]
    (tmp_path / "set.json").write_text(json.dumps({"name": "two weeks", "webhooks": items}))
    code, summary = ingest(tmp_path)
    assert (code, counts(summary)) == (1, (2, 0, 1, 2))
    assert summary["reasons"][0]["example"].endswith("set.json:webhooks[1]")
    assert [json.loads(body) for _, _, body in kept()] == [issue(1), {"nothing": 1}, odd, {}, 5]


def test_a_folder_is_read_in_name_order_with_all_that_lies_below(tmp_path: Path, ingest: Ingest, kept: Any) -> None:
    for name, number in (("b.json", 2), ("a/z.jsonl", 1), ("c.ndjson", 3), ("a/notes.txt", 9)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(issue(number)))
    ingest(tmp_path)
    assert [json.loads(body)["issue"]["number"] for _, _, body in kept()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (json.dumps(ISSUE, indent=1).encode(), (1, 0, 0, 0)),
        (lines(issue(1), issue(2), issue(3)), (3, 0, 0, 0)),
        (lines(b'{"truncat\n', issue(2), issue(3)), (2, 0, 0, 1)),
        (lines({"webhooks": [enveloped(issue(1)), enveloped(issue(2))]}), (2, 0, 0, 0)),
        (
            b'{"source": "github", "eventType": "issues", "payload":\n' + json.dumps(ISSUE).encode() + b"\n}",
            (1, 0, 0, 0),
        ),
    ],
)
def test_standard_input_may_be_a_document_or_lines(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert counts(ingest("-")[1]) == expected


def test_the_kind_of_a_payload_can_be_told(tmp_path: Path, ingest: Ingest, engine: Engine) -> None:
    (tmp_path / "odd.json").write_text('{"hello": 1}')
    assert counts(ingest(tmp_path, "--source", "github", "--event-type", "star")[1]) == (0, 0, 1, 0)
    with engine.begin() as connection:
        assert connection.execute(text("select source, event_type from raw_payloads")).one() == ("github", "star")


def test_a_payload_over_the_limit_is_invalid_and_kept(
    tmp_path: Path, ingest: Ingest, kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_MAX_PAYLOAD_BYTES", "2000")
    content = json.dumps(ISSUE | {"padding": "x" * 2000}).encode()
    (tmp_path / "large.json").write_bytes(content)
    assert ingest(tmp_path)[0] == 1
    [(disposition, reason, body)] = kept()
    assert (disposition, body) == ("invalid", content)
    assert "at most 2000" in reason


def test_an_unknown_workspace_is_a_reason_and_the_bytes_are_kept(
    tmp_path: Path, ingest: Ingest, kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.json").write_text(json.dumps(ISSUE))
    assert run(["ingest", "-w", "ws_nowhere", str(tmp_path)]) == 1
    assert "'ws_nowhere' does not exist" in capsys.readouterr().out
    assert [(disposition, body) for disposition, _, body in kept()] == [("invalid", json.dumps(ISSUE).encode())]


def test_each_chunk_is_a_transaction_of_its_own(tmp_path: Path, workspace: str, engine: Engine, capsys: Any) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(lines(*[ISSUE] * 500) + b"x" * 10)
    (tmp_path / "z.json").write_text("{")
    with (tmp_path / "zz.json").open("wb") as made:
        made.write(b"{\n")
        made.truncate(MAX_DOCUMENT + 5)
    assert run(["ingest", "-w", workspace, str(tmp_path)]) == 2
    assert "500 payloads were handed in before" in capsys.readouterr().err
    with engine.begin() as connection:
        assert connection.execute(text("select count(*) from raw_payloads")).scalar_one() == 500


def test_the_summary_names_ten_reasons_and_shows_hostile_text_as_text(
    tmp_path: Path, workspace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = [enveloped({}, source="\x1b[31m[bold]red[/bold]"), *(enveloped({}, eventType=f"kind{n}") for n in range(11))]
    (tmp_path / "bad\x1b]0;title\x07.jsonl").write_bytes(lines(*odd) + b"{")
    assert run(["ingest", "-w", workspace, str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "0 accepted, 0 duplicate, 12 unsupported, 1 invalid"
    assert "\x1b" not in shown
    assert "\u241b]0;title\u2407.jsonl:13" in shown.splitlines()[1]
    assert "[bold]red[/bold]" in shown
    assert len(shown.splitlines()) == 12
    assert shown.splitlines()[-1] == "  and 3 more reasons"


def test_the_workspace_may_come_from_the_environment(
    tmp_path: Path, workspace: str, monkeypatch: pytest.MonkeyPatch, kept: Any
) -> None:
    (tmp_path / "one.json").write_text(json.dumps(ISSUE))
    monkeypatch.setenv("NEURAL_WORKSPACE", workspace)
    assert run(["ingest", "--quiet", str(tmp_path)]) == 0
    assert [disposition for disposition, _, _ in kept()] == ["accepted"]


def test_a_quiet_call_prints_nothing(tmp_path: Path, workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("{")
    assert run(["ingest", "-w", workspace, "-q", str(tmp_path)]) == 1
    assert capsys.readouterr() == ("", "")


def test_the_history_of_a_repository_is_handed_in(tmp_path: Path, ingest: Ingest, engine: Engine) -> None:
    identity = {
        f"GIT_{who}_{what}": "mira@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    for command in (["init", "-q"], *(["commit", "-q", "--allow-empty", "-m", f"change {n}"] for n in range(4))):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, env=os.environ | identity)
    assert counts(ingest("--git", tmp_path, "--limit", 3)[1]) == (3, 0, 0, 0)
    with engine.begin() as connection:
        sql = "select input ->> 'title' from lightfast_workspace_workflow_runs order by id"
        titles = connection.execute(text(sql)).scalars().all()
        assert connection.execute(text("select channel from intakes")).scalar_one() == "git"
    assert [title.rpartition(" ")[2] for title in titles] == ["1", "2", "3"]
