"""Running the programs of Postgres as the right account, without a shell reading any path."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from neural_pipeline.postgres.account import Account, server_account
from neural_pipeline.postgres.binaries import find_binaries
from neural_pipeline.postgres.errors import ProgramFailed
from neural_pipeline.postgres.folders import Folders

_LARGEST_LOG = 10 * 1024 * 1024
# The shell only forks: the server becomes a child of init, so that it leaves no zombie in a long-lived starter.
_DETACH = '"$@" &'


@dataclass(frozen=True)
class Programs:
    """The programs one server is run with."""

    binaries: Path
    account: Account | None
    folders: Folders

    @classmethod
    def of(cls, folders: Folders) -> "Programs":
        """Find the programs and the account for a server."""
        account = server_account(folders.data)
        return cls(find_binaries(folders, account), account, folders)

    def succeeds(self, program: str, *arguments: str | Path) -> bool:
        """Run a program to its end and tell whether it succeeded."""
        return self._run([str(self.binaries / program), *map(str, arguments)], log=self.folders.program_log)

    def require(self, program: str, *arguments: str | Path) -> None:
        """Run a program to its end; raises ProgramFailed when it does not succeed."""
        if not self.succeeds(program, *arguments):
            raise ProgramFailed(f"{program}: {last_lines(self.folders.program_log)}")

    def launch(self, program: str, *arguments: str | Path) -> None:
        """Start a program in a session of its own and leave it running."""
        _set_aside_when_large(self.folders.server_log)
        words = [str(self.binaries / program), *map(str, arguments)]
        self._run(["/bin/sh", "-c", _DETACH, "sh", *words], log=self.folders.server_log)

    def _run(self, words: list[str], *, log: Path) -> bool:
        account = self.account
        with log.open("ab") as output:  # a file, never a pipe: the server inherits it and would hold the pipe open
            finished = subprocess.run(
                words,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_environment(),
                timeout=150,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        return finished.returncode == 0


def last_lines(log: Path, count: int = 3) -> str:
    """Return the end of a log on one line, and where the rest is."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return f"{' | '.join(line.strip() for line in lines[-count:])} (see {log})"


def _environment() -> dict[str, str]:
    # PGDATA, PGHOST and the like would redirect the programs; a locale that is not installed stops them.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "LANG"}
    return {**kept, "LC_ALL": "C"}


def _set_aside_when_large(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_suffix(".old.log"))
