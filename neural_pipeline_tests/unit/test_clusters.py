"""Topic clusters: the worked values, what joining does to a cluster, and which clusters are compared."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.contracts.memory import Cluster, Vector
from neural_pipeline.workflows.observation_capture.clusters import (
    ClusterRules,
    ClusterSet,
    Newcomer,
    affinity,
    place,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = ClusterRules()
TEXT = (1, 0, 0, 0, 0)
EXACT_0_75 = (3, 2, 1, 1, 1)
EXACT_0_74 = (37, 33, 6, 2, 1, 1)
EXACT_0_9 = (9, 4, 1, 1, 1)
UNLIKE = (0, 0, 0, 0, 1)


def vector(*numbers: float, length: int = 6) -> Vector:
    return np.array([*numbers, *[0.0] * (length - len(numbers))], dtype=np.float32)


def cluster(external_id: str = "c", **changes: object) -> Cluster:
    plain = Cluster(
        external_id=external_id,
        label="Checkout",
        keywords=("checkout",),
        entities=("engineer:@ada", "project:#1"),
        actors=("github:7",),
        count=1,
        first_at=NOON,
        last_at=NOON,
        centroid=vector(*TEXT),
    )
    return replace(plain, **changes)


def newcomer(**changes: object) -> Newcomer:
    plain = Newcomer(
        external_id="new",
        title="[PR Opened] Fix the checkout",
        topics=("github", "fix"),
        entities=(),
        actor=None,
        occurred_at=NOON,
        vector=vector(*UNLIKE),
    )
    return replace(plain, **changes)


WORKED = {
    "text 1, actor, now": ({"vector": vector(*TEXT), "actor": "github:7"}, 70.0, True),
    "text 0.75, actor, now": ({"vector": vector(*EXACT_0_75), "actor": "github:7"}, 60.0, True),
    "text 0.74, actor, now": ({"vector": vector(*EXACT_0_74), "actor": "github:7"}, 59.6, False),
    "entities 1, actor, now": ({"entities": ("project:#1", "engineer:@ada"), "actor": "github:7"}, 60.0, True),
    "text 0.9, entities 0.5, 3 hours": (
        {
            "vector": vector(*EXACT_0_9),
            "entities": ("engineer:@ada",),
            "occurred_at": NOON + timedelta(hours=3),
        },
        58.0,
        False,
    ),
    "60 hours older, nothing shared": ({"occurred_at": NOON - timedelta(hours=60)}, 0.0, False),
}


@pytest.mark.parametrize(("changes", "points", "joins"), WORKED.values(), ids=WORKED)
def test_the_worked_values_of_the_specification_hold(changes: dict[str, object], points: float, joins: bool):
    placement = place(newcomer(**changes), ClusterSet([cluster()]), RULES)
    assert affinity(newcomer(**changes), cluster()) == pytest.approx(points, abs=1e-9)
    assert placement.is_new is not joins
    assert placement.affinity == (pytest.approx(points) if joins else None)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("distance", "points"),
    [
        (timedelta(), 10),
        (timedelta(minutes=59, seconds=59), 10),
        (timedelta(hours=1), 9),
        (timedelta(hours=9, minutes=30), 1),
        (timedelta(hours=10), 0),
        (timedelta(days=6), 0),
    ],
)
def test_time_counts_by_whole_hours_in_both_directions(distance: timedelta, points: float, sign: int):
    assert affinity(newcomer(occurred_at=NOON + sign * distance), cluster()) == points


def test_opposite_texts_count_as_unlike_not_against():
    assert affinity(newcomer(vector=vector(-1.0)), cluster()) == 10


def test_entities_count_only_if_both_sides_have_some():
    assert affinity(newcomer(entities=()), cluster(entities=())) == 10
    assert affinity(newcomer(entities=("project:#1",)), cluster(entities=("project:#1",))) == 40


def test_nobody_is_not_the_same_actor_as_nobody():
    assert affinity(newcomer(actor=None), cluster(actors=())) == 10


def test_vectors_of_another_model_are_not_compared_and_do_not_move_the_centroid():
    other = newcomer(vector=vector(1.0, length=3), actor="github:7", entities=("engineer:@ada", "project:#1"))
    assert affinity(other, cluster()) == 60
    joined = place(other, ClusterSet([cluster()]), RULES).cluster
    assert joined.count == 2
    assert np.array_equal(joined.centroid, vector(*TEXT))


def test_a_vector_of_zeros_is_like_nothing():
    assert affinity(newcomer(vector=vector()), cluster()) == 10


def test_every_candidate_is_compared_with_its_own_centroid():
    far = cluster("far", centroid=vector(*UNLIKE))
    own = cluster("own", centroid=vector(*TEXT), last_at=NOON - timedelta(minutes=50), first_at=NOON - timedelta(1))
    one = newcomer(vector=vector(*TEXT), actor="github:7")
    for order in ([far, own], [own, far]):
        placement = place(one, ClusterSet(order), RULES)
        assert (placement.cluster.external_id, placement.affinity) == ("own", 70)


def test_of_equally_near_clusters_the_first_candidate_wins():
    twins = [cluster("b"), cluster("a"), cluster("later", last_at=NOON + timedelta(minutes=1))]
    one = newcomer(vector=vector(*TEXT), actor="github:7")
    assert place(one, ClusterSet(twins), RULES).cluster.external_id == "later"
    assert place(one, ClusterSet(twins[:2]), RULES).cluster.external_id == "a"


def test_a_cluster_begun_by_an_observation_is_its_picture():
    one = newcomer(entities=("project:#2",), actor="github:8", vector=vector(*EXACT_0_75))
    placement = place(one, ClusterSet(), RULES)
    begun = placement.cluster
    assert (placement.is_new, placement.affinity, placement.best_rejected) == (True, None, None)
    assert (begun.external_id, begun.label, begun.count) == ("new", "Fix the checkout", 1)
    assert (begun.keywords, begun.entities, begun.actors) == (("github", "fix"), ("project:#2",), ("github:8",))
    assert begun.first_at == begun.last_at == NOON
    assert np.array_equal(begun.centroid, one.vector)


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("[PR Opened] Fix the checkout", "Fix the checkout"),
        ("[PR Opened] [WIP] Fix", "[WIP] Fix"),
        ("Fix [a] b", "Fix [a] b"),
        ("[PR Opened]  ", "[PR Opened]  "),
        ("[PR Opened] " + "x" * 188, "x" * 100),
    ],
)
def test_a_cluster_is_labelled_with_the_title_not_with_the_source(title: str, label: str):
    assert place(newcomer(title=title), ClusterSet(), RULES).cluster.label == label


def test_the_best_refusal_is_told_when_a_cluster_begins():
    near, nearer = cluster("near", centroid=vector(*UNLIKE)), cluster("nearer", centroid=vector(*EXACT_0_74))
    placement = place(newcomer(vector=vector(*TEXT), actor="github:7"), ClusterSet([near, nearer]), RULES)
    assert placement.is_new
    assert placement.best_rejected == pytest.approx(59.6)


def test_the_best_refusal_is_not_told_when_a_cluster_is_joined():
    placement = place(newcomer(vector=vector(*TEXT), actor="github:7"), ClusterSet([cluster()]), RULES)
    assert placement.best_rejected is None


def test_the_threshold_is_a_rule():
    one = newcomer(vector=vector(*TEXT), actor="github:7")
    assert place(one, ClusterSet([cluster()]), ClusterRules(threshold=70.0)).is_new is False
    assert place(one, ClusterSet([cluster()]), ClusterRules(threshold=70.1)).is_new is True


def joined_at(moment: datetime) -> Cluster:
    one = newcomer(vector=vector(*TEXT), actor="github:7", entities=("project:#1", "engineer:@ada"), occurred_at=moment)
    return place(one, ClusterSet([cluster()]), RULES).cluster


def test_a_late_observation_moves_the_beginning_of_its_cluster_and_never_its_end():
    earlier, later = joined_at(NOON - timedelta(hours=5)), joined_at(NOON + timedelta(hours=5))
    assert (earlier.first_at, earlier.last_at) == (NOON - timedelta(hours=5), NOON)
    assert (later.first_at, later.last_at) == (NOON, NOON + timedelta(hours=5))


def test_joining_keeps_what_was_seen_last_where_there_is_no_room_for_all():
    full = cluster(
        entities=tuple(f"project:#{n}" for n in range(20)),
        actors=("github:7", *(f"github:{n}" for n in range(10, 19))),
        keywords=tuple(f"k{n}" for n in range(20)),
    )
    one = newcomer(
        vector=vector(*TEXT), actor="github:99", entities=("project:#5", "project:#99"), topics=("k7", "new")
    )
    joined = place(one, ClusterSet([full]), ClusterRules(threshold=50)).cluster
    assert joined.entities == ("project:#5", "project:#99", *(f"project:#{n}" for n in range(19) if n != 5))
    assert joined.actors == ("github:99", "github:7", *(f"github:{n}" for n in range(10, 18)))
    assert joined.keywords == ("k7", "new", *(f"k{n}" for n in range(19) if n != 7))
    assert (joined.count, joined.label) == (2, "Checkout")


def test_a_cluster_begins_within_its_bounds():
    one = newcomer(entities=tuple(f"project:#{n}" for n in range(50)), topics=tuple(f"k{n}" for n in range(50)))
    begun = place(one, ClusterSet(), RULES).cluster
    assert begun.entities == tuple(f"project:#{n}" for n in range(20))
    assert begun.keywords == tuple(f"k{n}" for n in range(20))


def test_the_centroid_is_the_running_mean_in_single_precision():
    vectors = [vector(*numbers) for numbers in (TEXT, EXACT_0_75, EXACT_0_9)]
    clusters = ClusterSet()
    for number, one in enumerate(vectors):
        place(newcomer(external_id=str(number), vector=one), clusters, ClusterRules(threshold=0))
    [merged] = clusters.near(NOON, RULES)
    assert merged.count == 3
    assert merged.centroid.dtype == np.float32
    assert merged.centroid == pytest.approx(np.mean(vectors, axis=0), rel=1e-6)


def test_the_set_learns_of_every_placement():
    clusters = ClusterSet()
    first = place(newcomer(vector=vector(*TEXT), actor="github:7"), clusters, RULES)
    second = place(newcomer(external_id="other", vector=vector(*TEXT), actor="github:7"), clusters, RULES)
    assert (first.is_new, second.is_new) == (True, False)
    assert (second.cluster.external_id, second.cluster.count) == ("new", 2)


def test_the_look_back_is_relative_to_the_event_in_both_directions():
    long_ago = NOON - timedelta(days=2000)
    clusters = ClusterSet([cluster("old", first_at=long_ago, last_at=long_ago), cluster("recent")])

    def near(moment: datetime) -> list[str]:
        return [one.external_id for one in clusters.near(moment, RULES)]

    week, more = timedelta(days=7), timedelta(days=7, microseconds=1)
    assert near(long_ago + week) == near(long_ago - week) == ["old"]
    assert near(long_ago + more) == near(long_ago - more) == []
    assert near(NOON - timedelta(days=3)) == ["recent"]


def test_an_event_within_a_cluster_is_near_it_however_long_it_lasted():
    lasting = cluster(first_at=NOON - timedelta(days=300), last_at=NOON)
    assert ClusterSet([lasting]).near(NOON - timedelta(days=150), RULES) == [lasting]


def test_no_more_candidates_are_compared_than_the_rules_allow():
    nearer = [cluster(str(n), centroid=vector(*UNLIKE), last_at=NOON + timedelta(minutes=n)) for n in range(3)]
    best = cluster("best", first_at=NOON - timedelta(hours=2), last_at=NOON - timedelta(minutes=1))
    one = newcomer(vector=vector(*TEXT), actor="github:7")
    assert place(one, ClusterSet([*nearer, best]), ClusterRules(candidates=4)).cluster.external_id == "best"
    assert place(one, ClusterSet([*nearer, best]), ClusterRules(candidates=3)).is_new


def test_however_many_clusters_there_are_each_is_found_at_its_time():
    days = [NOON + timedelta(days=20 * number) for number in range(100)]
    clusters = ClusterSet(cluster(str(n), first_at=day, last_at=day) for n, day in enumerate(days))
    assert [[one.external_id for one in clusters.near(day, RULES)] for day in days] == [[str(n)] for n in range(100)]


HOURS = st.integers(-400, 400).map(lambda hours: NOON + timedelta(hours=hours))
SPANS = st.tuples(st.integers(0, 30), HOURS, HOURS).map(lambda t: (str(t[0]), min(t[1:]), max(t[1:])))


def brute_force(states: dict[str, Cluster], moment: datetime, rules: ClusterRules) -> list[str]:
    def distance(one: Cluster) -> timedelta:
        return max(one.first_at - moment, moment - one.last_at, timedelta())

    near = [one for one in states.values() if distance(one) <= rules.lookback]
    near.sort(key=lambda one: one.external_id)
    near.sort(key=lambda one: one.last_at, reverse=True)
    near.sort(key=distance)
    return [one.external_id for one in near[: rules.candidates]]


@given(st.lists(SPANS, max_size=60), HOURS, st.integers(1, 12), st.integers(1, 12))
def test_near_finds_what_a_search_through_all_clusters_finds(
    spans: list[tuple[str, datetime, datetime]], moment: datetime, days: int, candidates: int
):
    clusters, states = ClusterSet(), dict[str, Cluster]()
    for external_id, first, last in spans:
        states[external_id] = cluster(external_id, first_at=first, last_at=last)
        clusters.put(states[external_id])
    rules = ClusterRules(lookback=timedelta(days=days), candidates=candidates)
    found = clusters.near(moment, rules)
    assert [one.external_id for one in found] == brute_force(states, moment, rules)
    assert all(one is states[one.external_id] for one in found)
