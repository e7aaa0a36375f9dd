"""Views of memory."""

from neural_pipeline.metrics.definition import View

OF_MEMORY: tuple[View, ...] = ()
