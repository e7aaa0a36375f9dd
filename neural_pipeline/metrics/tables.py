"""The tables that the views read, as assets that are made elsewhere: lineage begins with them."""

from collections.abc import Iterable

import dagster as dg

from neural_pipeline.metrics.definition import View

OWNERS = ["team:neural-pipeline"]

METRICS = "lightfast_workspace_operations_metrics"

_HOLDS = {
    "accounting_audits": "What each audit of the whole record has found, rule by rule.",
    "batch_workspaces": "Which batch holds which workspace.",
    "duration_days": "Durations added up by day, as histograms.",
    "event_batches": "Events that one run works on together, and which run that is.",
    "incoming_events": "The inbox: one row per execution to be done, and what became of it.",
    "indexed_vectors": "The vectors that an index for approximate search covers.",
    "intakes": "The calls that handed payloads in, counted on their own.",
    "lightfast_org_actor_identities": "The names under which the providers know a person.",
    "lightfast_org_workspaces": "The workspaces.",
    "lightfast_workspace_actor_profiles": "What is known of each actor.",
    "lightfast_workspace_knowledge_documents": "The documents that synchronisations have indexed.",
    "lightfast_workspace_neural_entities": "What observations name: people, files, services and so on.",
    "lightfast_workspace_neural_observations": "Captured events: the memory itself.",
    "lightfast_workspace_observation_clusters": "Observations that belong together, and their summaries.",
    METRICS: "The log of metrics: one row per metric, written with what it measures.",
    "lightfast_workspace_workflow_runs": "The record of every execution: its state, its times and its end.",
    "metric_days": "Metrics added up by day.",
    "metric_hours": "Run times added up by hour.",
    "model_answers": "What models have answered.",
    "model_calls": "Every call of a model: its outcome, tokens and duration.",
    "model_days": "The tokens that each day has used.",
    "observation_entities": "Which observation names which entity.",
    "observation_vectors": "The vectors that no index covers yet.",
    "pruned_counters": "How much retention has removed.",
    "raw_payloads": "The payloads as they were received.",
    "replaced_observations": "Captures whose observation a later one has replaced.",
    "workflow_run_attempts": "The error of every attempt that failed.",
}
"""What each table holds."""


def table_specs(views: Iterable[View]) -> list[dg.AssetSpec]:
    """Return an external asset for every table that a view reads."""
    names = sorted({METRICS, *(table for view in views for table in view.tables)})
    return [
        dg.AssetSpec(name, group_name="tables", owners=OWNERS, kinds={"postgres", "table"}, description=_HOLDS[name])
        for name in names
    ]
