"""What a run shows of itself in Dagster: counts and a table of the failures. Text from outside stays plain text."""

from collections.abc import Iterable, Mapping

import dagster as dg

from neural_pipeline.workflows.batch_work.steps import Failure

MAX_FAILURES = 50
MAX_CELL = 300


def plain(text: str) -> str:
    """Return text on one line without control characters, cut to what a table cell can show."""
    return "".join(character if character.isprintable() else " " for character in text[:MAX_CELL])


def counts(values: Mapping[str, int]) -> dict[str, dg.MetadataValue]:
    """Return counts as metadata of the same names."""
    return {name: dg.MetadataValue.int(value) for name, value in sorted(values.items())}


def failure_table(
    failures: Iterable[tuple[int, Failure]], subjects: Mapping[int, tuple[str, str]]
) -> dg.TableMetadataValue:
    """Return the first failures as a table: event, workspace, what it was about, step and error.

    `subjects` has the workspace and the subject of each event by id.
    """
    records = [
        dg.TableRecord(
            {
                "event": event_id,
                "workspace": subjects[event_id][0],
                "subject": plain(subjects[event_id][1]),
                "step": failure.step,
                "error": plain(failure.message),
            }
        )
        for event_id, failure in list(failures)[:MAX_FAILURES]
    ]
    names = ("workspace", "subject", "step", "error")
    columns = [dg.TableColumn("event", "int"), *(dg.TableColumn(name, "string") for name in names)]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))
