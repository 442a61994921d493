"""Asks the ledger script, again where that helps, and tells refusals that are the account's."""

from __future__ import annotations

import asyncio
import random

from runtime.credits.batch import Answer, Batcher, Call
from runtime.credits.results import AccountDamaged, AccountUnknown, LedgerUnavailable
from runtime.redis.transport import NotReached, UnknownOutcome

_ASK_AGAIN_AFTER_S = (0.02, 0.08)


class ScriptClient:
    """Sends calls through a batcher.

    Args:
        timeout_ms: of one script call; a lost connection found within half of it is tried again.
    """

    def __init__(self, batcher: Batcher, timeout_ms: int) -> None:
        self._batcher = batcher
        self._ask_again_within_s = timeout_ms / 2_000

    async def ask(self, account_id: str, call: Call) -> Answer:
        """Return the script's answer to one call.

        Raises:
            LedgerUnavailable: Redis can't be asked; ``UnknownOutcome`` if the call may be booked.
            AccountDamaged: a record that the call needs can't be trusted.
            AccountUnknown: only for calls that are about no execution.
        """
        loop_time = asyncio.get_running_loop().time
        ask_again_until_s = loop_time() + self._ask_again_within_s
        try:
            answer = await self._batcher.submit(account_id, call)
        except (NotReached, UnknownOutcome) as first:
            # Every verb may be asked again; but who waited for the time-out has waited enough.
            if loop_time() > ask_again_until_s:
                raise
            answer = await self._again(account_id, call, first)
        if answer[0] == b"damaged":
            word, _, record = answer[1].decode().partition(" ")
            raise AccountDamaged(f"{word.lower()}: {record}")
        if answer[0] == b"account_unknown" and call.outcome_key is None:
            raise AccountUnknown(account_id)
        return answer

    async def _again(self, account_id: str, call: Call, first: LedgerUnavailable) -> Answer:
        try:
            # A server that restarts is back within moments.
            await asyncio.sleep(random.uniform(*_ASK_AGAIN_AFTER_S))  # noqa: S311 - jitter
            return await self._batcher.submit(account_id, call)
        except asyncio.CancelledError:
            # The first asking may have done it, whatever became of this one.
            call.abandon(None)
            raise
        except NotReached as second:
            raise first from second

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._batcher.drain()
