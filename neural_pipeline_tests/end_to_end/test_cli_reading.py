"""What `neural ingest` reads and refuses before anything reaches the database."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from neural_pipeline.cli.documents import Delivery, Kind
from neural_pipeline.cli.ingest import CHUNK_BYTES, chunks
from neural_pipeline.cli.main import run
from neural_pipeline.cli.reading import MAX_DOCUMENT, read_stream


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"pull_request": {}}, ("github", "pull_request")),
        ({"issue": {}}, ("github", "issues")),
        ({"issue": {}, "comment": {}}, ("github", "issue_comment")),
        ({"pull_request": {}, "review": {}}, ("github", "pull_request_review")),
        ({"release": {}}, ("github", "release")),
        ({"discussion": {}}, ("github", "discussion")),
        ({"ref": "refs/heads/main", "commits": []}, ("github", "push")),
        ({"type": "deployment.ready", "payload": {}}, ("vercel", "deployment.ready")),
    ],
)
def test_the_kind_of_a_payload_is_told_by_its_keys(payload: object, kind: tuple[str, str]) -> None:
    [delivery] = read_stream(io.BytesIO(json.dumps(payload).encode()), "here", lines=False, given=None)
    assert delivery.kind == kind


def test_a_branch_made_is_not_taken_for_a_push() -> None:
    [delivery] = read_stream(io.BytesIO(b'{"ref": "x", "ref_type": "branch"}'), "here", lines=False, given=None)
    assert delivery.flaw is not None


def test_a_document_beyond_all_measure_is_refused(tmp_path: Path, workspace: str, capsys: Any) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as made:
        made.write(b"{\n")
        made.truncate(MAX_DOCUMENT + 5)
    assert run(["ingest", "-w", workspace, str(file)]) == 2
    assert "larger than 256 MB" in capsys.readouterr().err


def test_a_chunk_ends_with_five_hundred_payloads_or_eight_megabytes() -> None:
    small = Delivery("here", Kind("github", "push"), b"x")
    large = Delivery("here", Kind("github", "push"), b"x" * (CHUNK_BYTES // 2))
    assert list(map(len, chunks(iter([small] * 1001)))) == [500, 500, 1]
    assert list(map(len, chunks(iter([small, large, large, small])))) == [3, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x.json", "--git", "."],
        ["/no/such/file"],
        ["x.json", "--source", "github"],
        ["x.json", "--event-type", "push"],
        ["x.json", "--limit", "3"],
        ["--git", ".", "--source", "github", "--event-type", "push"],
        ["--git", ".", "--limit", "0"],
        ["--git=-x"],
        ["--git", "/no/such/folder"],
    ],
)
def test_wrong_usage_is_told_on_one_line(
    workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["ingest", "-w", workspace, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


def test_a_folder_without_payloads_and_a_missing_workspace_are_wrong_usage(tmp_path: Path, capsys: Any) -> None:
    assert run(["ingest", "-w", "ws_test", str(tmp_path)]) == 2
    assert run(["ingest", str(tmp_path)]) == 2
    assert "--workspace" in capsys.readouterr().err
