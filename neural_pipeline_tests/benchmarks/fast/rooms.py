"""The ops of a room called one after the other, without Dagster's engine: what is measured is the project's own code.

Nothing of a room is repeated here, so that a room that changes is measured as it is. What Dagster would write, logs and
metadata, goes nowhere.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg

from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.workflows.batch_work.tags import BATCH_TAG
from neural_pipeline.workflows.cluster_summary.job import cluster_summary
from neural_pipeline.workflows.llm_entity_extraction.job import llm_entity_extraction
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline.workflows.profile_update.job import profile_update

ROOMS: Mapping[FunctionId, dg.JobDefinition] = {
    FunctionId.OBSERVATION_CAPTURE: observation_capture,
    FunctionId.PROFILE_UPDATE: profile_update,
    FunctionId.CLUSTER_SUMMARY: cluster_summary,
    FunctionId.LLM_ENTITY_EXTRACTION: llm_entity_extraction,
}

LOAD = "load"


class _Silence:
    """Takes whatever is logged."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_more: None


def work_off(
    job: dg.JobDefinition,
    pipeline: Pipeline,
    *,
    run_id: str,
    batch_id: int | None = None,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Call the ops of a job in their order; return what each gave. `given` stands for ops that are not called."""
    tags = {} if batch_id is None else {BATCH_TAG: str(batch_id)}
    made = dict[str, Any](given or {})
    for node in job.graph.nodes_in_topological_order:
        if node.name not in made:
            context = _context(run_id, tags)
            made[node.name] = _call(
                cast("dg.OpDefinition", node.definition), context, pipeline, _inputs(job, node, made)
            )
    return made


def _context(run_id: str, tags: Mapping[str, str]) -> SimpleNamespace:
    return SimpleNamespace(
        run_id=run_id,
        run=SimpleNamespace(run_id=run_id, tags=tags),
        log=_Silence(),
        add_output_metadata=lambda *_args, **_more: None,
    )


def _inputs(job: dg.JobDefinition, node: Any, made: Mapping[str, Any]) -> dict[str, Any]:
    structure = job.graph.dependency_structure
    sources = structure.input_to_upstream_outputs_for_node(node.name)
    return {entry.input_name: made[outputs[0].node_name] for entry, outputs in sources.items()}


def _call(op: dg.OpDefinition, context: SimpleNamespace, pipeline: Pipeline, inputs: Mapping[str, Any]) -> Any:
    """Call the function of an op with what it asks for: context, configuration, the pipeline, its inputs."""
    function = cast("Any", op.compute_fn)
    arguments = [context] if function.has_context_arg() else []
    named = dict(inputs) | {argument.name: pipeline for argument in function.get_resource_args()}
    if function.has_config_arg():
        named["config"] = function.get_config_arg().annotation()
    return function.decorated_fn(*arguments, **named)
