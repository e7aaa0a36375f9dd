"""The examination behind `neural doctor`: which checks there are, in their order, and what each one needs."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import get_args

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from neural_pipeline.cli import checkup
from neural_pipeline.cli.cautious import Read, ask, cautious_engine
from neural_pipeline.cli.examination_dagster import OF_DAGSTER, Known, examine_dagster
from neural_pipeline.cli.findings import Finding, Status, failed, ok, skipped
from neural_pipeline.models.access import ModelMisconfigured
from neural_pipeline.models.configured import Asking, configured_embedder, configured_language_model
from neural_pipeline.postgres import server
from neural_pipeline.postgres.errors import ServerUnsuitable
from neural_pipeline.postgres.requirements import check_server, describe_connection_error
from neural_pipeline.postgres.target import Target
from neural_pipeline.settings import Settings
from neural_pipeline.store import guarded_facts, health
from neural_pipeline.store.drain import DaemonPlace, daemon_place_of
from neural_pipeline.store.leases import UnfinishedBatch, unfinished_batches
from neural_pipeline.store.revision import SCHEMA_REVISION, current_revision

_RECENTLY = 3600.0
"""Seconds in which batches that came back are counted."""


@dataclass(slots=True)
class Examination:
    """One examination of an installation; `patience` is the seconds a query may take."""

    target: Target
    settings: Settings
    patience: float
    place: DaemonPlace | None = None
    batches: list[UnfinishedBatch] = field(default_factory=list[UnfinishedBatch])
    has_daemon: bool = False

    def findings(self) -> Iterator[Finding]:
        """Make every check, one after another."""
        yield from self._disk()
        yield checkup.judge_models(*_models(self.settings))
        with cautious_engine(self.target.url, patience=self.patience) as engine:
            obstacle = self._obstacle(engine)
            if obstacle is not None:
                yield obstacle
                needing = ("schema", "daemon", *OF_DAGSTER, *self._of_rows())
                yield from skipped(needing, "the database does not answer")
                return
            yield ask(engine, "server", self._server, patience=self.patience, may_write=True)
            schema = self._ask(engine, "schema", _schema)
            yield schema
            yield self._ask(engine, "daemon", self._daemon)
            yield from self._rows_and_runs(engine, has_tables=schema.status is Status.OK)

    def _rows_and_runs(self, engine: Engine, *, has_tables: bool) -> Iterator[Finding]:
        # Batches first and Dagster's runs afterwards: a batch made in between is nobody's gap.
        batches = self._ask(engine, "runs", self._unfinished) if has_tables else None
        known = Known(self.place, self.batches)
        *seen, runs = examine_dagster(self.target, self.settings, known, patience=self.patience)
        yield from seen
        beats = any(finding.check == "heartbeats" and finding.status is Status.OK for finding in seen)
        self.has_daemon = self.place is not None or beats
        if batches is None:
            yield from skipped(("runs", *self._of_rows()), "the schema is not this program's")
            return
        yield runs if batches.status is Status.OK else batches
        for check, read in self._of_rows().items():
            yield self._ask(engine, check, read)

    def _ask(self, engine: Engine, check: str, read: Read) -> Finding:
        return ask(engine, check, read, patience=self.patience)

    def _disk(self) -> Iterator[Finding]:
        if not self.target.embedded:
            return
        data = server.status(self.target.home).data
        with suppress(OSError):  # a folder that this user may not enter
            existing = next(folder for folder in (data, *data.parents) if folder.exists())
            yield checkup.judge_disk(shutil.disk_usage(existing).free, data)

    def _obstacle(self, engine: Engine) -> Finding | None:
        start = "`neural db start`" if self.target.embedded else "start that server, or correct DATABASE_URL"
        if self.target.embedded and not server.status(self.target.home).running:
            return failed("server", "the embedded Postgres is not running", start)
        try:
            engine.connect().close()
        except DBAPIError as error:
            return failed("server", describe_connection_error(error, self.target.url), start)
        return None

    def _server(self, connection: Connection) -> Finding:
        version, vector = health.server_version(connection)
        told = f"Postgres {version}, {'embedded' if self.target.embedded else 'of DATABASE_URL'}"
        try:
            check_server(connection)
        except ServerUnsuitable as problem:
            lack, _, todo = problem.detail.rstrip(".").partition("; ")
            return failed("server", f"{told}: {lack}", todo)
        return ok("server", f"{told}, pgvector {vector or 'can be installed'}")

    def _daemon(self, connection: Connection) -> Finding:
        self.place = daemon_place_of(connection)
        return checkup.judge_daemon(self.place)

    def _unfinished(self, connection: Connection) -> Finding:
        self.batches = unfinished_batches(connection)
        return ok("runs", "")

    def _of_rows(self) -> Mapping[str, Read]:
        return {
            "waiting": self._waiting,
            "batches": self._batches,
            "circles": self._circles,
            "record": self._record,
            "accounting": lambda connection: checkup.judge_accounting(health.accounting(connection)),
            "metrics": self._metrics,
        }

    def _waiting(self, connection: Connection) -> Finding:
        bound = self.settings.max_wait_seconds
        waiting = health.waiting_events(connection, bound=bound)
        ours = checkup.functions_with_a_job()
        return checkup.judge_waiting(waiting, with_job=ours, bound=bound, has_daemon=self.has_daemon)

    def _batches(self, connection: Connection) -> Finding:
        bound = self.settings.max_wait_seconds
        untaken = health.untaken_batches(connection, bound=bound)
        unsettled = health.unsettled_batches(connection, bound=health.UNSETTLED_SECONDS)
        return checkup.judge_batches(untaken, unsettled, bound=bound)

    def _circles(self, connection: Connection) -> Finding:
        within = max(_RECENTLY, 4 * self.settings.retry_base_seconds)
        return checkup.judge_handed_back(health.handed_back(connection, within=within, times=checkup.TIMES_HANDED_BACK))

    def _record(self, connection: Connection) -> Finding:
        unrecorded = health.unrecorded_runs(connection, bound=self.settings.max_wait_seconds)
        return checkup.judge_record(health.runs_without_batch(connection), unrecorded)

    def _metrics(self, connection: Connection) -> Finding:
        bound = 3600 * self.settings.metrics_fresh_hours
        left = guarded_facts.metrics_not_added_up(connection, bound=bound, first=health.FIRST)
        since_audit = guarded_facts.seconds_overdue_audit(connection, bound=bound)
        since_rollup = guarded_facts.seconds_since_rollup(connection)
        return checkup.judge_metrics(left, since_rollup, since_audit, bound=bound)


_ASKED = (*get_args(Asking), "embed")


def _models(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """Return which models are asked for what, and what is wrong with them."""
    problems: list[str] = []
    for asking in _ASKED:
        try:
            configured_embedder(settings) if asking == "embed" else configured_language_model(settings, asking)
        except ModelMisconfigured as problem:
            problems.append(f"{problem}")
    return {asking: str(getattr(settings, f"{asking}_model")) for asking in _ASKED}, problems


def _schema(connection: Connection) -> Finding:
    return checkup.judge_schema(current_revision(connection), wanted=SCHEMA_REVISION)
