"""Views of models."""

from neural_pipeline.metrics.definition import View

OF_MODELS: tuple[View, ...] = ()
