"""The model that needs no network and costs nothing: every question is answered by the rules that it carries."""

from neural_pipeline.models.language import Answer, Question, Shape


class OfflineModel:
    """Answers by rules; says so in every answer."""

    @property
    def name(self) -> str:
        """Return `offline`; answers name the rules as well."""
        return "offline"

    @property
    def is_offline(self) -> bool:
        """Rules answer."""
        return True

    def answer(self, question: Question[Shape]) -> Answer[Shape]:
        """Answer a question by its rules."""
        return Answer(question.by_rules(), f"offline:{question.rules}")
