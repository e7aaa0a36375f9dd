"""What an event tells of its actor, and what its execution ends with."""

from typing import Any

from neural_pipeline.contracts.events import Actor
from neural_pipeline.contracts.incoming import ProfilePayload
from neural_pipeline.contracts.memory import ActorNews, KeptProfile
from neural_pipeline.workflows.batch_work.events import BatchEvent
from neural_pipeline.workflows.profile_update.logic import metrics_of, news_of, outputs_of


def asked(
    id_: int, actor_id: str = "github:7", *, workspace_id: str = "w", **payload: Any
) -> BatchEvent[ProfilePayload]:
    return BatchEvent(id_, workspace_id, "o", None, ProfilePayload(actor_id=actor_id, observation_id="x", **payload))


def test_an_event_tells_what_its_source_named_and_what_the_actor_was_merged_into():
    actor = Actor(id="7", name="ada", email="ada@acme.io", avatar_url="https://acme.io/a.png")
    assert news_of(asked(1, source_actor=actor)) == ActorNews(
        "w", "o", "github:7", "ada", "ada@acme.io", "https://acme.io/a.png"
    )
    assert news_of(asked(1, "github:ada", merged_into="github:7")) == ActorNews(
        "w", "o", "github:ada", merged_into="github:7"
    )


def test_of_several_events_of_one_actor_the_first_made_the_profile_in_each_workspace():
    events = [asked(1), asked(2), asked(3, workspace_id="v"), asked(4, "github:8")]
    profiles = {
        ("w", "github:7"): KeptProfile(3, is_new=True),
        ("v", "github:7"): KeptProfile(1, is_new=True),
        ("w", "github:8"): KeptProfile(2, is_new=False),
    }
    outputs = outputs_of(events, profiles)
    assert {id_: output.to_json() for id_, output in outputs.items()} == {
        id_: {
            "inngestFunctionId": "neural.profile.update",
            "status": "success",
            "actorId": actor_id,
            "observationCount": count,
            "isNewProfile": is_new,
        }
        for id_, actor_id, count, is_new in (
            (1, "github:7", 3, True),
            (2, "github:7", 3, False),
            (3, "github:7", 1, True),
            (4, "github:8", 2, False),
        )
    }
    assert [metric.to_json() for metric in metrics_of(events[0], outputs[1])] == [
        {
            "type": "profile_updated",
            "value": 1,
            "unit": "count",
            "tags": {"actorId": "github:7", "observationId": "x"},
        }
    ]


def test_an_actor_without_a_profile_is_skipped_and_not_measured():
    output = outputs_of([asked(1)], {})[1]
    assert output.to_json() == {
        "inngestFunctionId": "neural.profile.update",
        "status": "skipped",
        "actorId": "github:7",
        "reason": "no_observations",
    }
    assert metrics_of(asked(1), output) == ()
