"""Turns to call an endpoint, for all processes on the same Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from providers.pacing.rule import (
    LocalTurns,
    Pace,
    Returned,
    SharedLimit,
    Shortage,
    TurnRequest,
    TurnsGiven,
)
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.redis.script import Script, read_lua, shipped_clock

_log = logging.getLogger("creditgate.turns")

_ASK_AGAIN_AFTER_S = 1.0


def assemble(clock: str | None = None) -> Script:
    """Return the script; tests pass the source of another ``server_ms`` as ``clock``."""
    first = shipped_clock() if clock is None else clock
    return Script.of(f"{first}\n{read_lua(__package__, 'turns.lua')}")


_shipped = cache(assemble)


@dataclass(slots=True)
class _Alone:
    """This process's share of the turns at an endpoint, while Redis is away."""

    turns: LocalTurns
    until_s: float


class RedisTurns:
    """Gives out turns by the Redis server's clock; a ``TurnSource`` of ``providers.pacing.rule``.

    While Redis can't be reached, this process gives out its share of the limits: the limits divided
    by the number of processes last seen. Slots that it already holds count towards the share. Slots
    that Redis still counts expire there.

    Args:
        client: redis-py's client of one server or of a cluster; owned by the caller.
        timeout_ms: for each exchange with Redis.
    """

    def __init__(
        self,
        client: Client,
        key_prefix: str,
        timeout_ms: int,
        script: Script | None = None,
    ) -> None:
        self._client = client
        self._keys = Keys(key_prefix)
        self._timeout_s = timeout_ms / 1000
        self._script = script or _shipped()
        self._process = secrets.token_hex(6)
        self._processes: dict[str, int] = {}
        # By endpoint: the slots that Redis gave out, with the end of each by our own clock.
        self._held: dict[str, dict[str, int]] = {}
        self._alone: dict[str, _Alone] = {}

    async def exchange(
        self,
        endpoint: str,
        limit: SharedLimit,
        returned: Sequence[Returned],
        wanted: Sequence[TurnRequest],
    ) -> TurnsGiven:
        """Take back returned turns, then serve requests in order until one must wait."""
        held = self._held.setdefault(endpoint, {})
        for one in returned:
            held.pop(one.slot, None)
        alone = self._alone.get(endpoint)
        if alone is None or time.monotonic() >= alone.until_s:
            try:
                async with asyncio.timeout(self._timeout_s):
                    served, lack, wait_ms, processes = await self._run(
                        endpoint, _arguments(self._process, limit, returned, wanted)
                    )
            except Exception as error:  # noqa: BLE001 - redis-py raises more than its own errors
                alone = self._go_alone(endpoint, limit, error)
            else:
                if self._alone.pop(endpoint, None) is not None:
                    _log.warning("endpoint %s: shared limits are counted in Redis again", endpoint)
                self._processes[endpoint] = processes
                now_us = _own_clock_us()
                for request in wanted[:served]:
                    if request.slot:
                        held[request.slot] = now_us + request.ttl_ms * 1000
                return TurnsGiven(served, Shortage(lack), wait_ms)
        given = alone.turns.exchange([Returned(one.slot) for one in returned], wanted)
        return TurnsGiven(given.count, given.shortage, given.wait_ms, refundable=False)

    async def _run(self, endpoint: str, arguments: list[str | int]) -> tuple[int, int, int, int]:
        keys = self._keys.of_endpoint(endpoint)
        served, lack, wait_ms, processes = await self._script.run(self._client, keys, arguments)
        return served, lack, wait_ms, processes

    def _go_alone(self, endpoint: str, limit: SharedLimit, error: Exception) -> _Alone:
        until_s = time.monotonic() + _ASK_AGAIN_AFTER_S
        alone = self._alone.get(endpoint)
        if alone is not None:
            alone.until_s = until_s
            return alone
        processes = self._processes.get(endpoint, 1)
        _log.warning(
            "endpoint %s: Redis cannot count shared limits (%s); this process takes 1/%d of them",
            endpoint,
            type(error).__name__,
            processes,
        )
        turns = LocalTurns(limit.share(processes), _own_clock_us, self._held[endpoint])
        alone = self._alone[endpoint] = _Alone(turns, until_s)
        return alone


def _own_clock_us() -> int:
    return time.monotonic_ns() // 1000


def _arguments(
    process: str, limit: SharedLimit, returned: Sequence[Returned], wanted: Sequence[TurnRequest]
) -> list[str | int]:
    """Return the arguments of ``turns.lua``."""
    requests = Pace.per_minute(limit.requests_per_minute)
    tokens = Pace.per_minute(limit.tokens_per_minute)
    arguments: list[str | int] = [process, limit.concurrency or 0]
    arguments += [requests.window_us, tokens.window_us, len(returned), len(wanted)]
    for one in returned:
        refunds = (0, 0)
        if one.unused:
            refunds = (requests.cost_us(1), tokens.cost_us(one.tokens))
        arguments += [one.slot, *refunds]
    for request in wanted:
        arguments += [request.slot, request.ttl_ms, requests.cost_us(1)]
        arguments.append(tokens.cost_us(request.tokens))
    return arguments
