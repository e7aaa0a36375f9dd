"""`neural report`: what the metrics say about a period, as a page. What it tells and how is `metrics.report`."""

import re
import webbrowser
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from neural_pipeline.cli.database import ready_engine
from neural_pipeline.cli.output import print_json, say, warn
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.metrics.frames import Period, last_days
from neural_pipeline.metrics.report.gathering import MOST_DAYS
from neural_pipeline.metrics.report.telling import headlines
from neural_pipeline.metrics.report.wording import period_told
from neural_pipeline.metrics.report.writing import Written, write_report
from neural_pipeline.settings import Settings

_DAYS = re.compile(r"([0-9]{1,4})([dw])")
_EXPECTED = "write 1d, 7d, 2w, or a day like 2026-03-02"


def report(
    *,
    since: Annotated[str, typer.Option(help="1d (today), 7d, 2w, or the first day as 2026-03-02 (UTC).")] = "7d",
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths and all numbers as JSON instead.")] = False,
) -> None:
    """Write what the metrics say about the last days, today included, and compare it with as many days before.

    A page that needs nothing else and a Markdown file with the same tables go below the data folder. The last line
    printed is the path of the page.
    """
    now = datetime.now(UTC)
    period = period_since(since, now=now)
    settings = Settings.load()
    written = write_report(ready_engine(settings), settings, period, now=now)
    if as_json:
        print_json(_plain(written))
    else:
        _show(written)
    if open_ and not webbrowser.open(written.html.as_uri()):
        warn("no browser could be started: open the file yourself")
    if not as_json:
        say(str(written.html))


def period_since(text: str, *, now: datetime) -> Period:
    """Return the whole days (UTC) that `--since` stands for, up to today; raises Refusal."""
    today = last_days(1, now=now)
    if found := _DAYS.fullmatch(text):
        days = int(found[1]) * (7 if found[2] == "w" else 1)
    else:
        days = (today.until - _day_of(text)).days
    if days < 1:
        raise Refusal(f"--since {text[:40]} leaves no day: today is {today.since} (UTC); {_EXPECTED}")
    if days > MOST_DAYS:
        raise Refusal(f"--since {text[:40]} is {days} days: a report tells of {MOST_DAYS} at most")
    return Period(today.until - timedelta(days=days), today.until)


def _day_of(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refusal(f"--since {text[:40]}: a report tells of whole days (UTC), {_EXPECTED}") from None


def _show(written: Written) -> None:
    told = headlines(written.contents)
    width = max((len(one.label) for one in told), default=0)
    say(period_told(written.contents.period))
    for one in told:
        say(f"  {one.label:<{width}}  {one.value:>12}  {one.change}".rstrip())
    say(f"Markdown: {written.markdown}")


def _plain(written: Written) -> dict[str, Any]:
    contents = written.contents
    numbers = {
        figure.number.name: {"value": figure.value, "before": figure.before, "unit": figure.number.unit}
        for section in contents.sections
        for figure in section.figures
    }
    period = {"since": contents.period.since, "until": contents.period.until}
    return {"html": written.html, "markdown": written.markdown, **period, "numbers": numbers}
