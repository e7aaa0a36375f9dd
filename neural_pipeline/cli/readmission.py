"""Refused payloads judged again and, where they are accepted now, admitted; the others leave no further trace."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from neural_pipeline.cli.rejudging import Judge
from neural_pipeline.contracts.lifecycle import Disposition, Trigger
from neural_pipeline.store.intake import Channel, Receipt, admit
from neural_pipeline.store.payloads import StoredPayload, stored_payloads
from neural_pipeline.store.runs import runs_of_events

CHANNEL = "replay"
_Delivery = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one refused payload: refused still, taken in before, or (to be) taken in, then with its run."""

    payload_id: int
    title: str
    refusal: str | None = None
    before: bool = False
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class Readmission:
    """Who hands refused payloads in again, and who judges them."""

    judge: Judge
    by: str
    dry_run: bool

    def judge_and_admit(self, connection: Connection, ids: Sequence[int]) -> list[Verdict]:
        """Give a verdict on each payload that is there, oldest first; of one delivery one payload is taken in."""
        verdicts: dict[int, Verdict] = {}
        admissible: dict[_Delivery, tuple[StoredPayload, Receipt]] = {}
        for stored in stored_payloads(connection, ids):
            receipt = self.judge.receipt(stored)
            key = (receipt.workspace_id, receipt.source, receipt.delivery_id)
            verdict = _first_verdict(stored, receipt, is_known=key in admissible)
            verdicts[stored.id] = verdict
            if verdict.refusal is None and not verdict.before:
                admissible[key] = (stored, receipt)
        if not self.dry_run:
            verdicts |= self._admit(connection, list(admissible.values()))
        return list(verdicts.values())

    def _admit(self, connection: Connection, accepted: list[tuple[StoredPayload, Receipt]]) -> dict[int, Verdict]:
        channel = Channel(CHANNEL, Trigger.MANUAL, self.by)
        admissions = admit(connection, [receipt for _, receipt in accepted], channel=channel)
        run_ids = runs_of_events(connection, [one.event_id for one in admissions if one.event_id is not None])
        return {
            stored.id: Verdict(
                stored.id,
                _title(receipt),
                # Somebody else may have been first, with the same payload.
                before=admission.disposition is Disposition.DUPLICATE,
                run_id=run_ids.get(admission.event_id or 0),
            )
            for (stored, receipt), admission in zip(accepted, admissions, strict=True)
        }


def _first_verdict(stored: StoredPayload, receipt: Receipt, *, is_known: bool) -> Verdict:
    if stored.disposition == Disposition.ACCEPTED:
        refusal = f"it was accepted: `neural runs replay {stored.run_id or 'ID'}` replays its run"
        return Verdict(stored.id, "", refusal)
    if is_known or stored.run_id is not None or stored.disposition == Disposition.DUPLICATE:
        return Verdict(stored.id, "", before=True, run_id=stored.run_id)
    if receipt.judgement.event is None:
        return Verdict(stored.id, "", f"it is still {receipt.judgement.disposition}: {receipt.judgement.reason}")
    if not stored.has_workspace:
        name = stored.workspace_id
        return Verdict(stored.id, "", f"workspace {name} does not exist: make it with `neural workspaces create`")
    return Verdict(stored.id, _title(receipt))


def _title(receipt: Receipt) -> str:
    return "" if receipt.judgement.event is None else receipt.judgement.event.title
