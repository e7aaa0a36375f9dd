"""Everything the code location loads, by name."""

import dagster as dg

from neural_pipeline.automation.inbox import inbox_sensor
from neural_pipeline.automation.lifecycle import lifecycle_sensors
from neural_pipeline.automation.reconciler import reconciler_sensor
from neural_pipeline.automation.retention import retention, retention_schedule
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.resources import Pipeline
from neural_pipeline.workflows.observation_capture.job import observation_capture

defs = dg.Definitions(
    jobs=[observation_capture, retention],
    schedules=[retention_schedule()],
    sensors=[
        inbox_sensor(observation_capture, FunctionId.OBSERVATION_CAPTURE),
        *lifecycle_sensors(observation_capture),
        reconciler_sensor(),
    ],
    resources={"pipeline": Pipeline()},
)
