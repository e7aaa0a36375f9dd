"""Why a payload did not become an event. Every message is one line and says what is wrong and where."""


class SourceError(ValueError):
    """What a provider or a repository gave cannot be used."""


class UnsupportedEvent(SourceError):
    """The delivery is no observation: nobody asked for events of this kind."""


class InvalidPayload(SourceError):
    """The payload breaks the provider's own format at `path`; an empty path means the payload as a whole."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'the payload'} {problem}")
        self.path = path
        self.problem = problem


class HistoryUnavailable(SourceError):
    """A git repository cannot be read; the reason says what to do."""
