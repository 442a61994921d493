"""Looks up what many execution ids came to, whoever asked them."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.credits import decoding
from runtime.credits.batch import MAX_CALLS, Call, Mode
from runtime.credits.checks import check_account_id, check_column
from runtime.credits.identity import (
    ANY_PERSON,
    FINGERPRINT_FIELDS,
    Dimensions,
    ExecutionAttempt,
    Identity,
)
from runtime.credits.results import AccountDamaged, AccountUnknown, Existing, InProgress
from runtime.credits.script_client import ScriptClient
from runtime.redis.keys import Keys

Known = Existing | InProgress | AccountDamaged | None

# Each part matches any other: who asks need not know what an id was used for.
_ANYTHING = ANY_PERSON * len(FINGERPRINT_FIELDS)
_NO_DIMENSIONS = Dimensions(*[""] * len(Dimensions._fields))


class Outcomes:
    """Looks up outcomes, and writes nothing."""

    def __init__(self, script_client: ScriptClient, keys: Keys, identity: Identity) -> None:
        self._script_client = script_client
        self._keys = keys
        self._identity = identity

    async def known(self, account_id: str, execution_ids: Sequence[str]) -> list[Known]:
        """Return what the ledger knows of each id, in their order, 48 at a time.

        Returns:
            For each, what ``CreditLedger.look_up`` does; an error for one whose record is damaged.

        Raises:
            ValueError: an id is not allowed.
            AccountUnknown: there is no such account.
            LedgerUnavailable: as the other verbs.
        """
        check_account_id(account_id)
        if not isinstance(execution_ids, list | tuple) or not execution_ids:
            raise ValueError(f"execution_ids: found {execution_ids!r}, expected a list of ids")
        for execution_id in execution_ids:
            check_column(execution_id, "execution_ids")
        known: list[Known] = []
        for at in range(0, len(execution_ids), MAX_CALLS):
            asked = [self._attempt(account_id, each) for each in execution_ids[at : at + MAX_CALLS]]
            known += await self._known(account_id, asked)
        return known

    async def _known(self, account_id: str, asked: Sequence[ExecutionAttempt]) -> list[Known]:
        calls = [self._call(attempt) for attempt in asked]
        try:
            answers = await self._script_client.ask_all(account_id, calls)
        except AccountDamaged as error:
            if len(asked) == 1:
                return [error]
            return [each for one in asked for each in await self._known(account_id, [one])]
        if answers and answers[0][0] == b"account_unknown":
            raise AccountUnknown(account_id)
        return [decoding.knowledge(*each) for each in zip(asked, answers, strict=True)]

    def _attempt(self, account_id: str, execution_id: str) -> ExecutionAttempt:
        key = self._identity.execution_key(account_id, execution_id)
        return ExecutionAttempt(account_id, execution_id, key, "-", _ANYTHING, _NO_DIMENSIONS)

    def _call(self, attempt: ExecutionAttempt) -> Call:
        dimensions = "\t".join(attempt.dimensions)
        args = (attempt.execution_key, attempt.attempt_id, attempt.fingerprint, dimensions)
        outcome_key = self._keys.outcome(attempt.account_id, attempt.execution_key)
        return Call("look_up", args, outcome_key, mode=Mode.READ)
