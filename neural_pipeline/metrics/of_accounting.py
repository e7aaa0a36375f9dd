"""The view of the accounting: whether the books balance, as of the latest audit."""

from neural_pipeline.metrics.definition import Area, Column, Number, View

ACCOUNTING = View(
    name="accounting",
    area=Area.OPERATIONS,
    description="Whether anything was lost or made up: every rule that one record is held against another by, as of the"
    " latest audit; no row before the first. The view event_accounting audits anew, in seconds.",
    columns=(
        Column("rule", "text", "What must hold.", is_key=True),
        Column("expected", "integer", "Rows that the rule was held against.", "count"),
        Column("found", "integer", "Rows found for them.", "count"),
        Column("unexplained", "integer", "Rows that one record has and the other lacks; 0 is right.", "count"),
        Column("audited_at", "time", "Moment that the audit is about."),
    ),
    numbers=(
        Number("accounting_unexplained", "count", "Rows that speak against a rule.", "sum(unexplained)"),
        Number("accounting_rules_broken", "count", "Rules with such rows.", "sum((unexplained <> 0)::integer)"),
        Number(
            "accounting_rows_checked",
            "count",
            "Rows that rules were held against.",
            "sum(expected)",
            rows_behind="select rule, expected, found, unexplained, audited_at from accounting order by rule",
        ),
        Number(
            "accounting_audit_age_seconds",
            "seconds",
            "Time since the latest audit.",
            "extract(epoch from clock_timestamp() - max(audited_at))",
            rows_behind="select audited_at, audit_id, count(*) as rules, sum(unexplained) as unexplained"
            " from accounting_audits group by audited_at, audit_id order by audited_at desc limit 100",
        ),
    ),
    tables=(
        "accounting_audits",
        "batch_workspaces",
        "event_batches",
        "incoming_events",
        "intakes",
        "lightfast_workspace_neural_observations",
        "lightfast_workspace_workflow_runs",
        "pruned_counters",
        "raw_payloads",
        "replaced_observations",
    ),
    rows_behind="select * from event_accounting where unexplained <> 0",
    order="rule",
)
