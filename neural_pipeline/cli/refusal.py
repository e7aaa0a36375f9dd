"""The error of the command line itself."""

from neural_pipeline.cli.output import ExitCode


class Refusal(Exception):
    """A command cannot do what it was asked; the message is one line that says what to do instead."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code
