"""Starting a process of a fault test below a keeper, so that nothing is left over however the test ends."""

import subprocess
import sys
from pathlib import Path


def kept(command: list[str], environment: dict[str, str], home: Path, *, again: str = "") -> subprocess.Popen[bytes]:
    """Start a command; with `again`, a name, it is started anew whenever it ends."""
    options = ["--again", again] if again else []
    with (home / "dagster.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "neural_pipeline.cli.keeper", "10", *options, *command],
            env=environment,
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
