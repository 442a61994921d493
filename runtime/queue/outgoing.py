"""Results that are sent elsewhere: batches of an account, to one sender at a time, in order."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.queue.access import QueueAccess, check_ids, text_of
from runtime.queue.retained import QueuedResult, result_of

MOST_IN_A_BATCH = 100
MOST_BATCH_BYTES = 512 * 1024
"""The bytes of a batch's results, and at least one result."""

_TOKEN_BYTES = 9


@dataclass(frozen=True, slots=True)
class ResultBatch:
    """Results of an account that are sent together.

    Args:
        batch_id: the same whenever this batch is sent again.
        tries: how often sending it has failed.
        results: those that can be read and were not forgotten.
    """

    account_id: str
    batch_id: str
    tries: int
    results: Sequence[QueuedResult]
    token: str


class Outgoing:
    """Hands out batches of results.

    Every method may raise ``QueueUnavailable`` or ``QueueDamaged``.
    """

    def __init__(self, access: QueueAccess) -> None:
        self._access = access

    async def claim(self, account_id: str, lease_ms: int) -> ResultBatch | None:
        """Return the next batch to send, ``None`` if there is nothing to send now.

        Args:
            lease_ms: until somebody else may send it.
        """
        check_ids(account_id)
        keys = self._access.of_account(account_id, "results", "sending")
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        bounds = (lease_ms, MOST_IN_A_BATCH, MOST_BATCH_BYTES, token)
        answer = await self._access.run("claim", account_id, keys, bounds)
        if len(answer) < 3:
            return None
        tries, batch_id, entries = answer
        results = [each for entry in entries if (each := result_of(entry)) is not None]
        return ResultBatch(account_id, text_of(batch_id), int(tries), results, token)

    async def sent(self, batch: ResultBatch) -> None:
        """Note that a batch is done with: it was sent, or is given up."""
        await self._note(batch, "")

    async def failed(self, batch: ResultBatch, after_ms: int) -> None:
        """Note that a batch was not sent, and when it may be sent again."""
        await self._note(batch, after_ms)

    async def _note(self, batch: ResultBatch, after_ms: int | str) -> None:
        keys = self._access.of_account(batch.account_id, "sending")
        arguments = (batch.token, batch.batch_id, after_ms)
        await self._access.run("sent", batch.account_id, keys, arguments, again=True)
