"""How long search takes at 100,000 observations: `python -m neural_pipeline_tests.benchmarks.search_speed [COUNT]`.

Makes a memory in a server of its own, indexes it, and asks: warm, one question after the other. Takes some minutes.
"""

import sys
from collections.abc import Callable, Sequence
from time import perf_counter, process_time

import numpy as np
from sqlalchemy import Engine, text

from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import ephemeral_server, server_url
from neural_pipeline.store import search_ways
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.migrate import upgrade
from neural_pipeline.store.search import Embedding, names_in, search
from neural_pipeline.store.search_ways import Scope, named_actors, named_entities, near_texts
from neural_pipeline.workflows.vector_indexing.indexing import VectorIndexing
from neural_pipeline_tests.benchmarks.memory import Draft, fill

EMBEDDER = HashingEmbedder(256)
TAIL = 5_000
QUESTIONS = 200


def questions(made: Sequence[Draft]) -> list[str]:
    """Return questions of three or four words of some observation, every other one with an entity and an actor."""
    random = np.random.default_rng(3)
    asked = list[str]()
    for place in random.integers(len(made), size=QUESTIONS):
        one = made[place]
        words = " ".join(random.choice(f"{one.title} {one.content}".split(), size=4))
        asked.append(f"{words} @entity{next(iter(one.entities))} person{one.actor}" if place % 2 else words)
    return asked


def say(line: str) -> None:
    """Show a result at once: the next one takes minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def timed(label: str, asked: Sequence[str], ask: Callable[[str], object]) -> None:
    """Ask everything twice and print what the second time took, in milliseconds."""
    for question in asked:
        ask(question)
    took = list[float]()
    began = process_time()
    for question in asked:
        start = perf_counter()
        ask(question)
        took.append(1000 * (perf_counter() - start))
    own = 1000 * (process_time() - began) / len(asked)
    p50, p95, longest = np.percentile(took, [50, 95, 100])
    say(f"{label}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, longest {longest:.1f} ms, {own:.1f} ms of it here")


def measure(engine: Engine, count: int) -> None:
    """Fill a database and print how long searches take."""
    start = perf_counter()
    made = fill(engine, "ws_large", count - TAIL)
    say(f"{count - TAIL} observations made in {perf_counter() - start:.0f} s")
    start = perf_counter()
    say(f"{VectorIndexing(engine, tail=0, seconds=3600).run()} in {perf_counter() - start:.0f} s")
    small = fill(engine, "ws_small", TAIL, seed=2)
    with engine.begin() as connection:
        # The tail of the large one: as many vectors as may wait before they are moved.
        for table in ("lightfast_workspace_neural_observations", "observation_vectors"):
            connection.execute(text(f"update {table} set workspace_id = 'ws_large' where workspace_id = 'ws_small'"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    asked = questions([*made, *small])

    def find(question: str) -> object:
        with engine.begin() as connection:
            embedding = Embedding(EMBEDDER.name, EMBEDDER.embed([question])[0])
            return search(connection, question, workspace_id="ws_large", embedding=embedding, limit=10)

    timed(f"search, {count} observations, {TAIL} of them in the tail", asked, find)
    for label, way in ways(engine).items():
        timed(f"  {label}", asked, way)
    say(f"of the ten nearest texts the index gives {found_share(engine, asked):.3f}")


def ways(engine: Engine) -> dict[str, Callable[[str], object]]:
    """Return each way of finding by itself."""
    scope = Scope("ws_large", 50)

    def texts(question: str) -> object:
        with engine.begin() as connection:
            return near_texts(connection, EMBEDDER.embed([question])[0], model=EMBEDDER.name, scope=scope)

    def entities(question: str) -> object:
        with engine.begin() as connection:
            return named_entities(connection, names_in(question), scope=scope)

    def actors(question: str) -> object:
        with engine.begin() as connection:
            return named_actors(connection, names_in(question), scope=scope)

    return {"texts": texts, "entities": entities, "actors": actors}


def found_share(engine: Engine, asked: Sequence[str]) -> float:
    """Return which share of the ten nearest the approximate way finds."""
    shares = list[float]()
    limit = search_ways.COMPARED_ONE_BY_ONE
    for question in asked[:50]:
        vector = EMBEDDER.embed([question])[0]
        nearest = list[set[int]]()
        for bound in (limit, sys.maxsize // 1000):
            search_ways.COMPARED_ONE_BY_ONE = bound
            with engine.begin() as connection:
                near = near_texts(connection, vector, model=EMBEDDER.name, scope=Scope("ws_large", 50))
            nearest.append({one.observation_id for one in near[:10]})
        shares.append(len(nearest[0] & nearest[1]) / max(1, len(nearest[1])))
    search_ways.COMPARED_ONE_BY_ONE = limit
    return float(np.mean(shares))


def main(count: int) -> None:
    """Measure in a server that goes with this process."""
    with ephemeral_server() as home:
        create_database(server_url(home, "postgres"), "bench")
        engine = engine_for(server_url(home, "bench"))
        upgrade(engine)
        measure(engine, count)
        engine.dispose()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
