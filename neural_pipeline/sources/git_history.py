"""The history of a local git repository as raw records, one per commit, and what a record says.

A record is a head of our own (format, repository, web address, branch, number of files) and then the bytes exactly as
`git log` printed them, all separated by NUL, which no part can contain. Its event is made in git_commit.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import JsonValue

from neural_pipeline.sources.errors import HistoryUnavailable, InvalidPayload
from neural_pipeline.sources.payload import MAX_NAME
from neural_pipeline.sources.sanitation import one_line

FORMAT = b"git-commit-1"
MAX_FILES = 100
_CHUNK = 1 << 16
_HEAD = 5
_COMMIT = 5
_SHA = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_GITHUB_HOSTS = frozenset({"github.com", "www.github.com", "ssh.github.com"})
# A repository's own configuration may name programs; none of these settings lets git start one or reach the network.
_GIT = (
    "git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "core.quotePath=false",
    "-c", "log.showRoot=true", "-c", "diff.orderFile=/dev/null", "-c", "protocol.allow=never",
)  # fmt: skip
_LOG = (
    "log", "-z", "--reverse", "--raw", "--no-renames", "--no-relative", "--no-ext-diff", "--no-textconv", "--no-color",
    "--no-show-signature", "--encoding=UTF-8", "--format=tformat:%x00%H%x00%aN%x00%aE%x00%aI%x00%B",
)  # fmt: skip


class _Repository(NamedTuple):
    name: str
    url: str
    branch: str


def _environment() -> dict[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith("GIT_CONFIG")
    }
    kept.pop("LANGUAGE", None)
    never = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    return {**kept, **never, "LC_ALL": "C"}


def _folder(path: Path | str) -> Path:
    if str(path).startswith("-"):
        raise HistoryUnavailable(f"{one_line(str(path))} looks like an option: give the absolute path of the folder")
    try:
        folder = Path(path).resolve()
        exists, is_folder = folder.exists(), folder.is_dir()
    except (OSError, ValueError, RuntimeError):
        raise HistoryUnavailable(f"{one_line(str(path))!r} is not a path that can be read") from None
    if not exists:
        raise HistoryUnavailable(f"{one_line(str(folder))} does not exist: name the folder of a git repository")
    if not is_folder:
        raise HistoryUnavailable(f"{one_line(str(folder))} is a file: name the folder of a git repository")
    return folder


def _command(folder: Path, *arguments: str) -> list[str]:
    return [*_GIT, "-C", str(folder), *arguments]


def _ask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            _command(folder, *arguments), env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        raise HistoryUnavailable("git cannot be started: install git and see that it is on PATH") from None


def _answer(folder: Path, *arguments: str) -> str:
    answer = _ask(folder, *arguments)
    return os.fsdecode(answer.stdout.removesuffix(b"\n")) if answer.returncode == 0 else ""


def _failure(folder: Path, complaint: bytes) -> HistoryUnavailable:
    lines = [one_line(line.strip()) for line in complaint.decode(errors="replace").splitlines()]
    where = one_line(str(folder))
    trust = next((line for line in lines if "safe.directory" in line), None)
    if trust is not None:
        return HistoryUnavailable(f"{where} belongs to another user: if you trust it, run `{trust}`")
    if any("not a git repository" in line for line in lines):
        return HistoryUnavailable(f"{where} is not in a git repository: name a folder inside one")
    if any("promisor remote" in line for line in lines):
        return HistoryUnavailable(f"{where} is a partial clone: run `git fetch --refetch --no-filter` in it first")
    fatal = next((line for line in lines if line.startswith("fatal: ")), "it gave no reason")
    return HistoryUnavailable(f"git cannot read {where}: {fatal.removeprefix('fatal: ')}")


def _require_readable(folder: Path) -> None:
    probe = _ask(folder, "rev-parse", "--is-shallow-repository")
    if probe.returncode:
        raise _failure(folder, probe.stderr)
    where = one_line(str(folder))
    if probe.stdout.strip() == b"true":
        raise HistoryUnavailable(f"{where} is a shallow clone: run `git fetch --unshallow` in it first")
    if not _answer(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        raise HistoryUnavailable(f"{where} has no commits yet: make one, or check out a branch that has some")


def owner_and_name(remote: str) -> tuple[str, str] | None:
    """Return the host and `owner/name` of a remote's URL, without any credentials; None when it names a local path."""
    scheme, separator, rest = remote.partition("://")
    if separator:
        place, _, path = rest.partition("/")
        host = place.rpartition("@")[2].partition(":")[0]
    else:
        place, _, path = remote.partition(":")
        host = "" if "/" in place else place.rpartition("@")[2]
    parts = [part for part in path.removesuffix("/").removesuffix(".git").split("/") if part]
    if not host or scheme == "file" or len(parts) < 2:
        return None
    return host.lower(), "/".join(parts[-2:])


