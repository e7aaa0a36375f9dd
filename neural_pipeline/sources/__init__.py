"""One module per provider: a raw payload becomes a SourceEvent. Pure, but for git_history, which runs `git log`.

Names re-exported here are what other rooms call. Nothing here knows Dagster, Postgres or the network.
"""

from neural_pipeline.sources.errors import InvalidPayload, UnsupportedEvent
from neural_pipeline.sources.transform import to_source_event

__all__ = ["InvalidPayload", "UnsupportedEvent", "to_source_event"]
