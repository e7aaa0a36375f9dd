"""Every view there is, by area. The SQL of each is metrics/views/<name>.sql."""

from neural_pipeline.metrics.definition import View
from neural_pipeline.metrics.of_accounting import ACCOUNTING
from neural_pipeline.metrics.of_memory import OF_MEMORY
from neural_pipeline.metrics.of_models import OF_MODELS
from neural_pipeline.metrics.of_observations import OF_OBSERVATIONS
from neural_pipeline.metrics.of_operations import OF_OPERATIONS

VIEWS: tuple[View, ...] = (*OF_OPERATIONS, ACCOUNTING, *OF_OBSERVATIONS, *OF_MEMORY, *OF_MODELS)

BY_NAME: dict[str, View] = {view.name: view for view in VIEWS}
