"""Faults in making accounts again."""

from __future__ import annotations

from tests.harness.mutation.mutation import Mutation

_MADE_AGAIN = "accounts_are_audited_and_made_again_on_every_kind_of_server"
_NOT_TOUCHED = "an_account_that_is_there_or_ahead_of_the_archive_is_not_thrown_away"

MUTATIONS = (
    Mutation(
        "rebuilt_outcomes_are_of_nobody",
        "credits/lua/executions.lua",
        "    if one ~= other and one ~= ANY and other ~= ANY then",
        "    if one ~= other then",
        "a redelivery after a rebuild is a conflict",
        _MADE_AGAIN,
    ),
    Mutation(
        "rebuilt_outcomes_are_not_written",
        "credits/lua/write_rebuilt.lua",
        "    redis.call('SET', key, text, 'PXAT', gone_at)\n",
        "",
        "a redelivery after a rebuild is charged a second time",
        _MADE_AGAIN,
    ),
    Mutation(
        "rebuilt_epoch_is_foreign",
        "credits/lua/rebuild_finish.lua",
        "  remember('epoch:' .. epoch, 'loss_accepted', {}, before)\n",
        "",
        "processes that knew an account before a rebuild never go on",
        _MADE_AGAIN,
    ),
    Mutation(
        "sound_accounts_are_rebuilt",
        "credits/lua/rebuild.lua",
        "  if is_sound and found then return",
        "  if is_sound == 0 then return",
        "a rebuild throws away an account that is there",
        _NOT_TOUCHED,
    ),
    Mutation(
        "what_is_ahead_is_rebuilt",
        "credits/lua/rebuild.lua",
        "  if last > archived then return",
        "  if last < 0 then return",
        "a rebuild throws away entries that are not archived",
        _NOT_TOUCHED,
    ),
    Mutation(
        "due_credits_count_in_an_audit",
        "credits/lua/balance.lua",
        "  add_open_grants(page, grants, true)",
        "  add_open_grants(page, grants)",
        "an audit compares the journal with what is not written yet",
        "what_is_due_and_not_written_yet_is_no_part_of_what_is_stored",
    ),
)
