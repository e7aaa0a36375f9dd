"""The question that a language model is asked about the text of an observation. Pure. Spec, 4.4."""

from functools import partial

from neural_pipeline.contracts.answers import ExtractionAnswer
from neural_pipeline.contracts.memory import ObservedText
from neural_pipeline.models.fencing import FENCE_RULE, fence
from neural_pipeline.models.language import Prompt, Question
from neural_pipeline.workflows.llm_entity_extraction.prose import RULES, answer_by_rules

MAX_TITLE, MAX_CONTENT = 500, 8_000
"""Characters of title and content that a model sees."""

_MAX_ASKED = 50
"""Entities that surely find room in an answer, whatever is kept of them."""

_INSTRUCTIONS = f"""You find entities in the text of one event of a software team: a pull request, an issue, a commit,
a release, a discussion. Only entities that the text clearly mentions, and only those that it takes understanding to
find. Few and sure: at most {{most}}, none at all if there are none. Never guess, never complete a name.

Categories:
- engineer: a person named in prose
- project: a project, product, repository or library named in prose
- endpoint: an API endpoint described in prose
- config: a setting, option or feature flag
- definition: a technical concept that the text is about
- service: an external service or piece of infrastructure the software depends on
- reference: a deployment, release or document that the text refers to

Leave out what patterns find as well: mentions like @name, issue numbers like #12 and tickets like ABC-123, names in
capitals like DATABASE_URL, file paths, commit hashes, an HTTP method with a path, branches. Leave out words that stand
for any of their kind, like "the database", "the API", "tests".

For each entity give
- key: its canonical name in lower case, words joined by hyphens, like "jane-doe", "github-actions", "circuit-breaker";
  settings exactly as they are written. The same thing always has the same key.
- value: its name as the text spells it
- confidence: from 0 to 1; below 0.65 it is not used
- reasoning: in at most 200 characters, the words of the text that name it

{FENCE_RULE}"""


def instructions(most: int) -> str:
    """Return what a model is told to do, and that it is to name at most so many entities."""
    return _INSTRUCTIONS.format(most=min(most, _MAX_ASKED))


def question_about(text: ObservedText, *, most: int = 15) -> Question[ExtractionAnswer]:
    """Return the question about an observation; the same text gives the same question."""
    data = f"title: {text.title[:MAX_TITLE]}\n\n{_bounded(text.content)}"
    by_rules = partial(answer_by_rules, text.title, text.content)
    return Question(Prompt(instructions(most), fence(data)), ExtractionAnswer, RULES, by_rules)


def _bounded(content: str) -> str:
    rest = len(content) - MAX_CONTENT
    return content if rest <= 0 else f"{content[:MAX_CONTENT]}\n[cut here: {rest} more characters]"
