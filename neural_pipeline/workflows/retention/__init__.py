"""Removing what the settings say is old, from our records and from Dagster's. Whoever asks for it lives elsewhere."""
