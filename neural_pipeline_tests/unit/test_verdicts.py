"""The pass that goes event by event: what an event sees of those before it in its batch."""

from typing import Any

import numpy as np

from neural_pipeline.contracts.events import Actor, Reference, Source
from neural_pipeline.contracts.memory import CommitAuthor, NewObservation
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules
from neural_pipeline.workflows.observation_capture.identity import external_id
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Memory, decide
from neural_pipeline.workflows.observation_capture.work import CaptureEvent, Filtered
from neural_pipeline_tests.building import findings, source_event

DUPLICATE = Filtered("duplicate")
EMBED = Failure("embed", "no", "ValueError")
COMMIT = (Reference(type="commit", id="abc"),)


def examined(
    id_: int, source_id: str = "a", *, workspace_id: str = "ws", result: Any = None, **changes: Any
) -> Examined:
    event = CaptureEvent(id_, workspace_id, "org", "42", source_event(source_id, **changes))
    return Examined(event, result or findings())


def push(id_: int, actor: Actor, **changes: Any) -> Examined:
    return examined(id_, f"push-{id_}", source_type="push", actor=actor, references=COMMIT, **changes)


def deployment(id_: int, **changes: Any) -> Examined:
    actor = Actor(id="ada-l", name="Ada Lovelace")
    kind = {"source": Source.VERCEL, "source_type": "deployment.ready"}
    return examined(id_, f"deployment-{id_}", actor=actor, references=COMMIT, **kind, **changes)


def verdicts(*events: Examined, memory: Memory | None = None) -> list[Any]:
    decided = decide(events, memory or Memory(), ClusterRules())
    assert [one.event for one in decided] == [one.event for one in events]
    return [one.verdict for one in decided]


def methods(*events: Examined, memory: Memory | None = None) -> list[str]:
    return [verdict.actor.method for verdict in verdicts(*events, memory=memory)]


def test_of_equal_events_in_a_batch_the_first_is_captured():
    first, second, third = verdicts(examined(1), examined(2), examined(3))
    assert isinstance(first, NewObservation)
    assert (second, third) == (DUPLICATE, DUPLICATE)


def test_an_equal_event_is_captured_where_the_first_one_failed():
    failed, captured, duplicate = verdicts(examined(1, result=EMBED), examined(2), examined(3))
    assert (failed, duplicate) == (EMBED, DUPLICATE)
    assert captured.event_id == 2


def test_an_equal_event_is_captured_where_the_first_one_was_filtered():
    below = Filtered("below_threshold", 30)
    assert isinstance(verdicts(examined(1, result=below), examined(2))[1], NewObservation)


def test_a_duplicate_is_one_even_if_it_would_fail_or_be_filtered_later():
    results = [EMBED, Filtered("below_threshold", 30), Filtered("event_not_allowed")]
    duplicates = [examined(number, result=result) for number, result in enumerate(results, start=2)]
    assert verdicts(examined(1), *duplicates)[1:] == [DUPLICATE] * 3


def test_what_failed_before_duplicates_are_asked_for_stays_a_failure():
    unreadable, unscored = Failure("load", "no title", "ValidationError"), Failure("gate", "no", "ValueError")
    assert verdicts(examined(1), examined(2, result=unreadable), examined(3, result=unscored))[1:] == [
        unreadable,
        unscored,
    ]


def test_the_same_source_id_in_two_workspaces_is_no_duplicate():
    one, other = verdicts(examined(1), examined(2, workspace_id="ws_other"))
    assert one.external_id != other.external_id
    assert one.cluster.external_id != other.cluster.external_id


def test_what_the_batch_has_captured_before_is_remembered():
    assert verdicts(examined(1), memory=Memory(captured={("ws", "a")})) == [DUPLICATE]


def test_ids_come_from_workspace_and_source_id():
    [one] = verdicts(examined(1))
    assert one.external_id == external_id("observation", "ws", "a")
    assert one.cluster.external_id == external_id("cluster", "ws", "a")


def test_an_observation_sees_the_clusters_of_the_ones_before_it_in_its_workspace():
    first, second, elsewhere = verdicts(examined(1), examined(2, "b"), examined(3, "b", workspace_id="ws_other"))
    assert (first.cluster_is_new, first.cluster.count) == (True, 1)
    assert (second.cluster_is_new, second.cluster.count, second.affinity) == (False, 2, 100)
    assert second.cluster.external_id == first.cluster.external_id
    assert elsewhere.cluster_is_new


def test_an_event_that_failed_leaves_no_cluster_behind():
    assert verdicts(examined(1, result=EMBED), examined(2, "b"))[1].cluster_is_new


def test_a_deployment_learns_its_author_from_an_earlier_push_of_the_batch():
    ada = Actor(id="7", name="ada-l")
    assert methods(push(1, ada), deployment(2)) == ["github_id", "commit_sha"]
    assert methods(deployment(1), push(2, ada)) == ["username", "github_id"]
    assert methods(push(1, Actor(id="8", name="bob")), deployment(2)) == ["github_id", "username"]
    assert methods(push(1, ada, workspace_id="ws_other"), deployment(2)) == ["github_id", "username"]


def test_a_push_that_was_not_captured_tells_nothing():
    ada = Actor(id="7", name="ada-l")
    failed = push(1, ada, result=EMBED)
    assert verdicts(failed, deployment(2))[1].actor.method == "username"


def test_authors_known_before_the_batch_count_too():
    memory = Memory(authors={("ws", "abc"): [CommitAuthor("7", "ada-l")]})
    assert methods(deployment(1), memory=memory) == ["commit_sha"]


def test_the_resolved_actor_is_the_one_that_is_stored_and_clustered():
    [one] = verdicts(deployment(1), memory=Memory(authors={("ws", "abc"): [CommitAuthor("7", "ada-l")]}))
    assert one.actor.actor == Actor(id="7", name="Ada Lovelace")
    assert one.cluster.actors == ("github:7",)


def test_the_content_vector_decides_on_the_cluster():
    [one] = verdicts(examined(1))
    assert np.array_equal(one.cluster.centroid, one.vectors[1])


def test_an_event_that_cannot_be_decided_on_fails_alone():
    broken = findings()
    without_vectors = type(broken)(
        **{name: getattr(broken, name) for name in broken.__dataclass_fields__} | {"vectors": np.empty((0, 8))}
    )
    first, failed, third = verdicts(examined(1), examined(2, "b", result=without_vectors), examined(3, "c"))
    assert isinstance(failed, Failure)
    assert (failed.step, failed.error_class) == ("assign_clusters", "IndexError")
    assert third.cluster.count == first.cluster.count + 1 == 2
