"""Everything the code location loads, by name."""

import dagster as dg

from neural_pipeline.automation.inbox import inbox_sensor
from neural_pipeline.automation.lifecycle import lifecycle_sensors
from neural_pipeline.automation.reconciler import reconciler_sensor
from neural_pipeline.automation.retention import retention, retention_schedule
from neural_pipeline.automation.vector_indexing import vector_indexing_schedule
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.metrics.assets import metric_rollups, neural_report, view_assets
from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.checks import CHECKS
from neural_pipeline.metrics.daily import daily_spec, day_metrics, day_metrics_schedule
from neural_pipeline.metrics.schedules import metrics_job, metrics_schedule
from neural_pipeline.metrics.tables import table_specs
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
    assets=[*table_specs(VIEWS), metric_rollups, *view_assets(), daily_spec(), neural_report],
    asset_checks=CHECKS,
    jobs=[*workflows.values(), retention, vector_indexing, day_metrics, metrics_job],
    schedules=[retention_schedule(), vector_indexing_schedule(), metrics_schedule(), day_metrics_schedule()],
    sensors=[
        *(inbox_sensor(job, function_id) for function_id, job in workflows.items()),
        *lifecycle_sensors(*workflows.values()),
        reconciler_sensor(),
    ],
    resources={"pipeline": Pipeline()},
    # A process for each of the assets would cost five times what they do.
    executor=dg.in_process_executor,
)
