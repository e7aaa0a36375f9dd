"""The progress bar of an intake, on standard error and only where somebody looks at it."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from neural_pipeline.cli.output import console


@contextmanager
def intake_progress(size: int | None, *, quiet: bool) -> Generator[Callable[[int, int], None]]:
    """Yield a function that is told how many payloads and bytes went in; `size` is all bytes, where it is known."""
    if quiet or not sys.stderr.isatty():
        yield lambda _payloads, _size: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.fields[payloads]} payloads"), TimeElapsedColumn())
    with Progress(*columns, console=console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("", total=size, payloads=0)

        def advance(payloads: int, size_of_them: int) -> None:
            before = int(progress.tasks[task].fields["payloads"])
            progress.update(task, advance=size_of_them, payloads=before + payloads)

        yield advance
