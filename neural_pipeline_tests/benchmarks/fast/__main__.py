"""`make bench`: everything measured in one go; the last line sums it up. Exit code 1 if anything ended differently."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from neural_pipeline_tests.benchmarks.fast.contest import GROWTH, OWN, QUEUES, SHORT, Contest, Plan
from neural_pipeline_tests.benchmarks.fast.report import as_json, as_markdown, end_line


def plan_of(given: argparse.Namespace) -> Plan:
    """Return what is to be measured."""
    plan = SHORT if given.short else Plan()
    asked = {
        "events": given.events,
        "singly": given.singly,
        "workspaces": given.workspaces and tuple(given.workspaces),
        "without": given.without and tuple(given.without),
    }
    return replace(plan, **{name: value for name, value in asked.items() if value})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline_tests.benchmarks.fast", description=__doc__)
    parser.add_argument("--events", type=int, help=f"default: {Plan.events}, and {SHORT.events} with --short")
    parser.add_argument("--singly", type=int, help=f"for contestants that go event by event; {Plan.singly}")
    parser.add_argument("--workspaces", type=int, action="append", help="again for another number; default: 20 and 1")
    parser.add_argument("--without", choices=(OWN, QUEUES, GROWTH), action="append", help="leave out this part")
    parser.add_argument("--short", action="store_true", help="a few minutes, figures that only show that it works")
    parser.add_argument("--json", type=Path, help="write all results there")
    parser.add_argument("--markdown", type=Path, help="write the tables there")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write."""
    given = parse(arguments)
    results = Contest(plan_of(given)).hold()
    tables = as_markdown(results)
    print("", tables, sep="\n")
    for file, text in ((given.json, as_json(results)), (given.markdown, tables)):
        if file is not None:
            file.write_text(text, encoding="utf-8")
    print(end_line(results), flush=True)
    return 1 if results.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
