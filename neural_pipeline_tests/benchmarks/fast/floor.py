"""The floor: the same work set-wise on the real schema, without Dagster. What is left to be gained lies above it."""

from neural_pipeline.resources import Pipeline
from neural_pipeline_tests.benchmarks.fast.capture_logic import work_off_due
from neural_pipeline_tests.benchmarks.fast.events import Events
from neural_pipeline_tests.benchmarks.fast.measuring import BenchSite, Measured
from neural_pipeline_tests.benchmarks.fast.rooms import ROOMS
from neural_pipeline_tests.benchmarks.fast.working import Crew, Signals, contest

NAME = "floor: set-wise, no Dagster"
CREWS = (Crew(1), Crew(2))
_PAUSE_SECONDS = 0.02


def run(events: Events, site: BenchSite, crew: Crew = CREWS[0]) -> Measured:
    """Measure it."""
    return contest(NAME, events, site, crew=crew, work=work)


def work(_threads: int, signals: Signals) -> None:
    """Work off batches of whatever is due, of one function after the other."""
    pipeline = Pipeline()
    pipeline.settings  # noqa: B018 - read before the clock runs
    signals.ready.release()
    while not signals.stop.is_set():
        if not sum(work_off_due(pipeline, function_id) for function_id in ROOMS):
            signals.stop.wait(_PAUSE_SECONDS)
