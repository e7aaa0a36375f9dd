"""The report as Markdown: the same numbers and tables as the page, without charts."""

import re
from collections.abc import Iterable, Iterator

from neural_pipeline.metrics.definition import Area
from neural_pipeline.metrics.report.gathering import Contents
from neural_pipeline.metrics.report.telling import Part, Table, Told, headlines, is_numeric, parts_of
from neural_pipeline.metrics.report.wording import about, column_title, period_told, titled

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@])")
_LINK = re.compile(r"(?i)(https?|ftp|mailto|xmpp)(:)|(www)(\.)")


def markdown_of(contents: Contents) -> str:
    """Return the report; text from outside is escaped, so that it is text in whatever shows it."""
    return "\n".join(_lines(contents)) + "\n"


def escaped(text: str) -> str:
    """Return one line of text that means itself: no markup, no HTML, no link, no end of a table's cell."""
    return _LINK.sub(r"\1\3\\\2\4", _SPECIAL.sub(r"\\\1", text))


def _lines(contents: Contents) -> Iterator[str]:
    yield f"# neural_pipeline report, {period_told(contents.period)}"
    yield ""
    yield escaped(about(contents.period, contents.before, now=contents.read_at))
    yield ""
    yield from _grid(("number", "value", "change"), (_told_row(told) for told in headlines(contents)))
    for area in Area:
        yield from ("", f"## {titled(area)}")
        for part in parts_of(contents, area):
            yield from ("", *_part(part))


def _told_row(told: Told) -> tuple[str, ...]:
    return escaped(told.label), escaped(told.value), escaped(told.change)


def _part(part: Part) -> Iterator[str]:
    yield from (f"### {titled(part.view.name)}", "", escaped(part.view.description), "")
    for told in part.figures:
        change = f" ({escaped(told.change)})" if told.change else ""
        yield f"- {escaped(told.label)}: **{escaped(told.value)}**{change}. {escaped(told.meaning)}"
    yield from ("", *(_nothing(part) if part.nothing else _table(part.table)), "")
    yield f"Rows behind this ({'command' if part.is_command else 'SQL'}; docs/metrics.md, `{part.view.name}`):"
    yield from _block(part.rows_behind)
    for told in part.figures:
        if told.rows_behind:
            yield from ("", f"Of these, the rows behind `{told.name}`:", *_block(told.rows_behind))
    if part.table.left_out:
        yield from ("", "The whole table (SQL):", *_block(part.whole))


def _block(code: str) -> Iterator[str]:
    yield from ("", *(f"    {line}" for line in code.splitlines()))


def _nothing(part: Part) -> Iterator[str]:
    yield part.nothing


def _table(table: Table) -> Iterator[str]:
    titles = [escaped(column_title(column)) for column in table.columns]
    rows = (tuple(escaped(cell.text) for cell in row) for row in table.rows)
    yield from _grid(titles, rows, right=[is_numeric(column) for column in table.columns])
    if table.left_out:
        yield from ("", table.left_out)


def _grid(
    titles: Iterable[str], rows: Iterable[Iterable[str]], *, right: Iterable[bool] | None = None
) -> Iterator[str]:
    heads = list(titles)
    sides = list(right or [False] * len(heads))
    yield _bars(heads)
    yield _bars("---:" if side else "---" for side in sides)
    yield from (_bars(row) for row in rows)


def _bars(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
