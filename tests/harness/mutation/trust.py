"""Faults in what stops an account: lost writes and wrong clocks."""

from __future__ import annotations

from tests.harness.mutation.mutation import Mutation

MUTATIONS = (
    Mutation(
        "fewer_entries_are_enough",
        "credits/lua/trust.lua",
        "if account.seq < seen then",
        "if false then",
        "a failover that lost writes is not noticed",
        "a_failover_to_a_lagging_replica_stops_the_account_until_it_is_accepted",
    ),
    Mutation(
        "fork_taken_for_a_continuation",
        "credits/lua/trust.lua",
        "if found and found ~= chain then",
        "if false then",
        "a failover is not noticed once others have written as much as was lost",
        "a_fork_is_noticed_though_others_have_written_more_by_then",
    ),
    Mutation(
        "any_account_of_the_name",
        "credits/lua/trust.lua",
        "if is_accepted(account.epoch) then return end",
        "if true then return end",
        "an account that was opened again is taken for the lost one",
        "an_account_opened_again_under_its_name_is_not_taken_for_the_lost_one",
    ),
    Mutation(
        "missing_account_is_unknown",
        "credits/lua/trust.lua",
        "if not account then stop_for_loss(",
        "if not account then return end if not account then stop_for_loss(",
        "an emptied server looks as if the account had never been opened",
        "what_is_owed_as_the_server_comes_back_empty_is_booked_once_it_has_its_data",
    ),
    Mutation(
        "clock_not_compared",
        "credits/lua/trust.lua",
        "if READ_ONLY or math.abs(ahead) <= MOST_APART_MS then return end",
        "if true then return end",
        "one settlement expires every grant by a wrong clock",
        "before_the_watch_has_looked_a_wrong_clock_writes_nothing",
    ),
    Mutation(
        "clock_ahead_is_gone_by",
        "credits/lua/trust.lua",
        "if ahead <= MOST_APART_MS then return math.max(time, S.account.last_ms) end",
        "if true then return math.max(time, S.account.last_ms) end",
        "an account goes on by the clock that ran ahead",
        "an_account_whose_clock_ran_ahead_is_stopped_until_it_is_put_right",
    ),
    Mutation(
        "answers_heard_late",
        "credits/memory.py",
        "before if _is_later(before, told) else told",
        "told",
        "an answer that is heard late makes the process forget a later one",
        "the_later_answer_is_remembered_in_whichever_order_they_are_heard",
    ),
    Mutation(
        "unknown_is_not_booked",
        "executions/outbox.py",
        "if owes_something(ending):\n                await",
        "if False:\n                await",
        "what is owed to a missing account is lost",
        "a_process_that_never_saw_the_account_keeps_what_is_owed_to_it",
    ),
)
