"""Everything the code location loads, by name."""

import dagster as dg

from neural_pipeline.automation.inbox import inbox_sensor
from neural_pipeline.automation.lifecycle import lifecycle_sensors
from neural_pipeline.automation.reconciler import reconciler_sensor
from neural_pipeline.automation.retention import retention, retention_schedule
from neural_pipeline.automation.vector_indexing import vector_indexing_schedule
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.workflows.cluster_summary.job import cluster_summary
from neural_pipeline.workflows.llm_entity_extraction.job import llm_entity_extraction
from neural_pipeline.workflows.observation_capture.job import observation_capture
from neural_pipeline.workflows.profile_update.job import profile_update
from neural_pipeline.workflows.vector_indexing.job import vector_indexing

workflows = {
    FunctionId.OBSERVATION_CAPTURE: observation_capture,
    FunctionId.PROFILE_UPDATE: profile_update,
    FunctionId.CLUSTER_SUMMARY: cluster_summary,
    FunctionId.LLM_ENTITY_EXTRACTION: llm_entity_extraction,
}
"""The jobs that work off the inbox, each its function's executions."""

defs = dg.Definitions(
    jobs=[*workflows.values(), retention, vector_indexing],
    schedules=[retention_schedule(), vector_indexing_schedule()],
    sensors=[
        *(inbox_sensor(job, function_id) for function_id, job in workflows.items()),
        *lifecycle_sensors(*workflows.values()),
        reconciler_sensor(),
    ],
    resources={"pipeline": Pipeline()},
)
