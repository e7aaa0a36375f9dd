"""Every constructed case of the reference gives the reference's event, but for what we deliberately do otherwise."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from neural_pipeline.sources import to_source_event

CASES = Path(__file__).parents[2] / "../shared/reference/conformance.json"
LINK_LABELS = {"f": "fixes", "c": "closes", "r": "resolves"}

if not CASES.exists():
    pytest.skip("the reference's cases are not beside this checkout", allow_module_level=True)

LOADED: list[dict[str, Any]] = json.loads(CASES.read_text())


def ours(case: dict[str, Any]) -> dict[str, Any]:
    hook = case["webhook"]
    received = datetime(2026, 1, 1, tzinfo=UTC)
    event = to_source_event(hook["source"], hook["eventType"], hook["payload"], delivery_id="d", received_at=received)
    return event.to_json()


def without_later_additions(event: dict[str, Any]) -> dict[str, Any]:
    """Take out what only our events have: who wrote the head commit of a push."""
    metadata = {key: value for key, value in event["metadata"].items() if not key.startswith("headAuthor")}
    return {**event, "metadata": metadata}


def linked(reference: dict[str, Any], home: str) -> dict[str, Any]:
    """Give an issue link of the reference the label and URL that D-21 asks for."""
    if reference["type"] != "issue" or "label" not in reference:
        return reference
    label = LINK_LABELS[reference["label"][0]]
    return {**reference, "label": label, "url": f"{home}/issues/{reference['id'].removeprefix('#')}"}


def missed_links(body: str, home: str) -> list[dict[str, Any]]:
    """Links the reference does not see in the bodies of the cases."""
    return [issue("15", "fixes", home)] if "fixed #15" in body else []


def issue(number: str, label: str, home: str) -> dict[str, Any]:
    return {"type": "issue", "id": f"#{number}", "label": label, "url": f"{home}/issues/{number}"}


def with_our_links(case: dict[str, Any]) -> list[dict[str, Any]]:
    references, hook = case["event"]["references"], case["webhook"]
    if hook["eventType"] not in ("pull_request", "issues"):
        return references
    home = hook["payload"]["repository"]["html_url"]
    missed = missed_links(case["event"]["body"], home)
    if hook["eventType"] == "issues" and missed:
        missed = [issue("12", "fixes", home), issue("13", "closes", home), issue("14", "resolves", home), *missed]
    first_label = next(index for index, reference in enumerate(references) if reference["type"] == "label")
    plain = [linked(reference, home) for reference in references]
    return [*plain[:first_label], *missed, *plain[first_label:]]


def our_actor(case: dict[str, Any]) -> dict[str, Any] | None:
    """D-22: whoever sent the event; the reference's author where a GitHub payload has no sender is nobody here."""
    event, payload = case["event"], case["webhook"]["payload"]
    if event["source"] == "vercel":
        return event.get("actor")
    sender = payload.get("sender")
    if sender is None:
        return None
    actor = {"id": str(sender["id"]), "name": sender["login"], "avatarUrl": sender["avatar_url"]}
    email = payload.get("pusher", {}).get("email")
    return actor | ({"email": email} if email else {})


def our_source_id(case: dict[str, Any]) -> str:
    """D-06: type or action and the occurrence are part of the identity."""
    event, payload = case["event"], case["webhook"]["payload"]
    added = {
        "push": lambda: event["metadata"]["branch"],
        "release": lambda: payload["action"],
        "discussion": lambda: payload["action"],
        "deployment": lambda: event["sourceType"],
    }.get(event["sourceType"].split(".")[0])
    whole = ":".join([event["sourceId"], added()]) if added else event["sourceId"]
    return f"{whole}@{event['occurredAt'].replace('.000Z', 'Z')}"


def wanted(case: dict[str, Any]) -> dict[str, Any]:
    event = {**case["event"], "sourceId": our_source_id(case), "references": with_our_links(case)}
    event["occurredAt"] = event["occurredAt"].replace(".000Z", "Z")
    event.pop("actor", None)
    actor = our_actor(case)
    if event["source"] == "vercel":
        # D-25: none of the cases states a target, so none is production.
        event["metadata"] = {**event["metadata"], "environment": "preview"}
    return event | ({"actor": actor} if actor else {})


def test_all_73_cases_are_there() -> None:
    assert len(LOADED) == 73


@pytest.mark.parametrize("case", LOADED, ids=lambda case: case["index"])
def test_a_case_of_the_reference_gives_the_same_event(case: dict[str, Any]) -> None:
    assert without_later_additions(ours(case)) == wanted(case)
