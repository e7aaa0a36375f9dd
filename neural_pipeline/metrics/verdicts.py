"""How a check says what it found: passed or not, and the offenders by id, with SQL that shows them all."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from neural_pipeline.metrics.preview import code
from neural_pipeline.store.guarded_facts import Tally
from neural_pipeline.store.health import Offenders

FIRST = 20
"""How many offenders are named."""

NOBODY = Offenders(0, [], 0.0)
"""Where nothing is wrong, and so nobody was looked for."""


@dataclass(frozen=True, slots=True)
class Offence:
    """What is not as it should be, under a name that never changes, and the rows it is so of."""

    name: str
    offenders: Offenders


def verdict(severity: dg.AssetCheckSeverity, *offences: Offence) -> dg.AssetCheckResult:
    """Return the result of a check that passes if there are no offenders."""
    return verdict_on(offences, severity=severity, passed=not any(one.offenders.count for one in offences))


def verdict_on(
    offences: Sequence[Offence],
    *,
    severity: dg.AssetCheckSeverity,
    passed: bool,
    reason: str = "",
    numbers: dict[str, int | float] | None = None,
) -> dg.AssetCheckResult:
    """Return the result of a check that has judged for itself."""
    told = "; ".join([*([reason] if reason else []), *(_told(one) for one in offences if one.offenders.count)])
    metadata: dict[str, dg.MetadataValue | int | float] = dict(numbers or {})
    for one in offences:
        metadata |= _metadata(one)
    return dg.AssetCheckResult(passed=passed, severity=severity, description=told or "nothing found", metadata=metadata)


def _told(offence: Offence) -> str:
    found = offence.offenders
    more = ", ..." if found.count > len(found.first) else ""
    return f"{found.count} {offence.name.replace('_', ' ')}: {', '.join(map(str, found.first))}{more}"


def _metadata(offence: Offence) -> dict[str, dg.MetadataValue | int | float]:
    name, found = offence.name, offence.offenders
    shown: dict[str, dg.MetadataValue | int | float] = {name: found.count}
    if found.count:
        shown |= {f"{name}_ids": dg.MetadataValue.json(found.first), f"{name}_oldest_seconds": found.oldest_seconds}
    if found.sql:
        shown[f"{name}_sql"] = dg.MetadataValue.md(code(found.sql))
    return shown


def share(tally: Tally) -> float:
    """Return the share, in percent, of what is not as it should be; 0 of nothing."""
    return 100 * tally.against / tally.counted if tally.counted else 0.0
