"""Cluster summaries: a few sentences, topics, contributors and a status per topic cluster, by rules or by a model."""
