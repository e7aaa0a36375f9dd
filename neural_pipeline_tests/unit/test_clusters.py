"""Topic clusters: the worked values, what joining does to a cluster, and which clusters are compared."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_pipeline.contracts.events import Source
from neural_pipeline.contracts.memory import Cluster, Entity, Vector
from neural_pipeline.workflows.observation_capture.clusters import (
    ClusterRules,
    ClusterSet,
    Newcomer,
    affinity,
    compared_entities,
    place,
)
from neural_pipeline_tests.building import source_event

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
        centroid_model="m",
    )
    return replace(plain, **changes)


def newcomer(**changes: object) -> Newcomer:
    plain = Newcomer(
        external_id="new",
        label="Fix the checkout",
        topics=("github", "fix"),
        entities=(),
        actor=None,
        occurred_at=NOON,
        vector=vector(*UNLIKE),
        embedded_by="m",
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


@pytest.mark.parametrize(
    ("embedded_by", "centroid_model", "length"), [("other", "m", 6), ("other", "m", 3), ("m", "m", 3), ("m", None, 6)]
)
def test_vectors_of_another_model_are_not_compared_and_do_not_move_the_centroid(
    embedded_by: str, centroid_model: str | None, length: int
):
    of_m = cluster(centroid_model=centroid_model)
    same = {"actor": "github:7", "entities": ("engineer:@ada", "project:#1")}
    other = newcomer(vector=vector(1.0, length=length), embedded_by=embedded_by, **same)
    assert affinity(other, of_m) == 60
    joined = place(other, ClusterSet([of_m]), RULES).cluster
    assert (joined.count, joined.centroid_model) == (2, centroid_model)
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
    assert begun.centroid_model == "m"


PUSH, DEPLOYED, OPENED, RAISED = (
    ("github", kind) for kind in ("push", "deployment_ready", "pull-request.opened", "issue.opened")
)


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [
        (PUSH, OPENED, "Newer"),
        (DEPLOYED, PUSH, "Newer"),
        (DEPLOYED, RAISED, "Newer"),
        (OPENED, RAISED, "Checkout"),
        (RAISED, OPENED, "Checkout"),
        (PUSH, PUSH, "Checkout"),
        (OPENED, PUSH, "Checkout"),
        (PUSH, DEPLOYED, "Checkout"),
    ],
)
def test_a_cluster_takes_the_name_that_a_person_gave_it_and_keeps_it(
    first: tuple[str, ...], second: tuple[str, ...], label: str
):
    one = newcomer(label="Newer", topics=second, vector=vector(*TEXT), actor="github:7")
    assert place(one, ClusterSet([cluster(keywords=first)]), RULES).cluster.label == label


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


def test_of_many_clusters_those_that_share_the_most_entities_are_compared():
    busy = [cluster(str(n), entities=("project:#9",), last_at=NOON + timedelta(minutes=n)) for n in range(10)]
    long_ago = NOON - timedelta(days=3)
    own = cluster("own", entities=("project:#1", "project:#2"), first_at=long_ago, last_at=long_ago)
    half = replace(own, external_id="half", entities=("project:#2", "project:#3"))
    clusters = ClusterSet([*busy, half, own])
    one = newcomer(vector=vector(*TEXT), entities=("project:#1", "project:#2"))
    assert place(one, clusters, RULES).cluster.external_id == "own"
    near = clusters.near(NOON, ClusterRules(candidates=3), entities=one.entities)
    assert [found.external_id for found in near] == ["own", "half", "9"]
    clusters.put(replace(own, entities=("project:#4",)))
    assert clusters.near(NOON, ClusterRules(candidates=1), entities=("project:#1",)) == [busy[9]]


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


def quickest(act: Callable[[], object]) -> float:
    """Return the seconds of work that something takes at best."""
    seconds: list[float] = []
    for _ in range(7):
        began = time.process_time()
        act()
        seconds.append(time.process_time() - began)
    return min(seconds)


def test_what_very_many_clusters_share_costs_less_than_listing_them_once():
    """Every event of a batch asks, and each may have begun a cluster: 20,000 about one issue took minutes."""
    shared = ("project:#1", "project:#2")
    many = range(20_000)
    clusters = ClusterSet(cluster(f"{n:05}", entities=shared, last_at=NOON + timedelta(seconds=n)) for n in many)
    holders, counts = set(many), np.zeros(len(many))

    def count_by_listing() -> None:
        counts[list(holders)] += 1

    near = quickest(lambda: clusters.near(NOON + timedelta(hours=7), RULES, entities=shared))
    assert near < 1.5 * quickest(count_by_listing)


HOURS = st.integers(-400, 400).map(lambda hours: NOON + timedelta(hours=hours))
SPANS = st.tuples(st.integers(0, 30), HOURS, HOURS).map(lambda t: (str(t[0]), min(t[1:]), max(t[1:])))


def brute_force(
    states: dict[str, Cluster], moment: datetime, rules: ClusterRules, entities: frozenset[str]
) -> list[str]:
    def distance(one: Cluster) -> timedelta:
        return max(one.first_at - moment, moment - one.last_at, timedelta())

    near = [one for one in states.values() if distance(one) <= rules.lookback]
    near.sort(key=lambda one: one.external_id)
    near.sort(key=lambda one: one.last_at, reverse=True)
    near.sort(key=distance)
    near.sort(key=lambda one: len(entities & set(one.entities)), reverse=True)
    return [one.external_id for one in near[: rules.candidates]]


NAMED = st.frozensets(st.sampled_from(["project:#1", "project:#2", "definition:a.py"]))


@given(st.lists(st.tuples(SPANS, NAMED), max_size=60), HOURS, st.integers(1, 12), st.integers(1, 12), NAMED)
def test_near_finds_what_a_search_through_all_clusters_finds(
    spans: list[tuple[tuple[str, datetime, datetime], frozenset[str]]],
    moment: datetime,
    days: int,
    candidates: int,
    entities: frozenset[str],
):
    clusters, states = ClusterSet(), dict[str, Cluster]()
    for (external_id, first, last), named in spans:
        states[external_id] = cluster(external_id, first_at=first, last_at=last, entities=tuple(named))
        clusters.put(states[external_id])
    rules = ClusterRules(lookback=timedelta(days=days), candidates=candidates)
    found = clusters.near(moment, rules, entities=entities)
    assert [one.external_id for one in found] == brute_force(states, moment, rules, entities)
    assert all(one is states[one.external_id] for one in found)


def named(*entities: str) -> list[Entity]:
    return [Entity(*entity.split(":", 1), None, 0.9, "") for entity in entities]


def test_an_event_that_names_numbers_is_compared_by_these_alone():
    entities = named("project:#12", "engineer:@ada", "project:PAY-1", "reference:branch:main", "config:A_B")
    assert compared_entities(source_event(), entities) == ("project:#12", "project:PAY-1")


def test_an_event_without_numbers_is_compared_by_all_it_names():
    assert compared_entities(source_event(), named("engineer:@ada", "config:A_B")) == ("engineer:@ada", "config:A_B")
    assert compared_entities(source_event(), ()) == ()


def test_a_commit_without_numbers_is_compared_by_its_files():
    files = [f"src/{n}.py" for n in range(30)]
    commit = source_event(source=Source.GIT, source_type="push", metadata={"files": files})
    unnamed = named("reference:abc1234", "reference:branch:main")
    assert compared_entities(commit, unnamed) == tuple(f"definition:src/{n}.py" for n in range(20))
    assert compared_entities(commit, named("project:#1")) == ("project:#1",)
    merge = source_event(source=Source.GIT, metadata={"files": []})
    assert compared_entities(merge, unnamed) == ("reference:abc1234", "reference:branch:main")


def test_only_git_history_is_believed_to_list_its_files():
    assert compared_entities(source_event(metadata={"files": ["a.py"]}), named("config:A_B")) == ("config:A_B",)
