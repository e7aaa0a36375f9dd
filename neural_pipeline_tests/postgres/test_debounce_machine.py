"""A state machine of debounced events: whatever comes, goes and comes back, one waits per key, and none is lost."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, multiple, rule, run_state_machine_as_test
from sqlalchemy import Engine

from neural_pipeline.contracts.debounce import Debounce
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.store import batches, outcomes, settlement
from neural_pipeline.store.batches import BatchLost, Token
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.inbox import append
from neural_pipeline.store.outcomes import Retry
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.store.summaries import unexplained
from neural_pipeline_tests.building import LIMITS, empty_tables, end_run, workspaces
from neural_pipeline_tests.debouncing import PROFILE, STUMBLED, child
from neural_pipeline_tests.postgres.story import Story

KEYS = st.sampled_from(["a", "b"])


class Debounced(Story):
    """Two keys in one workspace, and the runs that work on them."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.newest: dict[str, int] = {}
        with self.engine.begin() as connection:
            empty_tables(connection)
            workspaces(connection, "ws_test")

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4))
    def news_come(self, keys: list[str]) -> None:
        given = [child(key, f"{self.asked}-{n}", debounce=Debounce(key, 0, 0)) for n, key in enumerate(keys)]
        self.asked += 1
        with self.engine.begin() as connection:
            ids = sorted(append(connection, given))
        self.newest |= dict(zip(keys, ids, strict=True))

    @rule(target=tokens)
    def a_run_begins(self) -> Any:
        self.execute("update incoming_events set due_at = clock_timestamp() where due_at > clock_timestamp()")
        with self.engine.begin() as connection:
            due = batches.due_events(connection, function_id=PROFILE, at_most=10)
            if not due:
                return multiple()
            batch_id = batches.put_on_batch(connection, due, function_id=PROFILE, trigger=Trigger.AUTOMATIC)
            token = batches.take(connection, batch_id, run_id=f"run-{batch_id}", seconds=600, lease=60)
            assert token is not None
            batches.begin(connection, token)
            return token

    @rule(token=tokens)
    def a_run_takes_what_became_due(self, token: Token) -> None:
        with self.engine.begin() as connection:
            if token in batches.batches_of(connection, token.run_id):
                batches.top_up(connection, token, function_id=PROFILE, limits=LIMITS)
                batches.begin(connection, token)

    @rule(token=tokens, place=st.integers(0, 3), is_late=st.booleans())
    def an_event_comes_back(self, token: Token, place: int, is_late: bool) -> None:
        ids = self.column("select id from incoming_events where batch_id = :id order by id", id=token.batch_id)
        try:
            with self.engine.begin() as connection:
                batches.hold_alone(connection, token)
                chosen = sorted(outcomes.look_again(connection, ids, token=token).unfinished)[place : place + 1]
                if is_late:
                    settlement.release(connection, chosen)
                else:
                    outcomes.postpone(connection, [Retry(id_, STUMBLED, 5.0) for id_ in chosen], token=token)
        except BatchLost:
            assert token.run_id not in self.column("select run_id from event_batches where state = 'running'")

    @rule(token=tokens, end=st.sampled_from([RunEnd.SUCCESS, RunEnd.LOST, RunEnd.CANCELED]))
    def a_run_ends(self, token: Token, end: RunEnd) -> None:
        with self.engine.begin() as connection:
            end_run(connection, token, end)

    @rule()
    def the_daemon_goes_down(self) -> None:
        with self.engine.begin() as connection:
            settlement.hand_back_all(connection, reason="handed_back: shutdown")

    @rule(key=KEYS)
    def somebody_cancels(self, key: str) -> None:
        if key in self.newest:
            with self.engine.begin() as connection:
                cancel_event(connection, self.newest[key], by="ada")

    @invariant()
    def one_waits_per_key(self) -> None:
        waiting = "select debounce_key from incoming_events where batch_id is null and outcome is null"
        keys = self.column(waiting)
        assert len(keys) == len(set(keys))

    @invariant()
    def the_newest_is_superseded_by_nothing_and_every_other_by_a_newer_one(self) -> None:
        superseded = {
            row["id"]: row["superseded_by"]
            for row in self.rows("select * from incoming_events where outcome = 'superseded'")
        }
        assert not superseded.keys() & set(self.newest.values())
        assert all(newer > old for old, newer in superseded.items())

    @invariant()
    def all_records_account_for_each_other(self) -> None:
        with self.engine.begin() as connection:
            assert unexplained(connection) == 0

    @invariant()
    def a_superseded_run_was_never_begun(self) -> None:
        sql = """
        select r.started_at, r.duration_ms, r.attempt = e.attempt as is_counted
        from incoming_events e join lightfast_workspace_workflow_runs r on r.event_id = e.id
        where e.outcome = 'superseded'
        """
        for row in self.rows(sql):
            assert tuple(row.values()) == (None, "0", True)


def test_one_event_waits_per_key_whatever_happens(engine: Engine) -> None:
    run_state_machine_as_test(
        type("DebouncedHere", (Debounced,), {"engine": engine}),
        settings=settings(
            max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
