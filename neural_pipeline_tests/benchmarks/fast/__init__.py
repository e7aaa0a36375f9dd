"""How fast is it? This project, the same work without Dagster, and the same work in other queues, side by side."""
