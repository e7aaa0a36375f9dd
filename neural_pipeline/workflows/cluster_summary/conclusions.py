"""From answers to what becomes of each request, and from that to the rows, the output and the metrics of its run."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from neural_pipeline.contracts.answers import SummaryAnswer
from neural_pipeline.contracts.incoming import SummaryPayload
from neural_pipeline.contracts.metrics import ClusterSummaryGenerated, ClusterTags
from neural_pipeline.contracts.workflows import SummarySkipped, SummarySuccess, error_text
from neural_pipeline.models.language import ModelFailed, Trouble
from neural_pipeline.store.cluster_summaries import Kept, NewSummary, keep_summaries
from neural_pipeline.workflows.batch_work.committing import Written
from neural_pipeline.workflows.batch_work.events import BatchEvent, Deferred
from neural_pipeline.workflows.batch_work.questions import Answers, failure_of_model
from neural_pipeline.workflows.batch_work.steps import Failure
from neural_pipeline.workflows.cluster_summary.extractive import MAX_SUMMARY, cut
from neural_pipeline.workflows.cluster_summary.logic import Effect, Skip, Subject, Summarised, who_took_part
from neural_pipeline.workflows.cluster_summary.recall import Recalled

STEP = "summarise"

Conclusion = Effect | Failure | Deferred


def conclude(recalled: Recalled, answers: Answers[SummaryAnswer]) -> dict[int, Conclusion]:
    """Return what becomes of each request; one that repeats another shares its fate."""
    plan = recalled.plan
    concluded: dict[int, Conclusion] = {
        event_id: _conclusion(event_id, recalled.subjects.get(event_id), answers) for event_id in plan.wanted
    }
    repeats = {event_id: _as_repeat(concluded[first]) for event_id, first in plan.repeats.items()}
    return {**plan.skipped, **concluded, **repeats}


def _conclusion(event_id: int, subject: Subject | None, answers: Answers[SummaryAnswer]) -> Conclusion:
    if subject is None:
        return Skip("no_observations")
    if event_id in answers.failures:
        return _failure(answers.failures[event_id])
    if event_id not in answers.found:
        return Deferred()
    answer, picture = answers.found[event_id], subject.picture
    people = who_took_part(answer.value.key_contributors, picture)
    value = answer.value.model_copy(update={"key_contributors": people})
    return Summarised(subject.key, subject.seen, value, answer.answered_by, len(picture.latest))


def _as_repeat(first: Conclusion) -> Conclusion:
    return replace(first, is_repeat=True) if isinstance(first, Summarised) else first


def _failure(failed: ModelFailed | Failure) -> Skip | Failure:
    if isinstance(failed, Failure):
        return failed
    if failed.trouble is Trouble.BUDGET_EXHAUSTED:
        return Skip("budget_exhausted", error_text(str(failed)))
    return failure_of_model(failed, step=STEP)


def keep(connection: Connection, decided: Sequence[tuple[BatchEvent[SummaryPayload], Effect]]) -> dict[int, Written]:
    """Write the summaries to their clusters; return output and metrics of each request by event id."""
    made = [(event, effect) for event, effect in decided if isinstance(effect, Summarised)]
    ends = keep_summaries(connection, [_new_summary(effect) for _, effect in made])
    kept: dict[int, Kept] = {event.id: end for (event, _), end in zip(made, ends, strict=True)}
    return {event.id: _written(event.payload.cluster_id, effect, kept.get(event.id)) for event, effect in decided}


def _new_summary(one: Summarised) -> NewSummary:
    workspace_id, cluster_id = one.key
    answer = one.answer
    return NewSummary(
        workspace_id=workspace_id,
        cluster_id=cluster_id,
        seen=one.seen,
        summary=cut(answer.summary, MAX_SUMMARY),
        key_topics=answer.key_topics,
        key_contributors=answer.key_contributors,
        status=answer.status,
        summarized_by=one.answered_by,
    )


def _written(cluster_id: str, effect: Effect, kept: Kept | None) -> Written:
    match effect:
        case Skip(reason=reason, detail=detail):
            return Written(SummarySkipped(cluster_id=cluster_id, reason=reason, detail=detail))
        case Summarised() if kept == "kept":
            tags = ClusterTags(cluster_id=cluster_id, observation_count=effect.gathered)
            output = SummarySuccess(cluster_id=cluster_id, summary_generated=True, key_topics=effect.answer.key_topics)
            return Written(output, (ClusterSummaryGenerated(tags=tags),))
        case Summarised():
            reason = "cluster_not_found" if kept == "gone" else "summary_recent"
            return Written(SummarySkipped(cluster_id=cluster_id, reason=reason))
