"""The pipeline's own definitions, in a process in which a test can stop a run inside an op and see who it is.

`<home>/pause/<op>` makes every run wait in that op as long as the file is there; `<home>/at/<op>` then holds its pid.
A title with `poison` kills the worker that classifies it, one with `hang` keeps it for ever.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neural_pipeline import definitions
from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.store import outcomes
from neural_pipeline.workflows.cluster_summary import job as summary_job
from neural_pipeline.workflows.llm_entity_extraction import job as extraction_job
from neural_pipeline.workflows.observation_capture import analysis, classifying, job
from neural_pipeline.workflows.observation_capture.persist import Persistence
from neural_pipeline.workflows.profile_update import job as profile_job
from neural_pipeline_tests.faults.events import HANG, POISON

_HOME = Path(os.environ["NEURAL_HOME"])
_PATIENCE = 120.0


def _wait_in(op: str) -> None:
    pause = _HOME / "pause" / op
    if not pause.exists():
        return
    mark = _HOME / "at" / op
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(str(os.getpid()))
    deadline = time.monotonic() + _PATIENCE
    while pause.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def _stoppable(place: Any, name: str, op: str) -> None:
    real: Callable[..., Any] = getattr(place, name)

    def stopping(*given: Any, **named: Any) -> Any:
        _wait_in(op)
        return real(*given, **named)

    setattr(place, name, stopping)


def _with_marked_titles(classify: Callable[[SourceEvent], Any]) -> Callable[[SourceEvent], Any]:
    def classify_or_die(event: SourceEvent) -> Any:
        if POISON in event.title:
            os.kill(os.getpid(), signal.SIGKILL)
        while HANG in event.title:
            time.sleep(1)
        return classify(event)

    return classify_or_die


OPS = {
    "load": (job, "with_events"),
    "gate": (job, "pass_gate"),
    "classify": (job, "classify_all"),
    "embed": (job, "embed_by_workspace"),
    "extract_entities": (analysis, "find_entities"),
    "resolve_actors": (job, "recall_authors"),
    "assign_clusters": (job, "decide"),
    "store": (Persistence, "_write"),
    "transaction": (outcomes, "keep_outcomes"),
    "recount": (profile_job, "keep_profiles"),
    "summarise": (summary_job, "ask_all"),
    "extract": (extraction_job, "ask_all"),
}
"""What each op calls first, and where it looks that up; what the store calls in the middle of a transaction; and what
the three children call when they write, or ask.
"""

for _op, (_place, _name) in OPS.items():
    _stoppable(_place, _name, _op)
classifying.classify_by_rules = _with_marked_titles(classifying.classify_by_rules)
defs = definitions.defs
