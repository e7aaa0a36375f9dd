"""What a check-up finds: one line per check, and the words in which durations and offenders are told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a check says. Only FAIL makes the whole check-up fail; a skipped check could not be made."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: the check, what was found, and what to do about it where it is not in order."""

    check: str
    status: Status
    found: str
    todo: str | None = None

    def line(self) -> str:
        """Return the finding as text for people."""
        advice = f"; do: {self.todo}" if self.todo else ""
        return f"{self.status:<4}  {self.check:<11}  {self.found}{advice}"


def ok(check: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Status.OK, found)


def warning(check: str, found: str, todo: str) -> Finding:
    """Return something that wants a look, and harms nobody yet."""
    return Finding(check, Status.WARN, found, todo)


def failed(check: str, found: str, todo: str) -> Finding:
    """Return something that must be put right."""
    return Finding(check, Status.FAIL, found, todo)


def skipped(checks: Iterable[str], why: str) -> list[Finding]:
    """Return that checks could not be made."""
    return [Finding(check, Status.SKIP, why) for check in checks]


_UNITS = ((86_400, "days"), (3600, "h"), (60, "min"))


def lasting(seconds: float) -> str:
    """Return a duration in the largest unit of which there are at least two."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def numbers(count: int, noun: str, *, plural: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def named(names: Sequence[object], *, of: int | None = None) -> str:
    """Return the first names of a list, saying that there are more."""
    total = len(names) if of is None else of
    shown = [str(name) for name in names[:3]]
    return ", ".join(shown) + (", ..." if total > len(shown) else "")
