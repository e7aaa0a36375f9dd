"""Tests: unit (no database), postgres (a real one), dagster (jobs and sensors in process), end_to_end (real processes)."""
