"""What became of the payloads of one call: counts, and the reasons with an example of each."""

from collections import Counter
from typing import Any

from neural_pipeline.cli.output import flat
from neural_pipeline.contracts.lifecycle import Disposition
from neural_pipeline.store.intake import Admission

SHOWN_REASONS = 10
_KEPT_REASONS = 1_000
_OTHER = "other reasons"
_Why = tuple[Disposition, str]


class Tally:
    """Counts of dispositions and of reasons; bounded, however many payloads come with a reason of their own."""

    def __init__(self) -> None:
        self._dispositions: Counter[Disposition] = Counter()
        self._reasons: Counter[_Why] = Counter()
        self._examples: dict[_Why, str] = {}

    @property
    def total(self) -> int:
        """The number of payloads handed in."""
        return self._dispositions.total()

    @property
    def invalid(self) -> int:
        """The number of payloads that were invalid."""
        return self._dispositions[Disposition.INVALID]

    def add(self, admission: Admission, place: str) -> None:
        """Count what became of a payload that stood at a place."""
        self._dispositions[admission.disposition] += 1
        if admission.disposition is Disposition.ACCEPTED:
            return
        why = (admission.disposition, admission.reason or "no reason given")
        if why not in self._reasons and len(self._reasons) >= _KEPT_REASONS:
            why = (admission.disposition, _OTHER)
        self._reasons[why] += 1
        self._examples.setdefault(why, place)

    def summary(self) -> dict[str, Any]:
        """Return the counts and the most frequent reasons, those of invalid payloads first, as JSON."""
        reasons = [
            {
                "disposition": disposition,
                "reason": reason,
                "count": count,
                "example": self._examples[disposition, reason],
            }
            for (disposition, reason), count in self._foremost()
        ]
        return {disposition: self._dispositions[disposition] for disposition in Disposition} | {"reasons": reasons}

    def lines(self) -> list[str]:
        """Return the same for people; text from outside is made visible."""
        counts = ", ".join(f"{self._dispositions[disposition]} {disposition}" for disposition in Disposition)
        foremost = self._foremost()
        reasons = [
            f"  {count} x {disposition}: {flat(reason)} (as in {flat(self._examples[disposition, reason])})"
            for (disposition, reason), count in foremost
        ]
        left = len(self._reasons) - len(foremost)
        return [counts, *reasons, *([f"  and {left} more reasons"] if left else [])]

    def _foremost(self) -> list[tuple[_Why, int]]:
        ordered = sorted(self._reasons.items(), key=lambda item: (item[0][0] is not Disposition.INVALID, -item[1]))
        return ordered[:SHOWN_REASONS]
