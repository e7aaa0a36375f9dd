"""The words and the rules of a run's life: states, legal moves, triggers, causes of failure, dispositions of payloads.

Who moves a row, and when, is decided elsewhere.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class RunStatus(StrEnum):
    """The state of one execution."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Trigger(StrEnum):
    """What asked for an execution."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    WEBHOOK = "webhook"
    AUTOMATIC = "automatic"


class Cause(StrEnum):
    """Why an execution failed."""

    CODE_ERROR = "code_error"
    WORKER_LOST = "worker_lost"
    TIMEOUT = "timeout"
    REJECTED = "rejected"


class Disposition(StrEnum):
    """What became of a received payload."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    UNSUPPORTED = "unsupported"
    INVALID = "invalid"


TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
"""States that are never left."""

_OPEN = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})

LEGAL_MOVES: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        RunStatus.QUEUED: _OPEN | TERMINAL,
        RunStatus.RUNNING: TERMINAL | {RunStatus.QUEUED},
        RunStatus.COMPLETED: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
    }
)
"""The states each state may move to; the move to queued, also from queued, is a retry."""


def is_legal(old: RunStatus, new: RunStatus) -> bool:
    """Tell whether a run may move from one state to another."""
    return new in LEGAL_MOVES[old]
