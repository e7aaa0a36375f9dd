"""Reading, for a whole batch at once, what its events must be judged against: the edge between decisions and store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.events import Source
from neural_pipeline.contracts.integrations import (
    InvalidWorkspaceSettings,
    parse_source_config,
    parse_workspace_settings,
)
from neural_pipeline.store import capture_inputs
from neural_pipeline.workflows.observation_capture.actors import CommitAuthors, commits_of
from neural_pipeline.workflows.observation_capture.clusters import ClusterRules, ClusterSet
from neural_pipeline.workflows.observation_capture.gate import UNREADABLE, GateKnowledge
from neural_pipeline.workflows.observation_capture.logic import Subscription, resource_id
from neural_pipeline.workflows.observation_capture.verdicts import Examined, Findings, Memory
from neural_pipeline.workflows.observation_capture.work import CaptureEvent


@dataclass(frozen=True, slots=True)
class KnownAuthors:
    """The GitHub accounts known for each (workspace id, commit sha)."""

    by_commit: CommitAuthors


def recall_for_gate(connection: Connection, events: Sequence[CaptureEvent]) -> GateKnowledge:
    """Read which events are stored already, their subscriptions, and which workspaces have unusable settings."""
    keys = [(event.id, event.workspace_id, event.source_event.source_id) for event in events]
    resources = [(event.workspace_id, found) for event in events if (found := resource_id(event.source_event))]
    covering = capture_inputs.integrations_of(connection, resources)
    settings = capture_inputs.settings_of(connection, [event.workspace_id for event in events])
    return GateKnowledge(
        duplicates=frozenset(capture_inputs.known_source_ids(connection, keys)),
        subscriptions={key: tuple(map(_subscription, found)) for key, found in covering.items()},
        unusable={id_: problem for id_, stored in settings.items() if (problem := _problem(stored))},
    )


def _subscription(row: RowMapping) -> Subscription:
    """An integration whose configuration cannot be read covers its resource all the same, and admits nothing."""
    try:
        config = parse_source_config(row["source_config"])
    except ValueError:
        return Subscription(UNREADABLE, is_active=False, events=())
    return Subscription(config.source_type, row["is_active"], config.sync.events)


def _problem(settings: object) -> str | None:
    try:
        parse_workspace_settings(settings)
    except InvalidWorkspaceSettings as error:
        return str(error)
    return None


def recall_authors(connection: Connection, events: Sequence[CaptureEvent]) -> KnownAuthors:
    """Read which GitHub accounts are known for the commits of the deployments among the events."""
    commits = [
        (event.workspace_id, sha)
        for event in events
        if event.source_event.source is Source.VERCEL
        for sha in commits_of(event.source_event)
    ]
    return KnownAuthors(capture_inputs.authors_of_commits(connection, commits) if commits else {})


def recall_memory(
    connection: Connection, examined: Sequence[Examined], rules: ClusterRules, *, authors: KnownAuthors
) -> Memory:
    """Read the clusters that the events may join, and the observations that they are to replace.

    `authors` are the accounts known for their commits.
    """
    able = [one.event for one in examined if isinstance(one.result, Findings)]
    moments = [(event.workspace_id, _within_calendar(event.source_event.occurred_at, rules.lookback)) for event in able]
    near = capture_inputs.clusters_near(connection, moments, lookback=rules.lookback)
    sets = {workspace: ClusterSet(clusters) for workspace, clusters in near.items()}
    anew = [(event.id, event.workspace_id, event.source_event.source_id) for event in able if event.reprocess]
    return Memory(
        clusters=sets,
        authors={key: list(known) for key, known in authors.by_commit.items()},
        replaceable=capture_inputs.replaceable(connection, anew) if anew else {},
    )


def _within_calendar(moment: datetime, reach: timedelta) -> datetime:
    """Move a moment, as little as may be, to where its reach ends neither before the year 1 nor after 9999."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    return min(max(moment, first + reach), last - reach)
