"""All guards, in the order of docs/reliability.md."""

from neural_pipeline_tests.guards.of_batches import OF_BATCHES
from neural_pipeline_tests.guards.of_debounce import OF_DEBOUNCE
from neural_pipeline_tests.guards.of_losses import OF_LOSSES
from neural_pipeline_tests.guards.of_record import OF_RECORD
from neural_pipeline_tests.guards.of_retention import OF_RETENTION

GUARDS = (*OF_BATCHES, *OF_DEBOUNCE, *OF_LOSSES, *OF_RECORD, *OF_RETENTION)
