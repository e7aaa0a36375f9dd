"""What the stories of the state machine are told with: workers that die, endings of events, reads of the database."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import Engine, text

from neural_pipeline.contracts.lifecycle import Cause
from neural_pipeline.store.outcomes import FailedAttempt
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.observation_capture.persist import Persistence
from neural_pipeline.workflows.observation_capture.verdicts import Decided, Examined
from neural_pipeline.workflows.observation_capture.work import Filtered
from neural_pipeline_tests.building import column

OBSERVED, FILTERED, STUMBLES, REJECTED = "observed", "filtered", "stumbles", "rejected"
ENDINGS = st.lists(st.sampled_from([OBSERVED, FILTERED, STUMBLES, REJECTED]), min_size=1, max_size=6)
TROUBLE = FailedAttempt("embed", "the op broke", "RuntimeError", None, Cause.CODE_ERROR)
FINISHED = "status in ('completed', 'failed', 'cancelled')"

SAME = """
update incoming_events set payload = jsonb_set(payload, '{sourceEvent,sourceId}', '"same"') where id = any(:ids)
"""


class Died(Exception):
    """The worker is dead: what it has committed stands, the rest it never does."""


@dataclass(slots=True)
class Mortal(Persistence):
    """The store step of a worker that dies after some commits."""

    commits: int = 0

    def _commit(self, chunk: Sequence[Decided], left: Sequence[Decided]) -> Exception | None:
        if self.commits == 0:
            raise Died
        self.commits -= 1
        return Persistence._commit(self, chunk, left)


def mortal(persistence: Persistence, *, commits: int) -> Mortal:
    return Mortal(**{field.name: getattr(persistence, field.name) for field in fields(persistence)}, commits=commits)


def ending(one: Examined, how: str) -> Examined:
    match how:
        case "filtered":
            return Examined(one.event, Filtered("below_threshold", 10))
        case "stumbles":
            return Examined(one.event, Failure("embed", "it stumbled", "RuntimeError"))
        case "rejected":
            return Examined(one.event, Failure("gate", "it is refused", "ValueError", rejected=True))
        case _:
            return one


class Story(RuleBasedStateMachine):
    """A state machine on a database of its own."""

    engine: Engine

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(sql), parameters).mappings()]

    def column(self, sql: str, **parameters: Any) -> list[Any]:
        with self.engine.begin() as connection:
            return column(connection, sql, **parameters)

    def execute(self, sql: str, **parameters: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql), parameters)

    def facts(self) -> list[dict[str, Any]]:
        return self.rows("select * from incoming_events order by id")
