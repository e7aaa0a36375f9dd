"""Records of git history without a repository: the name behind a remote, and bytes that are no record."""

import pytest

from neural_pipeline.sources.errors import InvalidPayload
from neural_pipeline.sources.git_history import owner_and_name, parse_record


@pytest.mark.parametrize(
    ("remote", "found"),
    [
        ("https://github.com/acme/platform.git", ("github.com", "acme/platform")),
        ("https://token@GitHub.com/acme/platform/", ("github.com", "acme/platform")),
        ("git@github.com:acme/platform.git", ("github.com", "acme/platform")),
        ("ssh://git@host.example:2222/group/sub/name.git", ("host.example", "sub/name")),
        ("/srv/git/acme/platform.git", None),
        ("file:///srv/git/acme/platform.git", None),
        ("../acme/platform", None),
        ("./odd:acme/platform/name", None),
        ("https://host.example/single", None),
        ("", None),
    ],
)
def test_the_repository_is_named_after_its_remote(remote: str, found: tuple[str, str] | None) -> None:
    assert owner_and_name(remote) == found


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"x",
        b"git-commit-1\0\0\0\0",
        b"git-commit-1\0r\0\0\0x\0a\0b\0c\0d\0e\0",
        b"git-commit-1\0r\0\0\0000\0a\0b\0c\0d\0e",
    ],
)
def test_bytes_that_are_no_record_are_refused(record: bytes) -> None:
    with pytest.raises(InvalidPayload, match="not a record of git history"):
        parse_record(record)


def test_a_record_of_no_commit_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="sha is not the name of a commit"):
        parse_record(b"git-commit-1\0r\0\0\x000\0abc\0n\0e\0d\0m\0")
