"""Guards of the one event that waits for all of its key."""

from neural_pipeline_tests.guards.guard import Guard

_APPEND = "postgres/test_debounce.py"
_RETURN = "postgres/test_debounce_return.py"
_LOCKS = "postgres/test_debounce_locks.py"

OF_DEBOUNCE = (
    Guard(
        "one event waits per workspace, function and key",
        "store/debounce.py",
        "  select e.id, n.id as newest from incoming_events e join newest n using (workspace_id, function_id,"
        " debounce_key)\n  where",
        "  select e.id, n.id as newest from incoming_events e join newest n using (workspace_id, debounce_key)"
        "\n  where",
        (f"{_APPEND}::test_another_key_workspace_or_function_is_another_matter",),
    ),
    Guard(
        "news put work off, but not for ever",
        "store/debounce.py",
        "  select coalesce(s.due_by, clock_timestamp() + make_interval(secs => new.max_seconds)) as by\n",
        "  select clock_timestamp() + make_interval(secs => new.max_seconds) as by\n",
        (f"{_APPEND}::test_news_put_the_work_off_but_never_beyond_the_longest_wait_since_the_first",),
    ),
    Guard(
        "a delivery that is known supersedes nothing",
        "store/debounce.py",
        "  where not exists (select from incoming_events e where e.source = g.source and",
        "  where not exists (select from incoming_events e where false and",
        (f"{_APPEND}::test_a_delivery_that_is_known_supersedes_nothing",),
    ),
    Guard(
        "a superseded run names the run that stands for it",
        "store/lifecycle.py",
        "s.id as superseded_by",
        "e.superseded_by",
        (f"{_APPEND}::test_the_run_of_a_superseded_event_names_the_run_not_the_event_that_stands_for_it",),
    ),
    Guard(
        "an event tried again gives way to a newer one",
        "store/outcomes.py",
        "    debounce.give_way(connection, {retry.event_id: retry.pause for retry in retries}, attempts=1)\n",
        "",
        (f"{_RETURN}::test_what_comes_back_while_a_newer_one_waits_is_superseded_by_it",),
    ),
    Guard(
        "an event that a run did not get to gives way to a newer one",
        "store/settlement.py",
        "    debounce.give_way(connection, dict.fromkeys(event_ids, pause))\n",
        "",
        (f"{_RETURN}::test_what_comes_back_while_a_newer_one_waits_is_superseded_by_it",),
    ),
    Guard(
        "an event whose run died gives way to a newer one",
        "store/settlement.py",
        "    debounce.give_way(connection, dict.fromkeys(ids, 0.0), losses=losses)\n",
        "",
        (f"{_RETURN}::test_what_comes_back_while_a_newer_one_waits_is_superseded_by_it",),
    ),
    Guard(
        "two that make events of one key wait do so one after the other",
        "store/debounce.py",
        "select pg_advisory_xact_lock(hashtext('neural.debounce'), held.mark) from (",
        "select held.mark from (",
        (
            f"{_LOCKS}::test_of_two_appended_at_once_the_later_one_waits",
            f"{_LOCKS}::test_what_comes_back_while_a_capture_asks_for_it_gives_way_to_the_news",
        ),
    ),
    Guard(
        "giving several batches back waits in no circle",
        "store/settlement.py",
        "    debounce.hold_keys_of(connection, [token.batch_id for token in held])\n",
        "",
        (f"{_LOCKS}::test_a_shutdown_that_gives_back_several_batches_waits_in_no_circle",),
    ),
    Guard(
        "an assignment passes over what is being superseded",
        "store/batches.py",
        "  for no key update skip locked\n)\nupdate",
        "  for no key update\n)\nupdate",
        (f"{_LOCKS}::test_an_assignment_passes_over_what_is_being_superseded_and_waits_for_nobody",),
    ),
    Guard(
        "what waited before there was a debounce is folded",
        "store/migrations/versions/0003_children_and_models.sql",
        "    order by received_at desc, id desc) as newest,\n",
        "    order by id desc) as newest,\n",
        ("postgres/test_debounce_fold.py",),
    ),
    Guard(
        "what stood for others is not removed before them",
        "store/retention_records.py",
        "union all\nselect superseded_by, id from incoming_events where superseded_by = any(:ids)\n",
        "",
        ("postgres/test_retention_accounting.py::test_the_books_balance_after_every_transaction_whatever_the_ages",),
    ),
)
