"""Faults in what is read, written and journaled, and in which order."""

from __future__ import annotations

from tests.harness.mutation.mutation import Mutation

MUTATIONS = (
    Mutation(
        "foreign_key_taken_for_none",
        "credits/lua/records.lua",
        "    stop('DAMAGED', key .. ': ' .. answer.err)",
        "    return false",
        "a key of a foreign type counts as missing",
        "a_key_of_a_foreign_type_is_named_and_nothing_changes",
    ),
    Mutation(
        "key_made_in_lua",
        "credits/lua/state.lua",
        "limits = KEYS[7]",
        "limits = string.gsub(KEYS[6], 'refs$', 'limits')",
        "a key is not declared: a cluster may find that out after a write",
        "every_key_is_declared_in_the_order_in_which_the_client_sends_them",
    ),
    Mutation(
        "chain_of_one",
        "credits/lua/journal.lua",
        "account.chain .. body",
        "body",
        "entries that were taken out are not missed",
        "whatever_is_journaled_is_news_of_its_account",
    ),
    Mutation(
        "effective_is_now",
        "credits/lua/journal.lua",
        "effective and effective ~= S.now and int(effective) or ''",
        "''",
        "past balances are of when somebody looked",
        "what_comes_home_to_an_expired_grant_expires_at_once_and_is_journaled",
    ),
    Mutation(
        "a_look_is_an_entry",
        "credits/lua/journal.lua",
        "  if READ_ONLY then return end\n",
        "",
        "what only looks counts an entry that is not there",
        "many_ids_are_looked_up_by_whoever_knows_them",
    ),
    Mutation(
        "named_twice_in_a_batch",
        "credits/lua/journal.lua",
        "  S.dims[text] = number\n",
        "",
        "dimensions that two calls of a batch bring lock the account",
        "dimensions_that_many_bring_at_once_are_named_once",
    ),
    Mutation(
        "journal_skips_a_number",
        "credits/lua/journal.lua",
        "  account.seq = account.seq + 1\n",
        "  account.seq = account.seq + (entry.kind == 'expired' and 2 or 1)\n",
        "the journal has gaps",
        "whatever_is_journaled_is_news_of_its_account",
    ),
    Mutation(
        "time_goes_back",
        "credits/lua/write.lua",
        "  account.last_ms = S.now\n",
        "",
        "a clock that lags behind brings back what had expired",
        "a_server_clock_that_goes_back_does_not_turn_time_back",
    ),
    Mutation(
        "fork_found_too_late",
        "credits/lua/write.lua",
        "  write_journal()\n  write_limits()\n  write_account(order)\n",
        "  write_limits()\n  write_account(order)\n  write_journal()\n",
        "an account is written before its journal is found ahead of it",
        "a_journal_ahead_of_its_account_is_a_fork_and_nothing_is_written",
    ),
    Mutation(
        "foreign_keys_found_too_late",
        "credits/lua/write.lua",
        "  for _, key in ipairs({ K.ended, K.refs, K.limits, K.dims }) do fetch('HLEN', key) end\n",
        "",
        "a key of a foreign type stops a script that has written",
        "a_key_of_a_foreign_type_is_named_and_nothing_changes",
    ),
    Mutation(
        "sweeper_not_told",
        "credits/lua/write.lua",
        "tonumber(registered) <= earliest",
        "tonumber(registered) >= earliest",
        "the sweeper comes by the latest deadline",
        "the_sweeper_comes_by_the_earliest_deadline",
    ),
    Mutation(
        "outcome_for_ever",
        "credits/lua/write.lua",
        "outcome_text(outcome), 'KEEPTTL')",
        "outcome_text(outcome))",
        "an outcome that a loser was added to never ends",
        "an_outcome_whose_loser_was_noted_still_ends_by_itself",
    ),
    Mutation(
        "outcome_by_interval",
        "credits/lua/write.lua",
        "'PXAT', int(S.now + OUTCOME_TTL_MS)",
        "'PX', int(OUTCOME_TTL_MS)",
        "an outcome ends before the last settlement that could be charged again",
        "an_outcome_outlives_every_settlement_that_could_still_be_charged",
    ),
    Mutation(
        "archive_not_told",
        "credits/lua/write.lua",
        "if #S.entries > 0 and not in_news then",
        "if #S.entries > 1 and not in_news then",
        "what is journaled alone is not news",
        "whatever_is_journaled_is_news_of_its_account",
    ),
    Mutation(
        "alert_not_stored",
        "credits/lua/write_alerts.lua",
        "  for _, alert in ipairs(S.alerts) do\n",
        "  for _, alert in ipairs({}) do\n",
        "an alert is lost with the process that raised it",
        "an_alert_is_in_redis_as_well_as_told",
    ),
    Mutation(
        "write_before_the_check",
        "credits/lua/write.lua",
        "  local in_news, registered = check_writable()\n"
        "  local used, ended = sort_out_grants()\n"
        "  local order = order_text(ended)\n"
        "  if has_endings then redis.call('ZREM', K.due, '') end\n"
        "  write_journal()\n",
        "  local used, ended = sort_out_grants()\n"
        "  local order = order_text(ended)\n"
        "  if has_endings then redis.call('ZREM', K.due, '') end\n"
        "  write_journal()\n"
        "  local in_news, registered = check_writable()\n",
        "a script that finds damage has written already",
        "a_key_of_a_foreign_type_is_named_and_nothing_changes",
    ),
    Mutation(
        "ending_needs_memory",
        "credits/lua/write.lua",
        "  if has_endings then redis.call('ZREM', K.due, '') end\n",
        "",
        "at maxmemory settlements are refused",
        "at_maxmemory_settlements_go_in_and_reservations_do_not",
    ),
    Mutation(
        "damage_taken_for_nothing",
        "credits/lua/main.lua",
        "if sound then return S.damaged[call.execution.key] end",
        "if sound then return nil end",
        "a damaged reservation counts as none",
        "a_damaged_reservation_fails_its_own_execution_alone",
    ),
    Mutation(
        "balance_of_a_hundred",
        "credits/lua/due.lua",
        "  return page.rank < due\n",
        "  return false\n",
        "a balance shows what is long due as reserved",
        "a_balance_counts_nothing_that_is_due_however_much_it_is",
    ),
    Mutation(
        "damaged_name_believed",
        "credits/lua/journal.lua",
        "if not string.find(number, '^%d+$') then",
        "if number == '' then",
        "charges are journaled under dimensions that have no number",
        "a_damaged_name_of_dimensions_is_named",
    ),
)
