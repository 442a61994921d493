"""The ledger's script as anybody would call it: a verb a call, through redis-py's own client."""

from __future__ import annotations

from typing import Any

from runtime.credits.identity import ExecutionAttempt
from runtime.credits.keys import Keys
from runtime.credits.ledger import LedgerSettings
from runtime.credits.scripts import batch_script
from tests.bench.ledger_stage import COST_MC, OUTCOME, RATE_CARD, RESERVED_MC, TOKENS, TTL_MS

_Argument = bytes | str | int


class PlainScript:
    """Sends the keys and arguments that the ledger sends for one call, without the ledger.

    No amount is checked, no answer becomes an object, nothing is asked again: what is left is
    ``client.evalsha`` and its connection pool.

    Args:
        client: redis-py's client.
        settings: the ledger's, which are part of the arguments.
    """

    def __init__(self, client: Any, settings: LedgerSettings, account_id: str) -> None:
        self._client = client
        self._sha = batch_script().sha
        keys = Keys(settings.key_prefix)
        self._account_keys = keys.of_account(account_id)
        self._outcome = keys.outcome
        self._header = (account_id, "w", settings.outcome_ttl_ms, ",".join(settings.low_marks))
        self._key_count = len(self._account_keys) + 1

    async def load(self) -> None:
        """Make the script known to the server."""
        await self._client.script_load(batch_script().source)

    async def reserve(self, attempt: ExecutionAttempt) -> int:
        """Reserve; return when, by the server's clock."""
        answer = await self._call(
            attempt,
            "reserve",
            RESERVED_MC,
            TTL_MS,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            b"0",
            b"",
        )
        if answer[0] != b"reserved":
            raise RuntimeError(f"nothing was reserved: {answer}")
        return int(answer[3])

    async def settle(self, attempt: ExecutionAttempt, reserved_at_ms: int) -> None:
        """Settle."""
        answer = await self._call(
            attempt,
            "settle",
            COST_MC,
            RESERVED_MC,
            reserved_at_ms,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            TOKENS,
            RATE_CARD,
            b"",
            0,
            OUTCOME,
        )
        if answer[0] != b"settled":
            raise RuntimeError(f"not settled: {answer}")

    async def pair(self, attempt: ExecutionAttempt) -> None:
        """Reserve and settle."""
        await self.settle(attempt, await self.reserve(attempt))

    async def _call(self, attempt: ExecutionAttempt, verb: str, *values: _Argument) -> Any:
        execution_key = attempt.execution_key
        answer = await self._client.evalsha(
            self._sha,
            self._key_count,
            *self._account_keys,
            self._outcome(attempt.account_id, execution_key),
            *self._header,
            verb,
            len(values) + 3,
            self._key_count,
            execution_key,
            attempt.attempt_id,
            *values,
        )
        return answer[0][0]
