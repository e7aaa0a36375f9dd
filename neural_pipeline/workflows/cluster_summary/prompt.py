"""The question that a language model is asked about a cluster. Pure. What comes from outside stands inside a fence."""

import json
from functools import partial

from neural_pipeline.contracts.answers import CLUSTER_STATUSES, SummaryAnswer
from neural_pipeline.models.fencing import FENCE_RULE, fence
from neural_pipeline.models.language import Prompt, Question
from neural_pipeline.workflows.cluster_summary.extractive import (
    MAX_MEMBERS,
    MAX_SUMMARY,
    RULES,
    STALLED_AFTER,
    summarise,
)
from neural_pipeline.workflows.cluster_summary.logic import Observed, Picture

INSTRUCTIONS = f"""You summarise a cluster of related events of a software team for people who were not there.
You are given, as JSON: the topic of the cluster, how many events it has, the date of the workspace's newest event,
and the latest events of the cluster, newest first, each with type, title, actor, date and the beginning of its text.

Write
- a summary of at most {MAX_SUMMARY} characters in whole sentences: what was worked on and decided, how it stands.
  Only what the events say: no guesses, no praise, no advice.
- at most {MAX_MEMBERS} key topics: short, specific words or phrases, the most important first.
  Neither the name of a provider nor a bare type of event is a topic.
- at most {MAX_MEMBERS} key contributors: names of actors exactly as given, the most active first; never "unknown".
- the status, one of {", ".join(CLUSTER_STATUSES)}: completed if the work was merged, closed, released or deployed and
  not taken up again; stalled if it is not completed and its newest event is more than {STALLED_AFTER.days} days older
  than the newest event of the workspace; else active.

{FENCE_RULE}"""


def question_about(picture: Picture) -> Question[SummaryAnswer]:
    """Return the question about a cluster; the same cluster on the same day gives the same question."""
    prompt = Prompt(INSTRUCTIONS, fence(json.dumps(_data(picture), ensure_ascii=False, indent=1)))
    return Question(prompt, SummaryAnswer, RULES, partial(summarise, picture))


def _data(picture: Picture) -> dict[str, object]:
    return {
        "topic": picture.label,
        "eventCount": picture.count,
        "newestEventOfWorkspace": picture.newest_at.date().isoformat(),
        "events": [_event(one) for one in picture.latest],
    }


def _event(one: Observed) -> dict[str, str]:
    return {
        "type": one.kind,
        "title": one.title,
        "actor": one.actor,
        "date": one.occurred_at.isoformat(),
        "content": one.snippet,
    }
