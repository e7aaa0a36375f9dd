"""The door: dispositions, the bytes kept, and the executions that are born with their lifecycle rows."""

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Connection, Engine, text

from neural_pipeline.contracts.incoming import CapturePayload, ProfilePayload
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store import inbox
from neural_pipeline.store.intake import Admission, Channel, Receipt, admit
from neural_pipeline_tests.building import (
    NOON,
    accepted,
    column,
    one,
    receipt,
    run_of,
    source_event,
    take_in,
    workspaces,
)

UNSUPPORTED = Judgement("unsupported", reason="nobody asked for it")
INVALID = Judgement("invalid", reason="not JSON")
BODIES = {
    "empty": b"",
    "text": b'{"a": 1}',
    "every byte": bytes(range(256)),
    "NUL": b"\x00" * 9,
    "backslashes and quotes": rb"\x00 \\ ' '' $1 %s :name",
    "5 MB": random.Random(5).randbytes(5 * 1024 * 1024),  # noqa: S311 - nothing secret
}


def dispositions(admissions: list[Admission]) -> list[str]:
    return [admission.disposition.value for admission in admissions]


def test_every_payload_gets_one_disposition_in_the_order_of_the_call(scratch: Connection) -> None:
    take_in(scratch, receipt("known"))
    admissions = take_in(
        scratch,
        receipt("a", judgement=UNSUPPORTED),
        receipt("known"),
        receipt("b"),
        receipt("c", judgement=INVALID),
    )
    assert dispositions(admissions) == ["unsupported", "duplicate", "accepted", "invalid"]
    kept = column(scratch, "select disposition from raw_payloads order by id")
    assert kept == ["accepted", "unsupported", "duplicate", "accepted", "invalid"]


def test_a_refusal_is_kept_with_its_reason_and_has_no_execution(scratch: Connection) -> None:
    [admission] = take_in(scratch, receipt(judgement=UNSUPPORTED))
    assert (admission.reason, admission.event_id) == ("nobody asked for it", None)
    assert column(scratch, "select reason from raw_payloads") == ["nobody asked for it"]
    assert column(scratch, "select id from incoming_events") == []
    assert column(scratch, "select id from lightfast_workspace_workflow_runs") == []


def test_a_delivery_is_accepted_once_though_it_comes_again_later(scratch: Connection) -> None:
    first, again = take_in(scratch, receipt("same")), take_in(scratch, receipt("same"))
    assert dispositions(first + again) == ["accepted", "duplicate"]
    assert again[0].reason == "delivery same was accepted before"
    assert column(scratch, "select count(*) from incoming_events") == [1]


def test_the_first_of_two_equal_deliveries_in_one_call_is_the_accepted_one(scratch: Connection) -> None:
    admissions = take_in(scratch, *[receipt("same", body=str(n).encode()) for n in range(5)])
    assert dispositions(admissions) == ["accepted"] + ["duplicate"] * 4
    sql = "select p.body from incoming_events e join raw_payloads p on p.id = e.raw_payload_id"
    assert [bytes(body) for body in column(scratch, sql)] == [b"0"]


def test_the_same_delivery_of_another_provider_or_workspace_is_another_one(scratch: Connection) -> None:
    workspaces(scratch, "ws_other")
    admissions = take_in(
        scratch, receipt("same"), receipt("same", source="vercel"), receipt("same", workspace_id="ws_other")
    )
    assert dispositions(admissions) == ["accepted"] * 3


@pytest.mark.parametrize("name", ["ws_nobody", "with\x00NUL", "lone \udc80 surrogate", "long" * 100])
def test_a_payload_for_an_unknown_workspace_is_kept_and_invalid(scratch: Connection, name: str) -> None:
    [admission, other] = take_in(scratch, receipt(workspace_id=name), receipt("fine"))
    assert dispositions([admission, other]) == ["invalid", "accepted"]
    assert "does not exist" in str(admission.reason)
    assert column(scratch, "select count(*) from raw_payloads where disposition = 'invalid'") == [1]


def test_what_the_sources_refused_keeps_their_reason_though_its_workspace_is_unknown(scratch: Connection) -> None:
    [admission] = take_in(scratch, receipt(workspace_id="ws_nobody", judgement=UNSUPPORTED))
    assert (admission.disposition, admission.reason) == ("unsupported", "nobody asked for it")


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_bytes_are_kept_as_they_came(scratch: Connection, body: bytes) -> None:
    take_in(scratch, receipt("before", body=b"other"), receipt("d", body=body, judgement=INVALID))
    kept = column(scratch, "select body from raw_payloads where delivery_id = 'd'")
    assert [bytes(found) for found in kept] == [body]


def test_text_that_postgres_cannot_hold_is_repaired_and_not_refused(scratch: Connection) -> None:
    hostile, repaired = "a\x00b\udc80" + "c" * 300, "a\ufffdb\ufffd" + "c" * 300
    refused = Judgement("invalid", reason=hostile * 20)
    texts = {"event_type": hostile, "source": hostile, "headers": {hostile: hostile}}
    [admission] = take_in(
        scratch, Receipt("ws_test", delivery_id=hostile, body=b"", received_at=NOON, judgement=refused, **texts)
    )
    row = one(scratch, "select * from raw_payloads")
    assert row["delivery_id"] == row["reason"][:191] == repaired[:191]
    assert row["headers"] == {repaired: repaired}
    assert admission.disposition == "invalid"


