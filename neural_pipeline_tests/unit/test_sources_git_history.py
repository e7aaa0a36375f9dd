"""Real git repositories: what is read, in which order, and what is said when they cannot be read."""

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from neural_pipeline.sources.git_history import parse_record, read_history
from neural_pipeline.sources.intake import DEFAULT_ALLOWED, Judgement, judge

RECEIVED = datetime(2030, 1, 1, tzinfo=UTC)
WHEN = b"1704535200 +0000"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    identity = ["-c", "user.name=Ada", "-c", "user.email=Ada@Example.com", "-c", "commit.gpgSign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    moments = {"GIT_AUTHOR_DATE": "2024-01-06T11:00:00+01:00", "GIT_COMMITTER_DATE": "2024-01-06T11:00:00+01:00"}
    return subprocess.run(command, input=given, env=os.environ | moments, check=True, capture_output=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "platform"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def commit(folder: Path, message: str, *options: str, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    cleanup = ["--allow-empty", "--allow-empty-message", "--cleanup=verbatim"]
    git(folder, "commit", "--quiet", *cleanup, "--message", message, *options)


def add_raw_commit(
    folder: Path, author: bytes, message: bytes = b"Hello\n", *, when: bytes = WHEN, after: bytes = WHEN
) -> None:
    tree = git(folder, "mktree").strip()
    text = b"tree %b\nauthor %b %b\ncommitter c <c@example.com> %b\n\n%b" % (tree, author, when, after, message)
    sha = git(folder, "hash-object", "--literally", "-w", "-t", "commit", "--stdin", given=text).strip().decode()
    git(folder, "update-ref", "refs/heads/main", sha)


def records(folder: Path, **options: Any) -> list[dict[str, Any]]:
    return [parse_record(record) for record in read_history(folder, **options)]


def judged(record: bytes) -> Judgement:
    received = {"delivery_id": "d", "received_at": RECEIVED}
    return judge("git", "push", record, **received, allowed=DEFAULT_ALLOWED, max_bytes=1_000_000)


def only(folder: Path) -> Judgement:
    (record,) = read_history(folder)
    return judged(record)


def test_a_commit_becomes_an_event(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://user:secret@github.com/acme/platform.git")
    commit(repository, "Say hello\n\nAt length.\n", a="1", b="2")
    sha = git(repository, "rev-parse", "HEAD").decode().strip()
    judgement = only(repository)
    assert judgement.event is not None
    home = "https://github.com/acme/platform"
    assert judgement.event.to_json() == {
        "source": "git",
        "sourceType": "push",
        "sourceId": f"push:acme/platform:{sha}@2024-01-06T10:00:00Z",
        "title": "[Push] Say hello",
        "body": "Say hello\n\nAt length.",
        "actor": {"id": "ada@example.com", "name": "Ada", "email": "Ada@example.com"},
        "occurredAt": "2024-01-06T10:00:00Z",
        "references": [
            {"type": "commit", "id": sha, "url": f"{home}/commit/{sha}"},
            {"type": "branch", "id": "main", "url": f"{home}/tree/main"},
        ],
        "metadata": {
            "deliveryId": "d",
            "repoFullName": "acme/platform",
            "branch": "main",
            "afterSha": sha,
            "commitCount": 1,
            "fileCount": 2,
            "files": ["a", "b"],
        },
    }


def test_commits_come_oldest_first_and_a_limit_keeps_the_newest(repository: Path) -> None:
    for number in range(4):
        commit(repository, f"{number}")
    assert [record["message"] for record in records(repository)] == ["0\n", "1\n", "2\n", "3\n"]
    assert [record["message"] for record in records(repository, limit=2)] == ["2\n", "3\n"]
    assert records(repository, limit=0) == []
    with pytest.raises(ValueError, match="negative"):
        read_history(repository, limit=-1)


def test_a_record_holds_the_bytes_of_git_and_no_password(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://user:secret@github.com/acme/platform.git")
    commit(repository, "Hello", a="1")
    (record,) = read_history(repository)
    layout = "--format=tformat:%x00%H%x00%aN%x00%aE%x00%aI%x00%B"
    assert record.endswith(git(repository, "log", "-z", "--raw", layout).removeprefix(b"\0"))
    assert b"secret" not in record


def test_odd_messages_and_file_names_keep_commits_apart(repository: Path) -> None:
    odd = {":100644 x": "1", "new\nline": "2", " ": "3", "-n": "4"}
    commit(repository, "", **odd)
    commit(repository, "\n\n\x01:000000 100644 \x1e%x00 diff --git a/b\ncommit abc\n")
    commit(repository, "", last="5")
    first, second, third = records(repository)
    assert sorted(first["files"]) == sorted(odd)
    assert (first["message"], second["message"]) == ("", "\n\n\x01:000000 100644 \x1e%x00 diff --git a/b\ncommit abc\n")
    assert (second["files"], third["files"], third["fileCount"]) == ([], ["last"], 1)


def test_a_merge_lists_no_files(repository: Path) -> None:
    commit(repository, "base", a="1")
    git(repository, "checkout", "--quiet", "-b", "side")
    commit(repository, "side", b="1")
    git(repository, "checkout", "--quiet", "main")
    commit(repository, "main", c="1")
    git(repository, "merge", "--quiet", "--message", "merged", "side")
    assert [record["fileCount"] for record in records(repository)][-1] == 0
    assert len(records(repository)) == 4


def test_files_over_one_hundred_are_counted_only(repository: Path) -> None:
    commit(repository, "many", **{f"f{number:03}": "x" for number in range(130)})
    commit(repository, "after", z="1")
    many, after = records(repository)
    assert (len(many["files"]), many["fileCount"], after["files"]) == (100, 130, ["z"])


def test_the_mailmap_of_the_repository_is_respected(repository: Path) -> None:
    commit(repository, "Hello", **{".mailmap": "Countess Ada <countess@example.com> <ada@example.com>\n"})
    assert records(repository)[0]["author"]["email"] == "countess@example.com"


@pytest.mark.parametrize(
    ("author", "identity", "name", "email"),
    [
        (b"Ada <>", "Ada", "Ada", None),
        (b" <X@localhost>", "x@localhost", "X@localhost", None),
        (b"[bold]\x1b[31m&lt; <A@B.example>", "a@b.example", "[bold]\x1b[31m&lt;", "A@b.example"),
    ],
)
def test_odd_authors_are_kept(repository: Path, author: bytes, identity: str, name: str, email: str | None) -> None:
    add_raw_commit(repository, author)
    event = only(repository).event
    assert event is not None
    assert event.actor is not None
    assert (event.actor.id, event.actor.name, event.actor.email) == (identity, name, email)


def test_a_commit_without_author_has_no_actor(repository: Path) -> None:
    add_raw_commit(repository, b" <>")
    event = only(repository).event
    assert event is not None
    assert event.actor is None


@pytest.mark.parametrize(
    ("author", "message", "reason"),
    [
        ("Andr\xe9 <a@example.com>", "Hello", "author.name is not UTF-8"),
        ("A <andr\xe9@example.com>", "Hello", "author.email is not UTF-8"),
        ("A <a@example.com>", "caf\xe9", "message is not UTF-8"),
    ],
)
def test_text_that_is_not_utf_8_is_invalid_and_stays_in_the_record(
    repository: Path, author: str, message: str, reason: str
) -> None:
    add_raw_commit(repository, author.encode("latin-1"), message.encode("latin-1"))
    (record,) = read_history(repository)
    assert judged(record) == Judgement("invalid", None, reason)
    assert b"\xe9" in record


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        (b"99999999999 +0000", "author.date lies more than one day after it was received"),
        (b"1704535200 +9959", "author.date is not an ISO-8601 time: '2024-01-10T13:59:00+99:59'"),
    ],
)
def test_an_unbelievable_date_is_invalid(repository: Path, when: bytes, reason: str) -> None:
    add_raw_commit(repository, b"A <a@example.com>", when=when)
    assert only(repository) == Judgement("invalid", None, reason)


def test_a_commit_in_another_declared_encoding_is_read(repository: Path) -> None:
    git(repository, "config", "i18n.commitEncoding", "latin1")
    git(repository, "config", "i18n.logOutputEncoding", "latin1")
    git(repository, "commit", "--quiet", "--allow-empty", "--file=-", given="café".encode("latin-1"))
    assert records(repository)[0]["message"] == "café\n"


def test_without_a_remote_it_is_named_after_its_folder_from_wherever_it_is_read(
    repository: Path, tmp_path: Path
) -> None:
    commit(repository, "Hello")
    inside = repository / "deep" / "er"
    inside.mkdir(parents=True)
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "copy.git")
    git(tmp_path / "copy.git", "remote", "remove", "origin")
    names = [records(folder)[0]["repository"]["name"] for folder in (repository, inside, repository / ".git")]
    assert names == ["platform"] * 3
    assert records(tmp_path / "copy.git")[0]["repository"] == {"name": "copy", "url": ""}


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    commit(repository, "Hello")
    git(repository, "checkout", "--quiet", "--detach")
    event = only(repository).event
    assert event is not None
    assert "branch" not in event.metadata
    assert [reference.type for reference in event.references] == ["commit"]


def test_settings_of_the_repository_start_no_program(repository: Path) -> None:
    marker = repository.parent / "started"
    program = repository.parent / "program"
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\n")
    program.chmod(0o755)
    signed = WHEN + b"\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    add_raw_commit(repository, b"A <a@example.com>", after=signed)
    for key in ("core.fsmonitor", "core.pager", "diff.external", "gpg.program", "core.sshCommand"):
        git(repository, "config", key, str(program))
    git(repository, "config", "log.showSignature", "true")
    git(repository, "log")
    assert marker.exists(), "plain git does start the program, so the next lines prove something"
    marker.unlink()
    assert len(records(repository)) == 1
    assert not marker.exists()


def test_git_variables_of_the_caller_do_not_choose_the_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, "Hello")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert [record["message"] for record in records(repository)] == ["Hello\n"]


@pytest.fixture
def long_history(repository: Path) -> Path:
    lines = [
        b"commit refs/heads/main\ncommitter A <a@example.com> %d +0000\ndata 2000\n%b\nM 100644 inline f\ndata 1\nx\n"
        % (1_700_000_000 + number, b"m" * 2_000)
        for number in range(5_000)
    ]
    git(repository, "fast-import", "--quiet", given=b"".join(lines))
    return repository


def test_five_thousand_commits_stream_quickly(long_history: Path) -> None:
    started = time.perf_counter()
    assert sum(1 for _ in read_history(long_history)) == 5_000
    assert time.perf_counter() - started < 20


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_git_is_ended_and_reaped_when_the_reader_stops_early(long_history: Path) -> None:
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("this system does not list child processes")
    before, history = children(), read_history(long_history)
    next(history)
    assert len(children() - before) == 1
    assert isinstance(history, Iterator)
    history.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert children() == before
