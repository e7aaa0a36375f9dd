"""Views of observations."""

from neural_pipeline.metrics.definition import View

OF_OBSERVATIONS: tuple[View, ...] = ()