def _folder_name(folder: Path) -> str:
    store = (folder / _answer(folder, "rev-parse", "--git-common-dir")).resolve()
    return (store.parent.name if store.name == ".git" else store.name.removesuffix(".git")) or "repository"


def _describe(folder: Path) -> _Repository:
    remote = owner_and_name(_answer(folder, "remote", "get-url", "origin"))
    branch = _answer(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    if remote is None:
        return _Repository(_folder_name(folder), "", branch)
    host, name = remote
    return _Repository(name, f"https://github.com/{name}" if host in _GITHUB_HOSTS else "", branch)


@contextmanager
def _running(command: list[str], complaints: IO[bytes]) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
    )
    try:
        yield process
    finally:
        process.terminate()
        if process.stdout:
            process.stdout.close()
        process.wait()


def _tokens(git: subprocess.Popen[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    while chunk := git.stdout.read(_CHUNK) if git.stdout else b"":
        first, *more = chunk.split(b"\0")
        pending.append(first)
        if more:
            yield b"".join(pending)
            yield from more[:-1]
            pending = [more[-1]]


def _log(folder: Path, limit: int | None) -> Generator[bytes]:
    count = () if limit is None else (f"--max-count={limit}",)
    with (
        tempfile.TemporaryFile() as complaints,
        _running(_command(folder, *_LOG, *count, "HEAD", "--"), complaints) as git,
    ):
        yield from _tokens(git)
        if git.wait():
            complaints.seek(0)
            raise _failure(folder, complaints.read(_CHUNK))


def _commits(tokens: Iterator[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    # An empty token opens a commit; each changed file is two tokens, what happened and the path, neither of them empty.
    opening = next(tokens, None)
    while opening is not None:
        fields, files = list(islice(tokens, _COMMIT)), 0
        if opening or len(fields) < _COMMIT or not _SHA.fullmatch(fields[0]):
            raise HistoryUnavailable("git log printed something this version cannot read: try another version of git")
        while opening := next(tokens, None):
            path, files = next(tokens, b""), files + 1
            fields += [opening, path] if files <= MAX_FILES else []
        yield files, fields


def _records(folder: Path, repository: _Repository, limit: int | None) -> Iterator[bytes]:
    start = [FORMAT, *map(os.fsencode, repository)]
    with closing(_log(folder, limit)) as tokens:
        for files, fields in _commits(tokens):
            yield b"\0".join([*start, str(files).encode(), *fields, b""])


def read_history(path: Path | str, *, limit: int | None = None) -> Iterator[bytes]:
    """Yield one raw record per commit reachable from HEAD, oldest first; `limit` keeps only the newest that many.

    A folder inside a repository stands for that repository. Merges list no files; of the files of other commits the
    first 100 are kept and all are counted. Raises HistoryUnavailable at once, or while reading when git fails later.
    """
    if limit is not None and limit < 0:
        raise ValueError("limit must not be negative")
    folder = _folder(path)
    _require_readable(folder)
    return _records(folder, _describe(folder), limit)


def _decoded(field: bytes, path: str) -> str:
    try:
        return field.decode()
    except UnicodeDecodeError:
        raise InvalidPayload(path, "is not UTF-8") from None


def _shown(field: bytes) -> str:
    return field.decode(errors="replace")[:MAX_NAME]


def parse_record(body: bytes) -> dict[str, JsonValue]:
    """Return the record of one commit as a JSON object; names of files that are not UTF-8 are repaired.

    Raises InvalidPayload when it is no record, or when author or message are not UTF-8.
    """
    fields = body.split(b"\0")
    head, commit, changes = fields[:_HEAD], fields[_HEAD : _HEAD + _COMMIT], fields[_HEAD + _COMMIT : -1]
    if len(commit) < _COMMIT or fields[-1] or head[0] != FORMAT or not head[4].isdigit() or len(head[4]) > 18:
        raise InvalidPayload("", "is not a record of git history")
    _, name, url, branch, files = head
    sha, author, email, date, message = commit
    if not _SHA.fullmatch(sha):
        raise InvalidPayload("sha", "is not the name of a commit")
    return {
        "repository": {"name": _shown(name), "url": _shown(url)},
        "branch": _shown(branch),
        "sha": sha.decode(),
        "author": {
            "name": _decoded(author, "author.name"),
            "email": _decoded(email, "author.email"),
            "date": _decoded(date, "author.date"),
        },
        "message": _decoded(message, "message"),
        "files": [_shown(change) for change in changes[1::2]],
        "fileCount": int(files),
    }
