"""One folder per workflow: pure decisions in logic.py, the Dagster job that carries them out in job.py."""
