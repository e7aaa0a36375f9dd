"""Git repositories that cannot be read: each is refused in one line that says what to do."""

import os
import subprocess
from pathlib import Path

import pytest

from neural_pipeline.sources.errors import HistoryUnavailable
from neural_pipeline.sources.git_history import read_history


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str) -> bytes:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgSign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "platform"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def commit(folder: Path, message: str, text: str = "1") -> None:
    (folder / "a").write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


def refusal(path: Path | str) -> str:
    with pytest.raises(HistoryUnavailable) as raised:
        read_history(path)
    assert str(raised.value).isprintable()
    return str(raised.value)


def test_a_damaged_repository_says_so_instead_of_ending_quietly(repository: Path) -> None:
    commit(repository, "first")
    commit(repository, "second", "2")
    sha = git(repository, "rev-parse", "HEAD~1").decode().strip()
    (repository / ".git" / "objects" / sha[:2] / sha[2:]).unlink()
    history = read_history(repository)
    with pytest.raises(HistoryUnavailable, match="git cannot read"):
        list(history)


def test_a_path_that_is_no_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "nowhere").endswith("nowhere does not exist: name the folder of a git repository")
    assert refusal(tmp_path / "file").endswith("file is a file: name the folder of a git repository")
    assert refusal(tmp_path).endswith("is not in a git repository: name a folder inside one")
    assert "not a path" in refusal("a\0b\n")


@pytest.mark.parametrize("path", ["--upload-pack=touch x", "-C", "--help"])
def test_a_path_that_looks_like_an_option_is_refused(path: str) -> None:
    assert "looks like an option" in refusal(path)


def test_an_empty_repository_is_refused(repository: Path) -> None:
    assert "has no commits yet" in refusal(repository)


def test_a_shallow_clone_is_refused_and_told_how_to_deepen(repository: Path, tmp_path: Path) -> None:
    commit(repository, "first")
    commit(repository, "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    assert "git fetch --unshallow" in refusal(tmp_path / "shallow")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_a_repository_of_another_user_is_refused_naming_the_command(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, "first")
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12345, 12345)
    assert f"git config --global --add safe.directory {repository}" in refusal(repository)


def test_a_machine_without_git_is_told_to_install_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(repository, "first")
    monkeypatch.setenv("PATH", str(repository))
    assert "install git" in refusal(repository)


def test_a_partial_clone_fetches_nothing_and_is_told_how_to_be_completed(repository: Path, tmp_path: Path) -> None:
    commit(repository, "first")
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--bare", "--filter=tree:0", f"file://{repository}", "partial")
    history = read_history(tmp_path / "partial")
    with pytest.raises(HistoryUnavailable, match="git fetch --refetch --no-filter"):
        list(history)
