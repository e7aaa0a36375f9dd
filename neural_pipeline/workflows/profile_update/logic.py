"""What an event tells of its actor, and what its execution ends with. Pure. Spec, 4.2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from neural_pipeline.contracts.incoming import ProfilePayload
from neural_pipeline.contracts.memory import ActorKey, ActorNews, KeptProfile
from neural_pipeline.contracts.metrics import Metric, ProfileUpdated, ProfileUpdatedTags
from neural_pipeline.contracts.workflows import ProfileSkipped, ProfileSuccess


@dataclass(frozen=True, slots=True)
class Recounted:
    """The conclusion about every event: counting and writing are one, and done where they are committed."""


class Event(Protocol):
    """An event of the batch, as far as it matters here."""

    @property
    def id(self) -> int: ...  # noqa: D102 - the class docstring says it

    @property
    def workspace_id(self) -> str: ...  # noqa: D102

    @property
    def clerk_org_id(self) -> str: ...  # noqa: D102

    @property
    def payload(self) -> ProfilePayload: ...  # noqa: D102


def news_of(event: Event) -> ActorNews:
    """Return what an event tells of its actor."""
    payload, actor = event.payload, event.payload.source_actor
    return ActorNews(
        workspace_id=event.workspace_id,
        clerk_org_id=event.clerk_org_id,
        actor_id=payload.actor_id,
        name=actor and actor.name,
        email=actor and actor.email,
        avatar_url=actor and actor.avatar_url,
        merged_into=payload.merged_into,
    )


def outputs_of(
    events: Sequence[Event], profiles: Mapping[ActorKey, KeptProfile]
) -> dict[int, ProfileSuccess | ProfileSkipped]:
    """Return the output of each event by id; of several events of one actor the first made the profile."""
    outputs: dict[int, ProfileSuccess | ProfileSkipped] = {}
    made: set[ActorKey] = set()
    for event in events:
        actor_id = event.payload.actor_id
        key = (event.workspace_id, actor_id)
        profile = profiles.get(key)
        if profile is None:
            outputs[event.id] = ProfileSkipped(actor_id=actor_id, reason="no_observations")
            continue
        is_new = profile.is_new and key not in made
        made.add(key)
        outputs[event.id] = ProfileSuccess(
            actor_id=actor_id, observation_count=profile.observation_count, is_new_profile=is_new
        )
    return outputs


def metrics_of(event: Event, output: ProfileSuccess | ProfileSkipped) -> tuple[Metric, ...]:
    """Return the metric of a profile that was written."""
    if isinstance(output, ProfileSkipped):
        return ()
    tags = ProfileUpdatedTags(actor_id=output.actor_id, observation_id=event.payload.observation_id)
    return (ProfileUpdated(tags=tags),)
