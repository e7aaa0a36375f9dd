"""How the command line shows things: text from outside made harmless, tables, JSON. What is shown it does not know."""

import json
import os
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import IO, TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_JOINERS = "\u200c\u200d"
_BREAKS = re.compile(r"[\r\n\t\v\f\u0085\u2028\u2029]+")
_PIPE_WIDTH = 200


class ExitCode(IntEnum):
    """What the process ends with."""

    DONE = 0
    INVALID = 1
    USAGE = 2
    NOT_RUNNING = 3
    DATABASE = 4
    UNEXPECTED = 70


def visible(text: str) -> str:
    """Return text without a character that a terminal would obey: control characters become pictures or escapes."""
    return text if text.isprintable() else "".join(map(_picture, text))


def flat(text: str) -> str:
    """Return text made visible on one line."""
    return visible(_BREAKS.sub(" ", text))


def _picture(character: str) -> str:
    code = ord(character)
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def lines_of(text: str) -> list[str]:
    """Split text at line feeds and make each line visible."""
    return [visible(line) for line in text.split("\n")]


def console(*, file: IO[str] | None = None) -> "Console":
    """Return a console that takes no markup; output into a pipe is wide, as nobody can widen it."""
    from rich.console import Console  # commands that draw nothing do not wait for it

    target = file or sys.stdout
    width = None if target.isatty() or os.environ.get("COLUMNS") else _PIPE_WIDTH
    return Console(file=target, markup=False, emoji=False, highlight=False, width=width)


def table(headings: Sequence[str], *, sharing: Mapping[str, int] | None = None, fold: bool = False) -> "Table":
    """Return a table whose columns are as wide as their text, but for those that share what width is left.

    Text that is too long is cut, with `fold` it goes on in the next line.
    """
    from rich.table import Table

    shares = sharing or {}
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), expand=bool(shares))
    for heading in headings:
        overflow = "fold" if fold else "ellipsis"
        made.add_column(heading, no_wrap=not fold, overflow=overflow, ratio=shares.get(heading))
    return made


def cell(value: object, *, style: str = "") -> "Text":
    """Return a value as the text of a table cell."""
    from rich.text import Text

    return Text("" if value is None else flat(moment(value) if isinstance(value, datetime) else str(value)), style)


def moment(value: datetime) -> str:
    """Return a time to the second."""
    return value.strftime("%Y-%m-%d %H:%M:%S")


def say(line: str) -> None:
    """Print a line for people on standard output."""
    typer.echo(visible(line))


def warn(line: str) -> None:
    """Print a line for people on standard error."""
    typer.echo(flat(line), err=True)


def print_json(value: object) -> None:
    """Print a value as one JSON document, all in ASCII, so that no terminal obeys it."""
    typer.echo(json.dumps(value, default=_plain, indent=2))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
