"""The ledger's script as anybody would call it: a script call a verb, by redis-py's own client."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from runtime.credits.clock import own_clock_ms
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.ledger import LedgerSettings
from runtime.credits.scripts import batch_scripts
from runtime.redis.keys import Keys
from tests.bench.ledger_stage import COST_MC, OUTCOME, RATE_CARD, RESERVED_MC, TOKENS, TTL_MS

_Value = bytes | str | int


class PlainScript:
    """Sends the keys and arguments that the ledger sends, without the ledger.

    No amount is checked, no answer becomes an object, nothing is asked again: what is left is
    ``client.evalsha`` and its connection pool.

    Args:
        client: redis-py's client.
        settings: the ledger's, which are part of the arguments.
    """

    def __init__(self, client: Any, settings: LedgerSettings) -> None:
        self._client = client
        self._script = batch_scripts().executions
        keys = Keys(settings.key_prefix)
        self._account_keys = cache(keys.of_account)
        self._outcome_key = keys.outcome
        self._header = settings.header

    async def load(self) -> None:
        """Make the script known to the server."""
        await self._client.script_load(self._script.source)

    async def pair(self, attempt: ExecutionAttempt) -> None:
        """Reserve and settle, a script call each."""
        (reserved_at_ms,) = await self._reserve([attempt])
        await self._settle([attempt], [reserved_at_ms])

    async def pairs(self, attempts: Sequence[ExecutionAttempt]) -> None:
        """Reserve for all, which are one account's, then settle them all; a script call each."""
        await self._settle(attempts, await self._reserve(attempts))

    async def _reserve(self, attempts: Sequence[ExecutionAttempt]) -> list[int]:
        answers = await self._call("reserve", attempts, [_reserving(each) for each in attempts])
        for answer in answers:
            if answer[0] != b"reserved":
                raise RuntimeError(f"nothing was reserved: {answer}")
        return [answer[3] for answer in answers]

    async def _settle(
        self, attempts: Sequence[ExecutionAttempt], reserved_at_ms: Sequence[int]
    ) -> None:
        values = [_settling(*each) for each in zip(attempts, reserved_at_ms, strict=True)]
        for answer in await self._call("settle", attempts, values):
            if answer[0] != b"settled":
                raise RuntimeError(f"not settled: {answer}")

    async def _call(
        self, verb: str, attempts: Sequence[ExecutionAttempt], values: Sequence[tuple[_Value, ...]]
    ) -> Any:
        account_id = attempts[0].account_id
        keys = [*self._account_keys(account_id)]
        arguments: list[_Value] = [account_id, "w", *self._header, own_clock_ms(), "", ""]
        for attempt, own in zip(attempts, values, strict=True):
            keys.append(self._outcome_key(account_id, attempt.execution_key))
            arguments += [verb, len(own), *own]
        answer = await self._client.evalsha(self._script.sha, len(keys), *keys, *arguments)
        return answer[0]


def _reserving(attempt: ExecutionAttempt) -> tuple[_Value, ...]:
    return (
        attempt.execution_key,
        attempt.attempt_id,
        attempt.fingerprint,
        "\t".join(attempt.dimensions),
        RESERVED_MC,
        TTL_MS,
        b"",
        b"",
    )


def _settling(attempt: ExecutionAttempt, reserved_at_ms: int) -> tuple[_Value, ...]:
    return (
        attempt.execution_key,
        attempt.attempt_id,
        attempt.fingerprint,
        "\t".join(attempt.dimensions),
        COST_MC,
        RESERVED_MC,
        reserved_at_ms,
        TOKENS,
        RATE_CARD,
        b"",
        0,
        0,
        b"",
        b"",
        OUTCOME,
    )
