"""Tests: unit (no database), postgres (a real one), dagster (jobs, sensors), end_to_end (real processes)."""
