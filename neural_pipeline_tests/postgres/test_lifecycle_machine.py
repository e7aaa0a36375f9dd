"""A state machine over the real database: whatever happens, and in whatever order, the record tells the truth.

Its rules are what runs, sensors, the reconciler, people and time may do to batches and events; its invariants are those
of docs/reliability.md. At the end of every story a last run that works shows that nothing has got stuck.
"""

from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, text

from neural_pipeline.contracts.batching import Limits
from neural_pipeline.contracts.lifecycle import RunStatus
from neural_pipeline.store import batches, leases, lifecycle, settlement
from neural_pipeline.store.batches import BatchLost, Token
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.settlement import RunEnd
from neural_pipeline.store.summaries import unexplained
from neural_pipeline.workflows.observation_capture.verdicts import Examined
from neural_pipeline_tests.building import (
    CAPTURE,
    column,
    empty_tables,
    examined,
    persistence,
    waiting,
    workspaces,
)
from neural_pipeline_tests.building import end_run as settle_as
from neural_pipeline_tests.postgres.story import ENDINGS, FINISHED, SAME, TROUBLE, Died, Story, ending, mortal

EXTRA_ATTEMPTS = 2
ISOLATING_LOSSES = 3
LIMITS = Limits(max_events=8, max_bytes=10_000_000, max_open=3, isolating_losses=ISOLATING_LOSSES)
WORKSPACES = ("ws_a", "ws_b")
"""Few of everything, so that things meet."""


class Lifecycle(Story):
    """One inbox and everything that may happen to it."""

    events = Bundle("events")
    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.arrived = 0
        self.runs = 0
        self.loaded: dict[Token, list[Examined]] = {}
        self.seen_finished: dict[int, dict[str, Any]] = {}
        with self.engine.begin() as connection:
            empty_tables(connection)
            workspaces(connection, *WORKSPACES)

    # What comes in.

    @initialize(target=events)
    def some_wait(self) -> Any:
        return self.arrive(WORKSPACES[0], 3)

    @rule(target=events, workspace=st.sampled_from(WORKSPACES), count=st.integers(1, 4))
    def arrive(self, workspace: str, count: int) -> Any:
        self.arrived += 1
        with self.engine.begin() as connection:
            return multiple(*waiting(connection, count, workspace_id=workspace, prefix=f"e{self.arrived}"))

    @rule(target=events, workspace=st.sampled_from(WORKSPACES))
    def arrive_with_the_source_id_of_another(self, workspace: str) -> Any:
        self.arrived += 1
        with self.engine.begin() as connection:
            ids = waiting(connection, 1, workspace_id=workspace, prefix=f"e{self.arrived}")
            connection.execute(text(SAME), {"ids": ids})
            return multiple(*ids)

    @rule()
    def time_passes(self) -> None:
        self.execute("update incoming_events set due_at = clock_timestamp() where due_at > clock_timestamp()")

    # What sensors and runs do.

    def assign(self) -> None:
        with self.engine.begin() as connection:
            batches.assign(connection, function_id=CAPTURE, limits=LIMITS)

    @rule(target=tokens, is_topped_up=st.booleans())
    def a_batch_is_assigned_and_taken(self, is_topped_up: bool) -> Any:
        self.assign()
        return self.take(is_topped_up=is_topped_up)

    def take(self, *, is_topped_up: bool = False) -> Any:
        self.runs += 1
        with self.engine.begin() as connection:
            waiting_batches = batches.open_batches(connection, function_id=CAPTURE)
            if not waiting_batches:
                return multiple()
            token = batches.take(connection, waiting_batches[0], run_id=f"run-{self.runs}", seconds=600, lease=60)
            assert token is not None
            if is_topped_up:
                batches.top_up(connection, token, function_id=CAPTURE, limits=LIMITS)
            batches.begin(connection, token)
            self.loaded[token] = examined(connection, token)
            return token

    @rule(token=tokens, endings=ENDINGS, chunk=st.integers(1, 4), commits=st.integers(1, 8))
    def a_run_commits_some(self, token: Token, endings: list[str], chunk: int, commits: int) -> None:
        """Also one that has lost its batch; a run may die between two commits, and one that did not may go on."""
        with self.engine.begin() as connection:
            is_held = token in batches.batches_of(connection, token.run_id)
        before = self.facts()
        seen = [ending(one, how) for one, how in zip(self.loaded[token], cycle(endings), strict=False)]
        worker = mortal(persistence(self.engine, token, chunk=chunk, extra_attempts=EXTRA_ATTEMPTS), commits=commits)
        try:
            worker.keep(seen, worker.decide(seen, set()))
        except BatchLost:
            assert not is_held
        except Died:
            pass
        assert is_held or self.facts() == before

    @rule(endings=ENDINGS, end=st.sampled_from([RunEnd.SUCCESS, RunEnd.FAILURE, RunEnd.LOST, RunEnd.TIMEOUT]))
    def a_run_lives_from_beginning_to_end(self, endings: list[str], end: RunEnd) -> None:
        self.time_passes()
        self.assign()
        token = self.take()
        if isinstance(token, Token):
            self.a_run_commits_some(token, endings, 2, 1 if end is not RunEnd.SUCCESS else 9)
            self.a_run_ends(token, end)

    @rule(token=tokens)
    def a_run_status_arrives(self, token: Token) -> None:
        with self.engine.begin() as connection:
            settlement.record_run(connection, token.run_id)

    @rule(token=tokens, end=st.sampled_from([*RunEnd, RunEnd.SUCCESS, RunEnd.FAILURE, RunEnd.FAILURE]))
    def a_run_ends(self, token: Token, end: RunEnd) -> None:
        with self.engine.begin() as connection:
            settle_as(connection, token, end)

    @rule(token=tokens)
    def an_op_fails(self, token: Token) -> None:
        with self.engine.begin() as connection:
            settlement.settle(
                connection,
                token.batch_id,
                run_id=token.run_id,
                end=RunEnd.FAILURE,
                isolating_losses=ISOLATING_LOSSES,
                trouble=TROUBLE,
            )

    @rule(token=tokens)
    def a_run_hands_its_batch_back(self, token: Token) -> None:
        with suppress(BatchLost), self.engine.begin() as connection:
            settlement.hand_back(connection, token)

    @rule(token=tokens)
    def a_worker_shows_a_sign_of_life(self, token: Token) -> None:
        with self.engine.begin() as connection:
            is_held = token in batches.batches_of(connection, token.run_id)
            assert (leases.renew(connection, token, seconds=60) is not leases.Standing.LOST) == is_held

    # What befalls them.

    @rule(token=tokens, what=st.sampled_from(["lease_until", "deadline_at"]))
    def a_worker_is_lost_or_late_and_the_reconciler_sees_it(self, token: Token, what: str) -> None:
        self.execute(f"update event_batches set {what} = clock_timestamp() where id = :id", id=token.batch_id)
        self.reconcile()

    @rule()
    def reconcile(self) -> None:
        with self.engine.begin() as connection:
            unfinished = leases.unfinished_batches(connection)
        for batch in unfinished:
            with self.engine.begin() as connection:
                lifecycle.record_batch(connection, batch.id)
                if batch.run_id and (batch.is_overdue or batch.is_abandoned):
                    end = RunEnd.TIMEOUT if batch.is_overdue else RunEnd.LOST
                    settlement.settle(
                        connection, batch.id, run_id=batch.run_id, end=end, isolating_losses=ISOLATING_LOSSES
                    )

    @rule(event_id=events, is_meant=st.sampled_from([True, False, False, False]))
    def somebody_cancels(self, event_id: int, is_meant: bool) -> None:
        if not is_meant:
            return
        with self.engine.begin() as connection:
            before = column(connection, "select outcome from incoming_events where id = :id", id=event_id)
            end = cancel_event(connection, event_id, by="ada")
        assert end is not None
        assert end.is_new == (before == [None])
        [row] = self.rows(f"select status from {RUNS} where event_id = :id", id=event_id)
        assert end.status == (row["status"] if before == [None] else before[0])

    # What always holds.

    @invariant()
    def finished_rows_do_not_change(self) -> None:
        now = {row["id"]: row for row in self.rows(f"select * from {RUNS} where {FINISHED}")}
        for id_, row in self.seen_finished.items():
            assert now[id_] == row
        self.seen_finished = now

    @invariant()
    def all_records_account_for_each_other(self) -> None:
        with self.engine.begin() as connection:
            assert unexplained(connection) == 0

    @invariant()
    def a_finished_row_has_the_times_and_the_reason_of_its_facts(self) -> None:
        sql = f"""
        select r.*, e.begun_at, e.outcome_at, e.attempt as attempts, e.error_message as reason
        from {RUNS} r join incoming_events e on e.id = r.event_id where r.{FINISHED}
        """
        for row in self.rows(sql):
            assert row["completed_at"] == row["outcome_at"] >= (row["started_at"] or row["created_at"])
            assert row["started_at"] == row["begun_at"]
            assert (row["attempt"], row["error_message"]) == (row["attempts"], row["reason"])
            assert (row["status"] == RunStatus.FAILED) == (row["cause"] is not None)
            assert row["status"] != RunStatus.FAILED or (row["error_message"] and row["output"]["step"])

    @invariant()
    def attempts_stay_within_limits_and_each_failed_one_is_kept(self) -> None:
        sql = """
        select e.outcome, e.attempt, e.losses, e.cause,
          (select count(distinct a.attempt) from workflow_run_attempts a where a.event_id = e.id) as kept
        from incoming_events e where e.function_id = :function_id
        """
        for row in self.rows(sql, function_id=CAPTURE):
            assert row["attempt"] <= 1 + EXTRA_ATTEMPTS
            failed_attempts = row["attempt"] - (row["outcome"] == "completed")
            assert row["kept"] in {failed_attempts, failed_attempts + 1}
            assert row["losses"] <= ISOLATING_LOSSES + (row["outcome"] == "failed")

    @invariant()
    def an_observation_is_made_once_and_by_a_completed_capture(self) -> None:
        made = "select event_id from lightfast_workspace_neural_observations"
        captured = "select id as event_id from incoming_events where output ->> 'status' = 'success'"
        assert sorted(self.column(made)) == sorted(self.column(captured))
        spread = "select coalesce(sum(observation_count), 0) as n from lightfast_workspace_observation_clusters"
        assert self.column(spread) == [len(self.column(made))]

    @invariant()
    def a_waiting_row_looks_as_if_nothing_had_begun(self) -> None:
        sql = f"select * from {RUNS} where status = 'queued'"
        for row in self.rows(sql):
            assert (row["started_at"], row["completed_at"], row["dagster_run_id"], row["output"]) == (None,) * 4

    def teardown(self) -> None:
        """Let runs that work do what is left: everything ends, in a bounded number of them."""
        for _ in range(60):
            if not self.column("select id from incoming_events where outcome is null and function_id = :f", f=CAPTURE):
                break
            self.execute("update incoming_events set due_at = clock_timestamp() where due_at > clock_timestamp()")
            self.execute("update event_batches set lease_until = clock_timestamp() where state = 'running'")
            self.reconcile()
            self.assign()
            while isinstance(token := self.take(), Token):
                with self.engine.begin() as connection:
                    seen = examined(connection, token)
                worker = persistence(self.engine, token, extra_attempts=EXTRA_ATTEMPTS)
                worker.keep(seen, worker.decide(seen, set()))
                self.a_run_ends(token, RunEnd.SUCCESS)
        self.reconcile()
        assert self.column(f"select id from {RUNS} where not {FINISHED} and inngest_function_id = :f", f=CAPTURE) == []
        self.finished_rows_do_not_change()
        self.all_records_account_for_each_other()


RUNS = "lightfast_workspace_workflow_runs"


@pytest.fixture
def machine(engine: Engine) -> type[Lifecycle]:
    """The machine on this test's own database."""
    return type("LifecycleHere", (Lifecycle,), {"engine": engine})


@pytest.mark.slow
def test_the_record_tells_the_truth_whatever_happens(machine: type[Lifecycle]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
