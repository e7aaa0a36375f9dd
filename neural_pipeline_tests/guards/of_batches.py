"""Guards of taking in, of batches, and of what their runs write."""

from neural_pipeline_tests.guards.guard import Guard

_FIRST_SCHEMA = "store/migrations/versions/0001_first_schema.sql"

OF_BATCHES = (
    Guard(
        "an accepted event has its row at once",
        "store/inbox.py",
        "  join new n on n.id = a.id\n",
        "  join new n on n.id = a.id and false\n",
        ("postgres/test_intake_store.py::test_an_accepted_payload_is_queued_with_its_name_input_and_origin",),
    ),
    Guard(
        "a delivery is accepted once",
        _FIRST_SCHEMA,
        "create unique index incoming_event_delivery_idx",
        "create index incoming_event_delivery_idx",
        ("postgres/test_intake_store.py::test_a_delivery_is_accepted_once_though_it_comes_again_later",),
    ),
    Guard(
        "one assignment at a time",
        "store/batches.py",
        "select pg_advisory_xact_lock(hashtext('neural.assign'), hashtext(:name))",
        "select hashtext(:name)",
        ("postgres/test_batches.py::test_assignment_waits_for_another_assignment_to_commit",),
    ),
    Guard(
        "no two batches hold one workspace",
        _FIRST_SCHEMA,
        "create unique index batch_workspace_held_idx",
        "create index batch_workspace_held_idx",
        ("postgres/test_batches.py::test_a_workspace_cannot_be_held_twice",),
    ),
    Guard(
        "a batch that no run has taken is asked for again",
        "automation/inbox.py",
        "            waiting = left_to_the_sensor(connection, function_id=function_id)\n",
        "            waiting: list[int] = []\n",
        (
            "dagster/test_inbox_sensor.py::test_a_batch_that_no_run_has_taken_is_asked_for_again_and_nothing_else_happens",
        ),
    ),
    Guard(
        "a sensor leaves alone what the dispatcher asks for",
        "store/announcements.py",
        "  and (not :is_asking or assigned_at",
        "  and (true or :is_asking or assigned_at",
        (
            "postgres/test_notifications.py::test_batches_whose_runs_a_dispatcher_asks_for_are_not_the_sensors",
            "dagster/test_dispatcher.py::test_while_the_dispatcher_asks_for_a_run_the_sensor_does_not",
        ),
    ),
    Guard(
        "a batch belongs to one run",
        "store/batches.py",
        "where id = :batch_id and state = 'open'\nreturning epoch",
        "where id = :batch_id and state <> 'closed'\nreturning epoch",
        ("postgres/test_batch_fence.py::test_a_batch_is_not_taken_twice_even_by_the_same_run",),
    ),
    Guard(
        "only the run that holds a batch writes for it",
        "store/batches.py",
        "where id = :batch_id and run_id = :run_id and epoch = :epoch and state = 'running' for share",
        "where id = :batch_id for share",
        (
            "postgres/test_batch_fence.py::test_the_fence_turns_every_other_token_away",
            "postgres/test_settlement.py::test_a_late_writer_changes_nothing_after_its_batch_was_settled",
        ),
    ),
    Guard(
        "only one of two that settle a batch does it",
        "store/settlement.py",
        "where id = :batch_id and state <> 'closed' for update",
        "where id = :batch_id and state <> 'closed'",
        ("postgres/test_settlement.py::test_one_of_two_that_settle_a_batch_at_once_does_it",),
    ),
    Guard(
        "only its own run settles a batch",
        "store/settlement.py",
        'if not found or (found[0]["state"] == "running" and found[0]["run_id"] != run_id):',
        "if not found:",
        ("postgres/test_settlement.py::test_a_run_cannot_settle_the_batch_of_another_run",),
    ),
    Guard(
        "a write that was turned away is counted",
        "workflows/batch_work/ops.py",
        "            batches.count_stale_write(connection, token)\n",
        "            pass\n",
        ("postgres/test_persistence_accidents.py::test_the_store_op_counts_the_write_that_the_fence_turned_away",),
    ),
    Guard(
        "a fact is written once",
        "store/outcomes.py",
        'where e.id = f.event_id and e.outcome is null\n"""\n\n\ndef keep_outcomes',
        'where e.id = f.event_id\n"""\n\n\ndef keep_outcomes',
        ("postgres/test_persistence.py::test_a_fact_is_written_once",),
    ),
    Guard(
        "after an unanswered commit only the facts count",
        "workflows/batch_work/committing.py",
        "todo = [one for one in chunk if one.event.id in seen.unfinished]",
        "todo = list(chunk)",
        ("postgres/test_persistence_accidents.py::test_a_commit_that_went_unanswered_doubles_nothing",),
    ),
    Guard(
        "an event is no duplicate of its own observation",
        "store/capture_inputs.py",
        "where o.event_id is distinct from k.event_id and e.id is null",
        "where e.id is null",
        ("postgres/test_persistence_accidents.py::test_an_event_is_no_duplicate_of_its_own_observation",),
    ),
    Guard(
        "an observation is made once",
        _FIRST_SCHEMA,
        "create unique index obs_source_id_idx",
        "create index obs_source_id_idx",
        ("postgres/test_schema.py", "postgres/test_persistence.py"),
    ),
    Guard(
        "one guilty event fails alone",
        "workflows/batch_work/committing.py",
        "            elif len(chunk) > 1:\n                size = len(chunk) // 2\n",
        "",
        ("postgres/test_persistence.py::test_one_guilty_event_fails_at_step_store_and_all_others_are_captured",),
    ),
    Guard(
        "a lost connection or a deadlock spends no attempt",
        "workflows/batch_work/committing.py",
        "for pause in (*_PATIENCE, None):",
        "for pause in (None,):",
        (
            "postgres/test_persistence_accidents.py"
            "::test_a_chunk_that_circumstances_threw_back_is_repeated_and_no_attempt_is_spent",
        ),
    ),
    Guard(
        "an outage blames nobody",
        "workflows/run_failures.py",
        "        if is_fault_of_circumstances(error):\n            reason",
        "        if False:\n            reason",
        ("dagster/test_lost_runs.py::test_circumstances_hand_the_batch_back_after_a_pause_and_blame_nobody",),
    ),
    Guard(
        "a server that went away makes nobody suspicious",
        "store/settlement.py",
        'return 0 if self.row["outlived_its_server"] else 1',
        "return 1",
        ("postgres/test_leases.py::test_a_server_that_went_away_under_a_run_makes_nobody_suspicious",),
    ),
)
