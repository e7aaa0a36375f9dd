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


def plan_batches(due: Iterable[DueEvent], *, slots: int, limits: Limits) -> list[list[DueEvent]]:
    """Spread the due events, oldest first, over at most `slots` batches; a workspace stands in one batch only."""
    lanes: list[dict[str, list[DueEvent]]] = [{} for _ in range(slots)]
    lane_of: dict[str, int] = {}
    for event in due:
        lane = lane_of.setdefault(event.workspace_id, len(lane_of) % slots)
        lanes[lane].setdefault(event.workspace_id, []).append(event)
    return [batch for lane in lanes if (batch := _fill(list(lane.values()), limits=limits))]


def _fill(workspaces: Sequence[list[DueEvent]], *, limits: Limits) -> list[DueEvent]:
    """Take one event of each workspace in turn until the batch is full, in count or in bytes."""
    suspicion = max((event.losses for events in workspaces for event in events), default=0)
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
