"""Guards of the record itself: rows, times, cancellations, upgrades, accounting."""

from neural_pipeline_tests.guards.guard import Guard

_FIRST_SCHEMA = "store/migrations/versions/0001_first_schema.sql"

OF_RECORD = (
    Guard(
        "the order of run-status events does not matter",
        "store/lifecycle.py",
        "case e.outcome when 'superseded' then 'completed' else coalesce(e.outcome, 'running') end as status,",
        "case e.outcome when 'superseded' then 'completed' else 'running' end as status,",
        ("dagster/test_lifecycle_sensors.py::test_the_order_in_which_sensors_see_a_run_does_not_matter",),
    ),
    Guard(
        "recording twice changes and measures nothing",
        "store/lifecycle.py",
        "where r.id = f.id and (r.status <> f.status or r.dagster_run_id is distinct from f.run_id)",
        "where r.id = f.id",
        ("postgres/test_recorder.py::test_recording_again_changes_nothing_and_measures_nothing",),
    ),
    Guard(
        "a finished row is left alone by a recorder with old facts",
        "store/lifecycle.py",
        "where {scope} and (r.status in ('queued', 'running')) is true and",
        "where {scope} and",
        (
            "postgres/test_recorder.py"
            "::test_a_recorder_with_old_facts_does_not_stumble_over_a_row_that_finished_meanwhile",
        ),
    ),
    Guard(
        "a recorder waits for whoever settles",
        "store/lifecycle.py",
        '    run(connection, "select from event_batches where id = :batch_id for share", batch_id=batch_id)\n',
        "",
        ("postgres/test_recorder.py::test_a_recorder_waits_for_whoever_settles_the_batch",),
    ),
    Guard(
        "putting an event off waits for the recorder",
        "workflows/batch_work/committing.py",
        "(batches.hold_alone if retries else batches.fence)(connection, self.token)",
        "batches.fence(connection, self.token)",
        ("postgres/test_attempts.py::test_putting_an_event_off_waits_for_a_recorder_at_work",),
    ),
    Guard(
        "a finished row does not change",
        _FIRST_SCHEMA,
        "raise exception 'workflow run % is %: a finished run does not change', old.id, old.status\n"
        "      using errcode = 'check_violation';",
        "return new;",
        ("postgres/test_lifecycle_guard.py::test_a_finished_run_does_not_change",),
    ),
    Guard(
        "a failed row says why",
        _FIRST_SCHEMA,
        "  constraint run_failure_has_reason check (status <> 'failed'",
        "  constraint run_failure_has_reason check (true or status <> 'failed'",
        ("postgres/test_lifecycle_guard.py::test_a_run_cannot_fail_without_saying_why",),
    ),
    Guard(
        "an output belongs to its function",
        _FIRST_SCHEMA,
        "check (output is null or output ->> 'inngestFunctionId' is not distinct from inngest_function_id)",
        "check (true)",
        ("postgres/test_lifecycle_guard.py::test_an_output_must_name_the_function_of_its_run",),
    ),
    Guard(
        "times never run backwards",
        "store/lifecycle.py",
        "greatest(e.outcome_at, e.begun_at, r.created_at) as completed_at",
        "e.outcome_at as completed_at",
        ("postgres/test_recorder.py::test_a_clock_that_jumped_back_gives_no_negative_time",),
    ),
    Guard(
        "a cancellation is not overwritten",
        "workflows/batch_work/committing.py",
        "        if seen.cancelled:\n            raise CancelledMeanwhile\n",
        "",
        (
            "postgres/test_cancellation.py"
            "::test_an_event_is_no_duplicate_of_one_that_was_cancelled_before_it_was_stored",
            "postgres/test_cancellation.py::test_a_run_at_work_leaves_a_cancelled_event_and_does_the_others",
        ),
    ),
    Guard(
        "work waits for a program that knows the schema",
        "workflows/batch_work/claiming.py",
        "if current_revision(connection) != SCHEMA_REVISION:",
        "if current_revision(connection) is None:",
        ("dagster/test_capture_faults.py::test_work_waits_for_a_program_that_knows_the_schema",),
    ),
    Guard(
        "an upgrade waits for runs at work",
        "store/migrate.py",
        "if before is None or not running_batches(connection) or before == SCHEMA_REVISION:",
        "if True:",
        ("postgres/test_migrate.py::test_a_migration_is_refused_while_a_batch_is_running",),
    ),
    Guard(
        "a shutdown counts against nobody",
        "store/settlement.py",
        '    release(connection, [row["id"] for row in unfinished], pause=pause)\n',
        "    _free(connection, unfinished, losses=1)\n",
        ("postgres/test_leases.py::test_a_shutdown_takes_every_batch_back_and_counts_nothing",),
    ),
    Guard(
        "what was lost is seen",
        "store/audits/event_accounting.sql",
        "select 'an execution has its workflow run', count(*), count(r.id), count(*) filter (where r.id is null)\n",
        "select 'an execution has its workflow run', count(*), count(r.id), count(*) filter (where false)\n",
        ("postgres/test_accounting.py::test_a_lost_row_is_missed",),
    ),
)
