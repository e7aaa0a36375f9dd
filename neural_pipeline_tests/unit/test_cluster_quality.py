"""Clusters hold what belongs together: the floor under the numbers of decision 13."""

from datetime import timedelta

import pytest

from neural_pipeline.contracts.events import Actor, Source
from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline_tests.benchmarks.cluster_quality import Quality, observe, quality
from neural_pipeline_tests.benchmarks.corpora import PULL_REQUEST, TOPIC, Corpus, amid, sample
from neural_pipeline_tests.building import source_event

STRANGERS = [
    source_event(
        f"commit-{number}",
        source=Source.GIT,
        source_type="push",
        title=f"[Push] Fix the {'abcdefgh'[number % 8] * 7} of module {number}",
        body="",
        actor=Actor(id=f"{number}@acme.io", name=f"{number}"),
        metadata={"files": [f"src/{number}.py"]},
    )
    for number in range(200)
]


def measured(corpus: Corpus) -> Quality:
    return quality(corpus, observe(corpus, HashingEmbedder()))


@pytest.fixture(scope="module")
def alone() -> Quality:
    return measured(sample())


def test_most_events_of_a_pull_request_share_a_cluster(alone: Quality):
    recall = alone.recall[PULL_REQUEST]
    assert recall.of_all == 45
    assert recall.of_these >= 34


def test_no_cluster_mixes_topics(alone: Quality):
    precision = alone.precision[TOPIC]
    assert precision.of_these == precision.of_all >= 55


def test_a_busy_workspace_hides_no_cluster_from_its_events(alone: Quality):
    busy = amid(sample(), STRANGERS, times=1)
    assert len(busy.events) == len(sample().events) + len(STRANGERS)
    found = measured(busy)
    assert (found.recall, found.precision) == (alone.recall, alone.precision)
    assert busy.events[1].occurred_at - busy.events[0].occurred_at < timedelta(hours=2)
