"""`neural ingest` for one workspace after another, in one process: `python -m ...own_feeder WORKSPACE=FILE ...`.

Twenty processes would measure how long Python takes to start.
"""

import sys
from collections.abc import Sequence

from neural_pipeline.cli.main import run


def main(pairs: Sequence[str]) -> int:
    """Hand in files; return the exit code of the first call that did not end well, else 0."""
    for pair in pairs:
        workspace, _, file = pair.partition("=")
        code = run(["ingest", file, "--workspace", workspace, "--quiet"])
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
