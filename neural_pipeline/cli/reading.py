"""Files, folders and standard input as deliveries, in bounded memory. What a document means is `documents`."""

import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from neural_pipeline.cli.documents import Delivery, Kind, deliveries_in, delivery_of_line, parse
from neural_pipeline.cli.refusal import Refusal

MAX_DOCUMENT = 256 * 1024 * 1024
"""The largest document, and the longest line, that is read into memory."""

STANDARD_INPUT = "-"
_LINES = frozenset({".jsonl", ".ndjson"})
_SUFFIXES = _LINES | {".json"}
_BLANKS = b" \t\r\n"
_GOES_ON = (b"{", b"[", b",", b":")


def files_at(path: Path) -> list[Path]:
    """Return the file, or a folder's files in name order; raises Refusal unless there are some and all can be read."""
    if not path.exists():
        raise Refusal(f"{path} does not exist: name a file, a folder, or - for standard input")
    found = _files_below(path) if path.is_dir() else [path]
    if not found:
        raise Refusal(f"{path} holds no file that ends in {', '.join(sorted(_SUFFIXES))}")
    unreadable = next((file for file in found if not os.access(file, os.R_OK)), None)
    if unreadable is not None:
        raise Refusal(f"{unreadable} cannot be read: change its permissions or leave it out; nothing was taken in")
    return found


def _files_below(folder: Path) -> list[Path]:
    # Not rglob: whether it follows links to folders depends on the version of Python.
    found = (
        Path(place) / name for place, _, names in os.walk(folder) for name in names if Path(name).suffix in _SUFFIXES
    )
    return sorted(file for file in found if file.is_file())


def read_files(files: list[Path], *, given: Kind | None) -> Iterator[Delivery]:
    """Yield the deliveries in files; a file of JSON lines is read by line, any other as a document or as lines."""
    for file in files:
        with file.open("rb") as stream:
            yield from read_stream(stream, str(file), lines=file.suffix in _LINES, given=given)


def read_standard_input(*, given: Kind | None) -> Iterator[Delivery]:
    """Yield the deliveries that standard input holds, by line where it is JSON lines."""
    return read_stream(sys.stdin.buffer, "standard input", lines=False, given=given)


def read_stream(stream: IO[bytes], place: str, *, lines: bool, given: Kind | None) -> Iterator[Delivery]:
    """Yield the deliveries in a stream; without `lines` its first two lines decide whether it is JSON lines."""
    numbered = _numbered(stream, place)
    opening = [] if lines else _opening(numbered)
    if lines or _are_json_lines([line for _, line in opening if line.strip(_BLANKS)]):
        yield from _by_line(chain(opening, numbered), place, given=given)
        return
    body = b"".join(line for _, line in opening)
    body += stream.read(MAX_DOCUMENT + 1 - len(body))
    _require_bounded(len(body), place)
    yield from deliveries_in(body, place, given=given)


def _by_line(numbered: Iterator[tuple[int, bytes]], place: str, *, given: Kind | None) -> Iterator[Delivery]:
    for number, line in numbered:
        if line.strip(_BLANKS):
            yield delivery_of_line(line.rstrip(b"\r\n"), f"{place}:{number}", given=given)


def _numbered(stream: IO[bytes], place: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_DOCUMENT + 1):
        number += 1
        _require_bounded(len(line), f"line {number} of {place}")
        yield number, line


def _opening(numbered: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Read up to the second line that is not blank."""
    opening: list[tuple[int, bytes]] = []
    filled = size = 0
    for number, line in numbered:
        opening.append((number, line))
        filled += bool(line.strip(_BLANKS))
        size += len(line)
        if filled == 2 or size > MAX_DOCUMENT:
            break
    return opening


def _are_json_lines(opening: list[bytes]) -> bool:
    """Tell from two lines: the first is an object, or it is broken and the second is one.

    What ends inside an object or a list is a document that goes on.
    """
    if len(opening) < 2:
        return False
    first, second = opening
    if _is_object(first):
        return True
    return not first.strip(_BLANKS).endswith(_GOES_ON) and _is_object(second)


def _is_object(line: bytes) -> bool:
    return isinstance(parse(line)[0], dict)


def _require_bounded(size: int, place: str) -> None:
    if size > MAX_DOCUMENT:
        raise Refusal(
            f"{place} is larger than {MAX_DOCUMENT >> 20} MB: write one payload per line into a file ending in .jsonl"
        )
