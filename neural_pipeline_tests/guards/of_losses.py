"""Guards of attempts and losses: who is blamed, and that every end of a run is seen."""

from neural_pipeline_tests.guards.guard import Guard

OF_LOSSES = (
    Guard(
        "attempts are limited",
        "contracts/retries.py",
        "if attempt > self.extra_attempts:",
        "if attempt > 100:",
        ("postgres/test_attempts.py::test_an_event_that_fails_every_time_ends_as_failed_after_its_extra_attempts",),
    ),
    Guard(
        "every attempt's error is kept",
        "store/outcomes.py",
        "    failures = {retry.event_id: retry.failure for retry in retries}\n"
        "    keep_attempts(connection, failures, batch_id=token.batch_id, run_id=token.run_id)\n",
        "    failures = {retry.event_id: retry.failure for retry in retries}\n",
        ("postgres/test_attempts.py::test_every_attempt_is_kept_with_class_message_step_stack_and_its_run",),
    ),
    Guard(
        "what is refused is not tried again",
        "workflows/batch_work/committing.py",
        "if not isinstance(failure, Failure) or failure.rejected:",
        "if not isinstance(failure, Failure):",
        ("postgres/test_attempts.py::test_a_refused_event_fails_at_its_first_attempt",),
    ),
    Guard(
        "a run without a sign of life loses its batch",
        "automation/reconciler.py",
        "    if batch.is_abandoned:\n",
        "    if False:\n",
        ("dagster/test_lost_runs.py::test_a_run_without_a_sign_of_life_loses_its_batch_and_is_reported_as_failed",),
    ),
    Guard(
        "a run whose time is over loses its batch",
        "automation/reconciler.py",
        "    if batch.is_overdue:\n",
        "    if False:\n",
        ("dagster/test_lost_runs.py::test_a_run_whose_time_is_over_loses_its_batch",),
    ),
    Guard(
        "a time-out is no cancellation",
        "store/settlement.py",
        'is_timeout = end in {RunEnd.CANCELED, RunEnd.FAILURE} and found[0]["is_overdue"] and trouble is None',
        "is_timeout = False",
        ("postgres/test_leases.py::test_a_run_that_dagster_cancels_after_its_deadline_only_had_its_time",),
    ),
    Guard(
        "a success without facts is a loss",
        "store/settlement.py",
        "    elif not was_taken:\n",
        "    elif not was_taken or ended.end is RunEnd.SUCCESS:\n",
        ("postgres/test_settlement.py::test_unfinished_events_of_a_lost_run_wait_again_with_a_loss_and_no_attempt",),
    ),
    Guard(
        "losses in company blame nobody",
        "store/settlement.py",
        'if ended.row["events"] != 1 or len(unfinished) != 1 or not ended.losses:',
        "if len(unfinished) != 1 or not ended.losses:",
        (
            "postgres/test_settlement.py::test_an_event_is_not_given_up_for_losses_it_shared_with_others",
            "postgres/test_settlement.py::test_the_last_unfinished_event_of_a_larger_batch_did_not_stand_alone",
        ),
    ),
    Guard(
        "suspicious events stand in smaller and smaller batches",
        "contracts/batching.py",
        "return max(1, round(limits.max_events ** (remaining / stages)))",
        "return limits.max_events",
        ("postgres/test_batching_plan.py::test_batches_shrink_with_every_loss_until_an_event_stands_alone",),
    ),
    Guard(
        "innocent workspaces do not wait for suspicious ones",
        "contracts/batching.py",
        "    if not suspicious or not others:\n",
        "    if True:\n",
        ("postgres/test_batching_plan.py::test_a_workspace_under_suspicion_does_not_hold_up_the_others",),
    ),
    Guard(
        "a batch whose run key is spent is freed",
        "automation/reconciler.py",
        "        return spent_run_key(instance, batch.id)\n",
        "        return None\n",
        ("dagster/test_reconciler.py::test_an_open_batch_whose_runs_have_all_failed_is_freed_and_assigned_anew",),
    ),
    Guard(
        "the end of one of two runs is not that of the other",
        "automation/lifecycle.py",
        "    if not ends or None in ends:\n        return None\n",
        "    ends = [end for end in ends if end]\n    if not ends:\n        return None\n",
        (
            "dagster/test_lifecycle_sensors.py::test_the_end_of_one_of_two_runs_asked_for_a_batch_leaves_it_to_the_other",
        ),
    ),
    Guard(
        "a run that has shown a sign of life meanwhile is not lost",
        "store/settlement.py",
        'if end is RunEnd.LOST and found[0]["is_abandoned"] is False:',
        "if False:",
        ("postgres/test_leases.py::test_a_run_that_renewed_its_lease_meanwhile_keeps_its_batch",),
    ),
    Guard(
        "a deleted run counts as lost",
        "automation/reconciler.py",
        "if run is None and batch.running_seconds > MIN_AGE_OF_LOSS",
        "if run is None and batch.running_seconds < 0",
        ("dagster/test_reconciler.py::test_a_deleted_run_counts_as_lost_after_a_while_and_not_before",),
    ),
)
