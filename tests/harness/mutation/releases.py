"""Faults in what this release shares with the one before, with the archive, and with repairs."""

from __future__ import annotations

from tests.harness.mutation.mutation import Mutation

MUTATIONS = (
    Mutation(
        "schema_1_is_told_more",
        "credits/lua/settle.lua",
        "if S.account.schema > 1 then tell_more(entry, bill) end",
        "tell_more(entry, bill)",
        "settlements of an account that release 0.1 reads have what that release does not expect",
        "what_one_release_reserved_the_other_settles_and_what_it_stored_both_read",
    ),
    Mutation(
        "version_2_before_its_time",
        "credits/lua/journal.lua",
        "account.schema, account.epoch, LETTER_OF_KIND",
        "2, account.epoch, LETTER_OF_KIND",
        "release 0.1 can't read the journal, though the migration is not finished",
        "what_one_release_reserved_the_other_settles_and_what_it_stored_both_read",
    ),
    Mutation(
        "newer_schema_is_read",
        "credits/lua/state.lua",
        "if number > SCHEMA then",
        "if false then",
        "an account of a newer release is written by rules that it has outgrown",
        "an_account_of_a_newer_schema_is_refused_by_its_number_and_left_as_it_is",
    ),
    Mutation(
        "upgrade_is_not_written",
        "credits/lua/upgrade.lua",
        "account.schema, S.upgraded, S.changed = schema, true, true",
        "account.schema, S.upgraded, S.changed = schema, false, true",
        "an account that was said to be upgraded goes back with the next script",
        "a_migration_that_was_stopped_goes_on_where_it_was",
    ),
    Mutation(
        "new_installations_are_old",
        "credits/installation.py",
        'await self._client.hsetnx(name, "schema", str(schema))',
        "pass",
        "a new installation begins with the schema of the release before",
        "a_new_installation_begins_with_the_newest_schema",
    ),
    Mutation(
        "finish_is_not_noticed",
        "credits/watch.py",
        "self.schema = max(self.schema, min(schema, NEWEST))",
        "pass",
        "running processes open accounts of the earlier schema for ever",
        "a_running_process_notices_the_end_and_opens_accounts_by_it",
    ),
    Mutation(
        "lag_of_one_too_many",
        "credits/lua/reserve.lua",
        "lag() > MAX_LAG",
        "lag() > MAX_LAG + 1",
        "the archive may lag one entry further behind than is configured",
        "exactly_so_many_entries_are_allowed",
    ),
    Mutation(
        "lag_is_told_each_time",
        "credits/lua/lag.lua",
        " or S.account.lag_before * 2 >= MAX_LAG then",
        " then",
        "every script tells the operator again that the archive lags behind",
        "half_of_it_is_told_once_and_again_after_it_was_caught_up",
    ),
    Mutation(
        "stopped_account_books",
        "credits/lua/trust.lua",
        "if not why or READ_ONLY then return end",
        "if true then return end",
        "an account with two journals goes on with one of them",
        "a_stopped_account_books_nothing_and_says_what_to_do",
    ),
    Mutation(
        "stopped_account_hides",
        "credits/lua/trust.lua",
        "if not why or READ_ONLY then return end",
        "if not why then return end",
        "an operator can't look at the account that is to be put right",
        "a_stopped_account_can_be_read_as_of_now",
    ),
    Mutation(
        "resumed_account_stays_stopped",
        "credits/lua/write.lua",
        "if S.resumed then",
        "if false then",
        "nothing is booked on an account after it was resumed",
        "endings_wait_in_the_spool_until_the_account_is_resumed",
    ),
)
