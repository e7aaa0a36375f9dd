"""A database in which everything has happened that retention must tell apart, and the means to make it old."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from neural_pipeline.settings import Settings
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store import lifecycle, model_answers, model_calls, retention
from neural_pipeline.store.batches import Token
from neural_pipeline.store.cancellation import cancel_event
from neural_pipeline.store.model_answers import KeptAnswer
from neural_pipeline.store.model_calls import NewCall
from neural_pipeline.store.replay import Replay, replay
from neural_pipeline.store.retention import BEGINNING, Cutoffs, Place, Removed, Step
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.retention.pruning import STEPS, cutoffs
from neural_pipeline_tests.building import (
    begun_batch,
    capture,
    column,
    end_run,
    examined,
    keep,
    open_batch,
    receipt,
    take_in,
    waiting,
)

RUNS = "lightfast_workspace_workflow_runs"
OBSERVATIONS = "lightfast_workspace_neural_observations"
SETTINGS = Settings(database_url=None)
FAILED = Failure("embed", "this text cannot be embedded", "ValueError")


def settled(engine: Engine, event_ids: Sequence[int], *, failed: Iterable[int] = ()) -> Token:
    """Work waiting captures off in one batch and record them, those in `failed` as failures."""
    with engine.begin() as connection:
        token = begun_batch(connection, event_ids, run_id=f"run-of-{event_ids[0]}")
    capture(engine, token, but=dict.fromkeys(failed, FAILED))
    with engine.begin() as connection:
        end_run(connection, token)
    return token


def captured(engine: Engine, count: int = 1, *, prefix: str = "e") -> list[int]:
    """Capture new events; each leaves two children waiting."""
    with engine.begin() as connection:
        ids = waiting(connection, count, prefix=prefix)
    settled(engine, ids)
    return ids


def failed(engine: Engine, *, prefix: str = "bad") -> int:
    """Have a new capture fail."""
    with engine.begin() as connection:
        [id_] = waiting(connection, 1, prefix=prefix)
    settled(engine, [id_], failed=[id_])
    return id_


def cancelled(connection: Connection, *, prefix: str = "unwanted") -> int:
    """Cancel a new capture."""
    [id_] = waiting(connection, 1, prefix=prefix)
    cancel_event(connection, id_, by="ada")
    return id_


def superseded(connection: Connection, event_id: int) -> int:
    """Have a waiting execution give way to a newer one."""
    sql = """
    update incoming_events set outcome = 'superseded', outcome_at = clock_timestamp(),
      superseded_by = (select max(id) from incoming_events),
      output = jsonb_build_object('inngestFunctionId', function_id, 'status', 'skipped') where id = :id
    """
    connection.execute(text(sql), {"id": event_id})
    lifecycle.record_events(connection, [event_id])
    return event_id


def ended(engine: Engine, outcome: str) -> int:
    """Bring about an execution with this outcome."""
    if outcome == "completed":
        return captured(engine)[0]
    if outcome == "failed":
        return failed(engine)
    with engine.begin() as connection:
        if outcome == "cancelled":
            return cancelled(connection)
        return superseded(connection, waiting(connection, 1, prefix="overtaken")[0])


def refused(connection: Connection, disposition: str, delivery_id: str = "refused") -> None:
    """Hand a payload in that is not taken."""
    if disposition == "duplicate":
        for _ in range(2):
            take_in(connection, receipt(delivery_id))
    else:
        judgement = Judgement(disposition, reason="not for us")  # pyright: ignore[reportArgumentType]
        take_in(connection, receipt(delivery_id, judgement=judgement))


def replayed(connection: Connection, event_id: int, *, request: str = "again", reprocess: bool = False) -> int:
    """Replay an execution; return the new one."""
    [run] = column(connection, f"select id from {RUNS} where event_id = :id", id=event_id)
    wish = Replay(request, by="ada", reprocess=reprocess)
    [answer] = replay(connection, [run], wish, judge=lambda _: Judgement("invalid", reason="unused"))
    assert answer.new_run_id is not None, answer.refusal
    return column(connection, f"select event_id from {RUNS} where id = :id", id=answer.new_run_id)[0]


def answered(connection: Connection, *event_ids: int) -> None:
    """Have a model asked about executions, and its answers kept."""
    for id_ in event_ids:
        call = NewCall(
            workspace_id="ws_test",
            event_id=id_,
            function_id="neural.observation.capture",
            step="classify",
            model="test:model",
            reserved_tokens=10,
        )
        model_calls.reserve(connection, call, budget=None)
        kept = KeptAnswer(question_hash="hash", answer={"text": "yes"}, input_tokens=3, output_tokens=4)
        model_answers.keep(connection, [(id_, kept)], step="classify", model="test:model")


def build(engine: Engine) -> None:
    """Bring everything about: ended, refused, replayed, and at work."""
    good, other = captured(engine, 2)
    bad = failed(engine)
    with engine.begin() as connection:
        answered(connection, good, bad)
        cancelled(connection)
        children = column(connection, "select id from incoming_events where parent_event_id = :id order by 1", id=good)
        superseded(connection, children[0])
        cancel_event(connection, children[1], by="ada")
        for disposition in ("duplicate", "invalid", "unsupported"):
            refused(connection, disposition, f"refused-{disposition}")
        again, retried = replayed(connection, other), replayed(connection, bad)
    settled(engine, [again, retried], failed=[retried])
    with engine.begin() as connection:
        replayed(connection, good, request="still waits")
        waiting(connection, 1, prefix="still-waits")
        open_batch(connection, waiting(connection, 1, workspace_id="ws_open"))
        at_work = [waiting(connection, 1, workspace_id=workspace)[0] for workspace in ("ws_running", "ws_busy")]
        answered(connection, *at_work)
        running = begun_batch(connection, at_work, run_id="run-2")
        first = examined(connection, running)[:1]
    keep(engine, running, first)


def age(connection: Connection, days: float, *event_ids: int) -> None:
    """Make executions so many days older, or all that have ended."""
    scope = "id = any(:ids)" if event_ids else "outcome is not null"
    sql = f"update incoming_events set outcome_at = outcome_at - :days * interval '1 day' where {scope}"
    connection.execute(text(sql), {"days": days, "ids": list(event_ids)})


def age_everything(connection: Connection, days: float) -> None:
    """Make everything that has a time so many days older, finished or not."""
    columns = {
        "incoming_events": ("received_at", "due_at", "outcome_at"),
        "raw_payloads": ("received_at",),
        "event_batches": ("assigned_at", "taken_at", "closed_at"),
        "lightfast_workspace_operations_metrics": ("timestamp",),
        "model_calls": ("called_at",),
    }
    for table, names in columns.items():
        changes = ", ".join(f"{name} = {name} - :days * interval '1 day'" for name in names)
        connection.execute(text(f"update {table} set {changes}"), {"days": days})


def today(connection: Connection, settings: Settings = SETTINGS) -> Cutoffs:
    """Return what is old by now."""
    return cutoffs(retention.now(connection), settings)


def pages(connection: Connection, old: Cutoffs, steps: Sequence[Step] = STEPS) -> Iterable[Removed]:
    """Do what a prune does, all in one transaction; stop after each page."""
    for step in steps:
        place: Place | None = BEGINNING
        while place is not None:
            page = step(connection, place, old)
            yield page.removed
            place = page.next


def pruned(connection: Connection, old: Cutoffs | None = None) -> dict[str, int]:
    """Prune once; return what was removed as `kind state: number`."""
    removed = sum(pages(connection, old or today(connection)), Removed())
    return {f"{kind.name} {kind.state}": number for kind, number in removed.items()}


def unexplained(connection: Connection) -> dict[str, int]:
    """Return what the records have against each other."""
    found = connection.execute(text("select rule, unexplained from event_accounting where unexplained <> 0"))
    return {rule: int(number) for rule, number in found}


def contents(connection: Connection, *but: str) -> dict[str, list[Any]]:
    """Return every row of every table as text, sorted."""
    sql = """
    select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'
    order by 1
    """
    return {
        table: sorted(column(connection, f"select t::text from {table} t"))
        for table in column(connection, sql)
        if table not in but
    }
