"""What crosses a boundary: pydantic models and the rules of the lifecycle. No Dagster, no SQL, no input or output."""
