"""Archives in the background, whatever becomes of Redis and the database meanwhile."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from runtime.archive.copier import Archived, Copier
from runtime.archive.forks import Stop
from runtime.archive.opening import open_archive
from runtime.background import Periodic
from runtime.config import Config
from runtime.credits.durability import Durability
from runtime.credits.results import LedgerUnavailable
from runtime.credits.script_client import plain_commands
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.database import StoreError, StoreUnavailable

_log = logging.getLogger("creditgate.archive")

ARCHIVE_EVERY_S = 5.0
"""The mean pause of a process; the processes on one Redis take turns."""

_SPREAD = 0.2
_TURN_MS = 15_000
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


class Archiving:
    """Rounds of archiving, which wait longer and longer while they fail.

    The archive is opened by the first round that can, so that a process starts without it.

    Args:
        key_check: ``Identity.check_value()`` of the installation key.
        stop: as the copier has it.
        on_round: called after each round that took place.
        on_fault: called with what kept a round from its end.

    ``fault`` is what the last round failed of, "" if it did not.
    """

    def __init__(
        self,
        config: Config,
        key_check: str,
        client: Client,
        *,
        pause_s: float = ARCHIVE_EVERY_S,
        stop: Stop | None = None,
        on_round: Callable[[Archived], object] = lambda archived: None,
        on_progress: Callable[[Archived], object] = lambda archived: None,
        on_fault: Callable[[str], object] = lambda fault: None,
    ) -> None:
        self.fault = ""
        self._config = config
        self._key_check = key_check
        self._client = client
        self._keys = Keys(config.redis.key_prefix)
        self._timeout_ms = config.redis.timeout_ms
        is_replicated = Durability(config.redis.durability) is Durability.REPLICATED
        self._replicas = config.redis.wait_replicas if is_replicated else 0
        self._stop = stop
        self._on_round, self._on_progress, self._on_fault = on_round, on_progress, on_fault
        self._opened = AsyncExitStack()
        self._copier: Copier | None = None
        self._failures = 0
        self._rounds = Periodic("archiving", self._round, pause_s, spread=_SPREAD)

    def start(self, *, after_s: float = 0) -> None:
        """Archive until ``aclose``, the first time after so many seconds."""
        self._rounds.start(after_s=after_s)

    async def aclose(self) -> None:
        """Stop archiving, and close the archive. What is under way is rolled back."""
        await self._rounds.aclose()
        await self._opened.aclose()

    async def _round(self) -> None:
        try:
            if not await self._take_turn():
                return
            keeping = asyncio.create_task(self._keep_turn())
            try:
                archived = await (await self._open()).run_once(self._progressed)
            finally:
                keeping.cancel()
                await self._end_turn()
        except (LedgerUnavailable, StoreUnavailable) as exc:
            await self._fail(str(exc))
        except StoreError as exc:
            # Another archive, or a newer schema: it stays so until somebody does something.
            self._failures = max(self._failures, 10)
            await self._fail(str(exc))
        else:
            self._succeed()
            self._on_round(archived)

    async def _open(self) -> Copier:
        if self._copier is None:
            opening = open_archive(self._config, self._key_check)
            database = await self._opened.enter_async_context(opening)
            self._copier = Copier(
                database,
                self._client,
                self._keys,
                timeout_ms=self._timeout_ms,
                stop=self._stop,
                replicas=self._replicas,
            )
        return self._copier

    async def _take_turn(self) -> bool:
        """Return whether no other process on this Redis archives now."""
        async with plain_commands(self._timeout_ms / 1000):
            key = self._keys.archiving()
            return bool(await self._client.set(key, "1", nx=True, px=_TURN_MS))

    async def _keep_turn(self) -> None:
        while True:
            await asyncio.sleep(_TURN_MS / 3_000)
            with suppress(LedgerUnavailable):
                async with plain_commands(self._timeout_ms / 1000):
                    await self._client.set(self._keys.archiving(), "1", xx=True, px=_TURN_MS)

    async def _end_turn(self) -> None:
        with suppress(LedgerUnavailable):  # it ends by itself
            async with plain_commands(self._timeout_ms / 1000):
                await self._client.delete(self._keys.archiving())

    def _progressed(self, archived: Archived) -> None:
        self._succeed()
        self._on_progress(archived)

    def _succeed(self) -> None:
        if self.fault:
            _log.warning("archiving goes on")
        self._failures, self.fault = 0, ""

    async def _fail(self, fault: str) -> None:
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self._failures)
        self._failures += 1
        if fault != self.fault:
            self.fault = fault
            _log.warning("nothing is archived for now: %s", fault)
            self._on_fault(fault)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter
