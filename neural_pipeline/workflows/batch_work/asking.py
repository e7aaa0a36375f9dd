"""Putting the questions of a batch to a language model, several at a time: within a budget, a deadline, fair bounds.

What a model answers is kept before anything is done with it, so a run that is lost does not pay twice. Repeating a call
is the model's own affair; what follows from an answer or a failure is the room's.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic

from neural_pipeline.models.language import ModelFailed, Shape, Trouble
from neural_pipeline.store.model_calls import BudgetExhausted
from neural_pipeline.workflows.batch_work import call_records
from neural_pipeline.workflows.batch_work.call_records import Asker
from neural_pipeline.workflows.batch_work.questions import Answers, Asked, Reply, put

MOST_AT_ONCE = 32
"""Calls under way in one run, whatever the workspaces' bounds add up to: each is a thread and a connection."""


def ask_all(asker: Asker, questions: Sequence[Asked[Shape]]) -> Answers[Shape]:
    """Answer the questions of a batch, one per event; each event's failure is its own.

    Raises what the database says when a call cannot be reserved, after the calls under way are waited for and kept. An
    answer in hand is never lost over the database: the event has it, whether it could be kept or not.
    """
    answers = Answers[Shape]()
    if asker.model.is_offline:
        for asked in questions:
            if time.monotonic() > asker.deadline and answers.found:
                answers.unasked.add(asked.event_id)
            else:
                answers.take(asked.event_id, put(asker.model, asked.question, step=asker.step))
        return answers
    answers.found.update(call_records.kept_answers(asker, questions))
    answers.kept = len(answers.found)
    _Round(asker, answers, _by_workspace(asked for asked in questions if asked.event_id not in answers.found)).go()
    return answers


def _by_workspace(questions: Iterable[Asked[Shape]]) -> dict[str, deque[Asked[Shape]]]:
    waiting: dict[str, deque[Asked[Shape]]] = {}
    for asked in questions:
        waiting.setdefault(asked.workspace_id, deque()).append(asked)
    return waiting


@dataclass(frozen=True, slots=True)
class _Call(Generic[Shape]):
    id: int
    asked: Asked[Shape]


@dataclass(slots=True)
class _Round(Generic[Shape]):
    """The calls of one run. Threads only wait for the model: all else happens here, so nothing needs a lock."""

    asker: Asker
    answers: Answers[Shape]
    waiting: dict[str, deque[Asked[Shape]]]
    under_way: dict[Future[Reply[Shape]], _Call[Shape]] = field(
        default_factory=dict[Future[Reply[Shape]], _Call[Shape]]
    )
    running: Counter[str] = field(default_factory=Counter[str])

    def go(self) -> None:
        """Ask until nothing waits or may be asked any more."""
        with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="asking") as threads:
            try:
                self._start(threads)
                while self.under_way:
                    self._settle()
                    self._start(threads)
            finally:
                # A run that is interrupted, too, keeps what it pays for.
                while self.under_way:
                    self._settle()

    def _start(self, threads: ThreadPoolExecutor) -> None:
        asker = self.asker
        while (asked := self._next()) is not None:
            if time.monotonic() >= asker.deadline:
                self.answers.unasked.update(left.event_id for left in self._with_the_rest(asked))
                return
            try:
                call_id = call_records.reserve(asker, asked)
            except BudgetExhausted as exhausted:
                if self.under_way and exhausted.wanted <= exhausted.budget:
                    # They have most likely used less than they have reserved.
                    self._put_back(asked)
                    return
                self._refuse(asked, exhausted)
                continue
            self.answers.calls += 1
            self.running[asked.workspace_id] += 1
            future = threads.submit(put, asker.model, asked.question, step=asker.step)
            self.under_way[future] = _Call(call_id, asked)

    def _next(self) -> Asked[Shape] | None:
        """Take a question of the workspace with the fewest calls under way; among equals, whose turn is longest ago."""
        free = [workspace for workspace in self.waiting if self.running[workspace] < self.asker.concurrency]
        if not free or len(self.under_way) >= MOST_AT_ONCE:
            return None
        workspace = min(free, key=self.running.__getitem__)
        queue = self.waiting.pop(workspace)
        asked = queue.popleft()
        if queue:
            self.waiting[workspace] = queue
        return asked

    def _put_back(self, asked: Asked[Shape]) -> None:
        self.waiting.setdefault(asked.workspace_id, deque()).appendleft(asked)

    def _refuse(self, asked: Asked[Shape], exhausted: BudgetExhausted) -> None:
        """End the asking for today; a question that no day's budget has room for stands in nobody's way."""
        is_too_long = exhausted.wanted > exhausted.budget
        for left in [asked] if is_too_long else self._with_the_rest(asked):
            self.answers.failures[left.event_id] = ModelFailed(Trouble.BUDGET_EXHAUSTED, str(exhausted))

    def _with_the_rest(self, asked: Asked[Shape]) -> list[Asked[Shape]]:
        rest = [asked, *(left for queue in self.waiting.values() for left in queue)]
        self.waiting.clear()
        return rest

    def _settle(self) -> None:
        """Wait for a call to end; record it and keep its answer."""
        ended, _ = wait(self.under_way, return_when=FIRST_COMPLETED)
        for future in ended:
            call = self.under_way.pop(future)
            self.running[call.asked.workspace_id] -= 1
            reply = future.result()
            self.answers.take(call.asked.event_id, reply)
            if not call_records.record(self.asker, call.id, call.asked, reply):
                self.answers.unrecorded += 1
