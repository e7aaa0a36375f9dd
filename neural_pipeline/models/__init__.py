"""Models that read text, behind small protocols: embedders and language models. No storage, no Dagster."""
