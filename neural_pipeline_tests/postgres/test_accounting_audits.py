"""Audits: what the exact view finds as of one moment is kept, and the fast view shows the latest."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.metrics.frames import frame_of, last_days, numbers_of
from neural_pipeline.metrics.of_accounting import ACCOUNTING
from neural_pipeline.store import accounting
from neural_pipeline.store.accounting import AuditedRule, audit
from neural_pipeline_tests.building import column, in_transaction, waiting

WEEK = last_days(7, now=datetime(2026, 3, 2, tzinfo=UTC))
RUNS = "lightfast_workspace_workflow_runs"


def shown(connection: Connection) -> list[AuditedRule]:
    return [AuditedRule(**row) for row in connection.execute(text("select * from accounting order by rule")).mappings()]


def said(audited: Sequence[AuditedRule]) -> list[tuple[str, int, int, int]]:
    return [(one.rule, one.expected, one.found, one.unexplained) for one in audited]


def exact(connection: Connection) -> list[tuple[str, int, int, int]]:
    sql = "select rule, expected, found, unexplained from event_accounting order by rule"
    return [tuple(row) for row in connection.execute(text(sql))]


def audited_so_long_ago(connection: Connection, interval: str) -> None:
    """Make all audits older."""
    sql = f"update accounting_audits set audited_at = audited_at - interval '{interval}'"
    connection.execute(text(sql))


def test_before_the_first_audit_there_is_nothing_to_tell(scratch: Connection) -> None:
    assert shown(scratch) == []
    assert numbers_of(scratch, ACCOUNTING, WEEK) == {}, "no unexplained row is not known yet"


def test_an_audit_is_what_the_exact_view_finds(scratch: Connection) -> None:
    waiting(scratch, 3)
    found = audit(scratch)
    assert said(found) == exact(scratch)
    assert {(one.expected, one.found) for one in found} >= {(3, 3)}
    assert shown(scratch) == sorted(found, key=lambda one: one.rule)
    assert list(frame_of(scratch, ACCOUNTING, WEEK)["rule"]) == [one.rule for one in found]


def test_a_loss_is_told_by_the_next_audit_and_not_by_the_last(scratch: Connection) -> None:
    waiting(scratch, 3)
    audit(scratch)
    scratch.execute(text(f"delete from {RUNS} where id = (select min(id) from {RUNS})"))
    assert sum(one.unexplained for one in shown(scratch)) == 0
    audited_so_long_ago(scratch, "1 hour")
    audit(scratch)
    broken = [one for one in shown(scratch) if one.unexplained]
    assert [(one.rule, one.unexplained) for one in broken] == [("an execution has its workflow run", 1)]
    numbers = numbers_of(scratch, ACCOUNTING, WEEK)
    assert (numbers["accounting_unexplained"], numbers["accounting_rules_broken"]) == (1, 1)
    assert numbers["accounting_rows_checked"] == sum(row[1] for row in exact(scratch))


def test_an_audit_tells_of_one_moment_and_its_age_is_known(scratch: Connection) -> None:
    [moment] = {one.audited_at for one in audit(scratch)}
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    audited_so_long_ago(scratch, "1 hour")
    assert 3600 <= numbers_of(scratch, ACCOUNTING, WEEK)["accounting_audit_age_seconds"] < 3660


def test_audits_beyond_the_last_ones_are_forgotten_whole(scratch: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "KEPT", 3)
    for _ in range(5):
        audited_so_long_ago(scratch, "1 hour")
        found = audit(scratch)
    kept = scratch.execute(text("select audited_at, count(*) from accounting_audits group by 1 order by 1 desc")).all()
    assert [count for _, count in kept] == [len(found)] * 3
    assert kept[0][0] == found[0].audited_at


def test_audits_at_once_do_not_mix(engine: Engine, workspace: str) -> None:
    in_transaction(engine, lambda connection: waiting(connection, 3))
    with ThreadPoolExecutor(2) as threads:
        audits = list(threads.map(lambda _: in_transaction(engine, audit), range(4)))
    with engine.begin() as connection:
        sizes = column(connection, "select count(*) from accounting_audits group by audit_id")
        assert sizes == [len(audits[0])] * 4
        assert shown(connection) == max(audits, key=lambda one: one[0].audited_at)