def test_an_intake_adds_up(scratch: Connection) -> None:
    refused = [receipt(f"u{n}", judgement=UNSUPPORTED) for n in range(3)] + [receipt("i", judgement=INVALID)]
    take_in(scratch, receipt("a"), receipt("a"), *refused)
    row = one(scratch, "select * from intakes")
    assert [row[name] for name in ("received", "accepted", "duplicate", "unsupported", "invalid")] == [6, 1, 1, 3, 1]
    assert (row["channel"], row["triggered_by"]) == ("ingest", "ada")
    assert column(scratch, "select distinct intake_id from raw_payloads") == [row["id"]]


def test_a_call_without_payloads_leaves_no_trace(scratch: Connection) -> None:
    assert take_in(scratch) == []
    assert column(scratch, "select id from intakes") == []


def test_an_accepted_payload_is_queued_with_its_name_input_and_origin(scratch: Connection) -> None:
    [admission] = admit(scratch, [receipt("d", headers={"user-agent": "x"})], channel=Channel("door", Trigger.WEBHOOK))
    assert admission.event_id is not None
    run = run_of(scratch, admission.event_id)
    assert (run["status"], run["name"]) == ("queued", "Capture github/pull-request.opened")
    assert (run["clerk_org_id"], run["workspace_id"], run["repository_id"]) == ("org_test", "ws_test", "42")
    assert (run["trigger"], run["triggered_by"]) == ("webhook", None)
    assert run["input"] == {
        "inngestFunctionId": "neural.observation.capture",
        "sourceId": "d",
        "source": "github",
        "sourceType": "pull-request.opened",
        "title": "[PR Opened] Fix the checkout",
    }
    assert (run["started_at"], run["completed_at"], run["output"], run["attempt"]) == (None, None, None, 0)
    assert run["created_at"] == one(scratch, "select received_at from incoming_events")["received_at"]


def test_whoever_launched_an_execution_by_hand_is_recorded(scratch: Connection) -> None:
    [admission] = take_in(scratch, receipt())
    assert admission.event_id is not None
    run = run_of(scratch, admission.event_id)
    assert (run["trigger"], run["triggered_by"]) == ("manual", "ada")


def test_payload_event_and_lifecycle_row_come_together_or_not_at_all(engine: Engine, workspace: str) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        take_in(connection, receipt())
        transaction.rollback()
    with engine.begin() as connection:
        for table in ("intakes", "raw_payloads", "incoming_events", "lightfast_workspace_workflow_runs"):
            assert column(connection, f"select count(*) from {table}") == [0]


def test_events_get_their_ids_in_the_order_they_were_given(scratch: Connection) -> None:
    names = [f"{random.Random(n).random()}" for n in range(50)]  # noqa: S311 - an order that is not the keys'
    take_in(scratch, *map(receipt, names))
    assert column(scratch, "select delivery_id from incoming_events order by id") == names


def test_the_weight_of_a_payload_is_counted_in_bytes(scratch: Connection) -> None:
    light, heavy = take_in(
        scratch,
        receipt("a", judgement=accepted("a", body="e" * 1000)),
        receipt("b", judgement=accepted("a", body="é" * 1000)),
    )
    sql = "select payload_bytes from incoming_events where id = any(:ids) order by id"
    [ascii_bytes, other_bytes] = column(scratch, sql, ids=[light.event_id, heavy.event_id])
    assert other_bytes - ascii_bytes == 1000


def test_two_callers_with_the_same_deliveries_in_opposite_order_share_them(engine: Engine, workspace: str) -> None:
    receipts = [receipt(f"d-{n}") for n in range(20)]
    start = Barrier(2)
    with engine.begin() as connection:
        body = "begin perform pg_sleep(0.02); return new; end"
        connection.execute(text(f"create function dawdle() returns trigger language plpgsql as $$ {body} $$"))
        trigger = "create trigger dawdle before insert on incoming_events for each row execute function dawdle()"
        connection.execute(text(trigger))

    def call(given: list[Receipt]) -> list[Admission]:
        start.wait()
        with engine.begin() as connection:
            return take_in(connection, *given)

    with ThreadPoolExecutor(2) as pool:
        forward, backward = pool.map(call, [receipts, receipts[::-1]])
    both = zip(dispositions(forward), reversed(dispositions(backward)), strict=True)
    assert all(sorted(pair) == ["accepted", "duplicate"] for pair in both)
    with engine.begin() as connection:
        assert column(connection, "select count(*) from lightfast_workspace_workflow_runs") == [20]
        assert column(connection, "select sum(accepted) from intakes") == [20]


def test_a_child_execution_is_appended_once(scratch: Connection) -> None:
    child = inbox.NewEvent(
        workspace_id="ws_test",
        source="neural",
        delivery_id="1",
        payload=ProfilePayload(actor_id="github:7", observation_id="o"),
        trigger=Trigger.AUTOMATIC,
    )
    assert len(inbox.append(scratch, [child, child])) == 1
    assert inbox.append(scratch, [child]) == {}
    assert column(scratch, "select name from lightfast_workspace_workflow_runs") == ["Update profile: github:7"]


def test_a_delivery_is_accepted_once_per_function(scratch: Connection) -> None:
    payloads = [ProfilePayload(actor_id="a", observation_id="o"), CapturePayload(source_event=source_event())]
    events = [inbox.NewEvent("ws_test", "neural", "1", payload, Trigger.AUTOMATIC) for payload in payloads]
    assert len(inbox.append(scratch, events)) == 2
