"""`python -m neural_pipeline_tests.faults [NAME...] [--events N] [--write FILE]`: faults, table, last line."""

import argparse
import re
import sys
from pathlib import Path

from neural_pipeline_tests.faults.run import Result, closing_line, run_scenario, table
from neural_pipeline_tests.faults.scenarios import BY_NAME, SCENARIOS

_PLACE = re.compile(r"(?<=<!-- faults -->\n).*?(?=<!-- /faults -->)", re.DOTALL)


def main() -> int:
    """Run the scenarios named, all without a name; return 1 if any figure is not 0."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline_tests.faults")
    parser.add_argument("names", nargs="*", choices=[*BY_NAME, []], metavar="NAME", help=", ".join(BY_NAME))
    parser.add_argument("--events", type=int, default=2_000, help="source events per scenario")
    parser.add_argument("--write", type=Path, help="a Markdown file with the table; these rows are replaced")
    given = parser.parse_args()
    chosen = [BY_NAME[name] for name in given.names] or list(SCENARIOS)
    results: list[Result] = []
    for scenario in chosen:
        results.append(run_scenario(scenario, count=given.events))
        one = results[-1]
        print(
            f"{scenario.name}: {'ok' if one.verdict.is_clean else one.verdict.findings} {one.seconds:.0f} s", flush=True
        )
        if given.write:
            _write(given.write, table(results))
    print("\n".join(["", *table(results), "", closing_line(results)]))
    return 0 if all(one.verdict.is_clean for one in results) else 1


def _write(path: Path, lines: list[str]) -> None:
    """Replace the rows of the faults that were brought about; those of the others stay."""
    text = path.read_text(encoding="utf-8")
    place = _PLACE.search(text)
    assert place, f"{path} has no place for the table"
    rows = {_fault(row): row for row in [*place.group().splitlines()[2:], *lines[2:]]}
    kept = [rows[scenario.says] for scenario in SCENARIOS if scenario.says in rows]
    path.write_text(_PLACE.sub(lambda _: "\n".join([*lines[:2], *kept, ""]), text), encoding="utf-8")


def _fault(row: str) -> str:
    return row.strip("| ").split(" | ")[0]


if __name__ == "__main__":
    sys.exit(main())
