"""Observation capture: a source event is filtered, scored, classified, embedded, clustered and stored."""
