"""The process that ends an ephemeral server with its maker: `python -m neural_pipeline.postgres.watchdog HOME`.

It reads its standard input to the end, which comes when the maker closes the pipe or dies.
"""

import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from neural_pipeline.postgres.errors import PostgresError
from neural_pipeline.postgres.folders import Folders
from neural_pipeline.postgres.postmaster import living_processes
from neural_pipeline.postgres.server import stop

_ATTEMPTS = 100


def clear_away(home: Path) -> None:
    """Stop the server of `home` and remove the folder, also when its maker died half-way through starting it."""
    for _ in range(_ATTEMPTS):
        with suppress(PostgresError):
            stop(home, mode="immediate")
        shutil.rmtree(home, ignore_errors=True)
        if _nothing_left(home):
            return
        time.sleep(0.1)


def _nothing_left(home: Path) -> bool:
    # A server that was just starting has lost its data; only a kill ends it at once.
    left = living_processes(Folders.of(home))
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return not left and not home.exists()


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clear_away(Path(sys.argv[1]))
