"""`python -m neural_pipeline_tests.benchmarks.cluster_quality [REPOSITORY]`: do clusters hold what belongs together?

Events go through the real rules, embedder and decisions, in order, without a database.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil
from pathlib import Path
from statistics import median

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.contracts.memory import NewObservation
from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules
from neural_pipeline.workflows.observation_capture.gate import Thresholds
from neural_pipeline.workflows.observation_capture.logic import (
    classify_by_rules,
    extract_entities,
    score_significance,
    topics_of,
    views_of,
)
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Findings, Memory, decide
from neural_pipeline.workflows.observation_capture.work import CaptureEvent
from neural_pipeline_tests.benchmarks.corpora import Corpus, Pairs, amid, history, sample
from neural_pipeline_tests.building import findings

_THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many pairs."""

    of_these: int
    of_all: int

    def __str__(self) -> str:
        return f"{self.of_these}/{self.of_all}" + (f" = {self.of_these / self.of_all:.2f}" if self.of_all else "")


@dataclass(frozen=True, slots=True)
class Quality:
    """What the clusters of a corpus are like; recall and precision of pairs, by what is said to belong together."""

    observations: int
    sizes: Sequence[int]
    recall: Mapping[str, Share]
    precision: Mapping[str, Share]


def observe(corpus: Corpus, embedder: Embedder) -> list[NewObservation]:
    """Capture the events of a corpus in order; those of little significance are left out."""
    examined = [
        Examined(CaptureEvent(number, "ws", "org", None, event), _found(event, embedder))
        for number, event in enumerate(corpus.events)
        if score_significance(event).score >= _THRESHOLDS.of(event)
    ]
    decided = decide(examined, Memory(), ClusterRules())
    return [one.verdict for one in decided if isinstance(one.verdict, NewObservation)]


def _found(event: SourceEvent, embedder: Embedder) -> Findings:
    classification = classify_by_rules(event)
    return replace(
        findings(),
        significance=score_significance(event),
        classification=classification,
        topics=topics_of(event, classification),
        entities=extract_entities(event),
        vectors=embedder.embed(views_of(event)),
        embedded_by=embedder.name,
    )


def quality(corpus: Corpus, observations: Sequence[NewObservation]) -> Quality:
    """Compare the clusters of observations with what belongs together."""
    clusters: dict[str, list[str]] = {}
    for one in observations:
        clusters.setdefault(one.cluster.external_id, []).append(one.source_event.source_id)
    captured = frozenset(one.source_event.source_id for one in observations)
    pairs = (frozenset(pair) for members in clusters.values() for pair in combinations(members, 2))
    together = frozenset(pair for pair in pairs if not pair <= corpus.strangers)
    truths = {name: frozenset(pair for pair in pairs if pair <= captured) for name, pairs in corpus.truths.items()}
    return Quality(
        observations=len(observations),
        sizes=sorted(map(len, clusters.values())),
        recall={name: _share(pairs, together) for name, pairs in truths.items()},
        precision={name: _share(together, pairs) for name, pairs in truths.items()},
    )


def _share(pairs: Pairs, among: Pairs) -> Share:
    return Share(len(pairs & among), len(pairs))


def report(corpus: Corpus, found: Quality) -> Iterator[str]:
    """Yield the lines that are printed of a corpus."""
    sizes, most = found.sizes, len(found.sizes) - 1
    yield f"{corpus.name}: {len(corpus.events)} events, {found.observations} observations, {len(sizes)} clusters"
    alone = Share(sum(size == 1 for size in sizes), len(sizes))
    yield f"  sizes: singletons {alone}, median {median(sizes)}, p90 {sizes[ceil(0.9 * most)]}, max {sizes[-1]}"
    for name in corpus.truths:
        yield f"  {name}: recall {found.recall[name]}, precision {found.precision[name]}"


def labels(observations: Sequence[NewObservation]) -> Iterator[str]:
    """Yield the size and the last label of every cluster."""
    for one in {one.cluster.external_id: one for one in observations}.values():
        yield f"  {one.cluster.count:4} {one.cluster.label!r}"


def main() -> None:
    """Print the quality of the clusters of the sample dataset and of a repository's history."""
    parser = argparse.ArgumentParser(prog="python -m neural_pipeline_tests.benchmarks.cluster_quality")
    parser.add_argument("repository", nargs="?", type=Path, default=Path.cwd())
    parser.add_argument("--limit", type=int, help="only the newest commits")
    parser.add_argument("--labels", action="store_true", help="print the clusters' labels too")
    given = parser.parse_args()
    known, own = sample(), history(given.repository, given.limit)
    for corpus in (known, amid(known, own.events, times=4), own):
        observations = observe(corpus, HashingEmbedder())
        lines = (*report(corpus, quality(corpus, observations)), *(labels(observations) if given.labels else ()))
        sys.stdout.write("\n".join((*lines, "")))


if __name__ == "__main__":
    main()
