"""`neural doctor`: says whether the installation works and what to do where it does not; changes nothing, never hangs.

Which checks there are is in `examination`, what counts as wrong in `checkup` and `checkup_dagster`.
"""

from collections.abc import Iterable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Annotated

import typer

from neural_pipeline.cli.examination import Examination
from neural_pipeline.cli.findings import Finding, Status, failed
from neural_pipeline.cli.output import ExitCode, flat, print_json, say
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings

_ODD_SECONDS = 30.0
"""Seconds beside its queries that a check may need: importing Dagster on a busy machine."""


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of lines.")] = False,
    timeout: Annotated[float, typer.Option(min=2, max=3600, help="Seconds a query may take.")] = 10.0,
) -> None:
    """Check server, schema, daemon, sensors, waiting events, stuck rows, Dagster's runs and the accounting.

    One line per check: ok, warn, FAIL or skip, the check, what was found, what to do. Nothing is changed. Exit code 1
    if a check fails; a warning does not count.
    """
    settings = Settings.load()
    examination = Examination(resolve_database(settings), settings, timeout)
    findings: list[Finding] = []
    for finding in in_time(examination.findings(), seconds=_ODD_SECONDS + 3 * timeout):
        findings.append(finding)
        if not as_json:
            say(flat(finding.line()))
    if as_json:
        print_json([_plain(finding) for finding in findings])
    if any(finding.status is Status.FAIL for finding in findings):
        raise typer.Exit(ExitCode.INVALID)


def _plain(finding: Finding) -> dict[str, str | None]:
    return {"check": finding.check, "status": finding.status, "found": finding.found, "todo": finding.todo}


def in_time(findings: Iterable[Finding], *, seconds: float) -> Iterator[Finding]:
    """Yield findings as they are made, by a thread that is left behind if one takes longer than that.

    A server that stops answering in the middle keeps no time-out of its own.
    """
    arrived: SimpleQueue[Finding | BaseException | None] = SimpleQueue()

    def make() -> None:
        try:
            for finding in findings:
                arrived.put(finding)
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    Thread(target=make, name="examination", daemon=True).start()
    while True:
        try:
            found = arrived.get(timeout=seconds)
        except Empty:
            yield failed("doctor", f"no answer for {seconds:.0f} s: the rest was not examined", "`neural db status`")
            return
        if isinstance(found, BaseException):
            raise found
        if found is None:
            return
        yield found
