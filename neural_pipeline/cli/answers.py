"""What becomes of things that are to be done again: counted, and shown as lines or as JSON. Bounded, however many."""

from typing import Any

from neural_pipeline.cli.output import flat, print_json, say, warn

SHOWN = 20
"""Lines of each kind that people see."""

KEPT = 1_000
"""Items of each kind in JSON."""


class Answers:
    """The answers for `what` (run, payload): done again, refused and why, or done for the same request before."""

    def __init__(self, what: str, *, is_dry: bool) -> None:
        self._what = what
        self._is_dry = is_dry
        self._counts = {"replayed": 0, "refused": 0, "before": 0}
        self._replayed: list[dict[str, Any]] = []
        self._refusals: list[dict[str, Any]] = []

    @property
    def refused(self) -> int:
        """The number of things that cannot be done again."""
        return self._counts["refused"]

    def add(
        self, id_: int | str, title: str, *, refusal: str | None = None, before: bool = False, new: int | None = None
    ) -> None:
        """Count one answer; `new` is the number of the run that came of it."""
        kind = "refused" if refusal is not None else "before" if before else "replayed"
        self._counts[kind] += 1
        if refusal is not None and len(self._refusals) < KEPT:
            self._refusals.append({self._what: id_, "reason": refusal})
        elif kind == "replayed" and len(self._replayed) < KEPT:
            self._replayed.append({self._what: id_, "title": title, "new_run": new})

    def report(self, more: dict[str, Any], *, as_json: bool) -> None:
        """Print counts and lists, with `more` about the whole."""
        if as_json:
            done = "would_replay" if self._is_dry else "replayed"
            counts = {done: self._counts["replayed"], "refused": self.refused, "before": self._counts["before"]}
            print_json({**more, **counts, "items": self._replayed, "refusals": self._refusals})
            return
        for one in self._replayed[:SHOWN]:
            become = f"replayed as run {one['new_run']}" if one["new_run"] else "would be replayed"
            say(f"{self._what} {one[self._what]}: {become} - {flat(one['title'])}")
        self._say_more(self._counts["replayed"], "of these")
        for one in self._refusals[:SHOWN]:
            warn(f"{self._what} {str(one[self._what])[:60]} is refused: {one['reason']}")
        self._say_more(self.refused, "refused")
        say(self._summary(more))

    def _say_more(self, count: int, kind: str) -> None:
        if count > SHOWN:
            say(f"  and {count - SHOWN} more {kind}")

    def _summary(self, more: dict[str, Any]) -> str:
        done = "would be replayed" if self._is_dry else "replayed"
        counts = f"{self._counts['replayed']} {done}, {self.refused} refused, {self._counts['before']} asked for before"
        about = ", ".join(f"{name.replace('_id', '')} {value}" for name, value in more.items())
        return f"{counts} ({about})" if about else counts
