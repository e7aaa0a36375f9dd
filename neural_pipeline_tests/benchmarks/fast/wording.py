"""What the events of the contest speak of: people, components, endpoints, settings, files, and sentences about them."""

import random
from dataclasses import dataclass
from functools import cached_property

_FIRST = (
    *("ada", "bela", "cleo", "dario", "enid", "farid", "gwen", "hugo"),
    *("iris", "jona", "kira", "liam", "mina", "noor", "otis", "pia"),
)
_LAST = ["berg", "costa", "dunn"]
PEOPLE = tuple(
    (f"{first}{last}", 7_000 + 10 * n) for n, (first, last) in enumerate((f, b) for f in _FIRST for b in _LAST)
)
"""Login and account id of some dozens of people."""

_COMPONENTS = (
    *("billing", "checkout", "catalogue", "search", "inventory", "shipping", "returns", "pricing", "accounts"),
    *("sessions", "webhooks", "exports", "imports", "reports", "audit", "media", "notifications", "recommendations"),
    *("taxes", "vouchers"),
)
_TROUBLES = (
    "times out when two carts are merged",
    "loses the currency of a refund",
    "answers twice after a retry",
    "keeps stale prices after an import",
    "rejects addresses without a postcode",
    "counts a cancelled order as paid",
    "rounds totals the wrong way",
    "drops the last page of results",
)
_SENTENCES = (
    "The handler in `{path}` reads {env} once at start, so a change needs a restart of every worker.",
    "`{method} {endpoint}` then answers 409 although the first attempt was stored, which @{second} saw on Friday.",
    "This goes back to #{other}, where the lock around `{function}` was taken away for the sake of speed.",
    "With {flag} set the old path in `{path}` is taken and all of it works, so customers have a way out.",
    "We keep the numbers of the last hour in memory and write them down once a minute, as {ticket} asks for.",
    "@{third} has measured it: of 12,000 calls 31 went wrong, all of them within the same second as another one.",
    "A check in `{path}` now fails without the change; it takes two connections and a barrier between them.",
    "I have looked for other callers of `{function}` and found none that rely on the order of the answers.",
    "The rollout goes workspace by workspace, {env} decides, and nothing has to be migrated beforehand.",
    "If somebody objects to the name of {flag}, now is the time; afterwards it stands in the documentation.",
    "Please look at the error path first: it is the part that nobody has read since it was written.",
    "What is left for later is the export, which has the same fault but runs at night and can be repeated.",
)
_LENGTH = 1_000


@dataclass(frozen=True)
class Subject:
    """What one thread of work of a workspace is about."""

    workspace: int
    number: int

    @cached_property
    def component(self) -> str:
        """The part of the product."""
        return _COMPONENTS[(self.workspace * 7 + self.number) % len(_COMPONENTS)]

    @cached_property
    def people(self) -> tuple[tuple[str, int], ...]:
        """Three people, out of a dozen in a workspace."""
        team = [PEOPLE[(self.workspace * 5 + n) % len(PEOPLE)] for n in range(12)]
        return tuple(random.Random(f"people {self.workspace}/{self.number}").sample(team, 3))  # noqa: S311

    @property
    def issue(self) -> int:
        """The number of the issue."""
        return 1_000 + 2 * self.number

    @property
    def pull(self) -> int:
        """The number of the pull request."""
        return self.issue + 1

    @property
    def title(self) -> str:
        """What is wrong."""
        return f"{self.component.title()} {_TROUBLES[self.number % len(_TROUBLES)]}"

    @property
    def branch(self) -> str:
        """The branch on which it is mended."""
        return f"{self.component}/{self.issue}"

    @property
    def path(self) -> str:
        """The file at fault."""
        return f"src/{self.component}/handler{self.number % 9}.ts"

    def text(self, step: int) -> str:
        """Return about a kilobyte on the subject, other sentences at every step."""
        names = self._names()
        order = random.Random(f"{self.workspace}/{self.number}/{step}").sample(_SENTENCES, len(_SENTENCES))  # noqa: S311
        text = f"Closes #{self.issue}.\n\n"
        for sentence in order:
            if len(text) >= _LENGTH - len(sentence) // 2:
                break
            text += sentence.format(**names) + "\n"
        return text

    def _names(self) -> dict[str, str]:
        part = self.component
        return {
            "path": self.path,
            "env": f"{part.upper()}_WORKERS_{self.number % 5}",
            "flag": f"{part.upper()}_LEGACY_MODE",
            "method": ("GET", "POST", "PUT")[self.number % 3],
            "endpoint": f"/v2/{part}/{self.number % 11}",
            "function": f"{part}_totals",
            "second": self.people[1][0],
            "third": self.people[2][0],
            "other": str(self.issue - 2),
            "ticket": f"SHOP-{100 + self.number}",
        }
