"""How due events are spread over batches: pure arithmetic, no database and no clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DueEvent:
    """An event that may be put on a batch; `bytes` is the size of its payload, `losses` the runs that died under it."""

    id: int
    workspace_id: str
    bytes: int
    losses: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one batch (events, bytes of payload) and of the unfinished batches of one workflow."""

    max_events: int
    max_bytes: int
    max_open: int
    isolating_losses: int = 3


def allowed_size(limits: Limits, *, losses: int) -> int:
    """Return how many events may share a batch after `losses` runs died under them.

    max^((k-n)/k) for n of k losses: from the largest batch down to an event that stands alone.
    """
    stages = limits.isolating_losses
    remaining = max(0, stages - losses)
    return max(1, round(limits.max_events ** (remaining / stages)))


def events_within(seconds: float, *, per_call: float, concurrency: int) -> int:
    """Return how many events a model can be asked about in so many seconds, `concurrency` calls at a time."""
    return max(1, int(seconds * concurrency / per_call))


def plan_batches(due: Iterable[DueEvent], *, slots: int, limits: Limits) -> list[list[DueEvent]]:
    """Spread the due events, oldest first, over at most `slots` batches; a workspace stands in one batch only.

    Workspaces with an event under suspicion share no batch with the others, and the others are not held up by them:
    where both wait, each kind gets at least one slot, the kind with the oldest event if there is only one.
    """
    workspaces: dict[str, list[DueEvent]] = {}
    for event in due:
        workspaces.setdefault(event.workspace_id, []).append(event)
    suspicious = [events for events in workspaces.values() if _suspicion([events])]
    others = [events for events in workspaces.values() if not _suspicion([events])]
    if not suspicious or not others:
        return _spread(list(workspaces.values()), slots=slots, limits=limits)
    if slots == 1:
        oldest = next(iter(workspaces.values()))
        return _spread(suspicious if _suspicion([oldest]) else others, slots=1, limits=limits)
    for_suspicious = min(len(suspicious), slots - 1, max(1, slots // 2))
    apart = _spread(suspicious, slots=for_suspicious, limits=limits)
    return apart + _spread(others, slots=slots - for_suspicious, limits=limits)


def _spread(workspaces: list[list[DueEvent]], *, slots: int, limits: Limits) -> list[list[DueEvent]]:
    lanes: list[list[list[DueEvent]]] = [workspaces[lane::slots] for lane in range(slots)]
    return [batch for lane in lanes if lane and (batch := _fill(lane, limits=limits))]


def _suspicion(workspaces: Iterable[list[DueEvent]]) -> int:
    return max((event.losses for events in workspaces for event in events), default=0)


def _fill(workspaces: Sequence[list[DueEvent]], *, limits: Limits) -> list[DueEvent]:
    """Take one event of each workspace in turn until the batch is full, in count or in bytes."""
    suspicion = _suspicion(workspaces)
    size = allowed_size(limits, losses=suspicion)
    queues = [[event for event in events if event.losses == suspicion] for events in workspaces]
    batch: list[DueEvent] = []
    weight = 0
    for event in _in_turn(queues):
        weight += event.bytes
        if len(batch) == size or (batch and weight > limits.max_bytes):
            break
        batch.append(event)
    return batch


def _in_turn(queues: Sequence[list[DueEvent]]) -> Iterable[DueEvent]:
    for position in range(max(map(len, queues), default=0)):
        for queue in queues:
            if position < len(queue):
                yield queue[position]
