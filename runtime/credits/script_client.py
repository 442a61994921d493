"""Calls the ledger's scripts, and turns Redis errors into the ledger's errors."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy

from pricing.offers import check_timezone
from runtime.credits.batch import Answer, Batcher, Call
from runtime.credits.results import (
    AccountDamaged,
    AccountStopped,
    AccountUnknown,
    BookingUnknown,
    LedgerUnavailable,
)
from runtime.redis.errors import NotReached, RedisUnavailable, UnknownOutcome
from runtime.redis.primaries import bounded

_ASK_AGAIN_AFTER_S = (0.02, 0.08)
# What main.lua puts before the error words of records.lua.
_OURS = "CREDITGATE_"
_DAMAGED, _NEWER = "DAMAGED", "SCHEMA"
_ASKS_FOR_WINDOWS = f"{_OURS}ZONE"
# What trust.lua and lag.lua say is a sentence of its own.
_STOPPED, _UNAVAILABLE = ("LOST", "AHEAD", "STOPPED"), ("CLOCK", "LAG")
_MOST_TOLD = 1_000

_log = logging.getLogger("creditgate.ledger")


class ScriptClient:
    """Sends calls through a batcher.

    Args:
        timeout_ms: of one script call; a connection lost within half of it is tried again.
    """

    def __init__(self, batcher: Batcher, timeout_ms: int) -> None:
        self._batcher = batcher
        self._check_use: Callable[[], None] = lambda: None
        self._ask_again_within_s = timeout_ms / 2_000
        self._told: dict[str, str] = {}

    def checked(self, check_use: Callable[[], None]) -> ScriptClient:
        """Return this client for callers whose use is checked first."""
        checked = copy(self)
        checked._check_use = check_use  # noqa: SLF001 - of the same class
        return checked

    async def ask(self, account_id: str, call: Call) -> Answer:
        """Return the script's answer to one call.

        Raises:
            LedgerUnavailable: Redis can't be reached; ``BookingUnknown`` if the call may be booked.
            AccountDamaged: a record that the call needs can't be trusted.
            AccountStopped: see there; it is logged once, until a call of the account goes through.
            AccountUnknown: only for calls that are about no execution.
        """
        self._check_use()
        began_s = asyncio.get_running_loop().time()
        try:
            try:
                answer = await self._batcher.submit(account_id, call)
            except RedisUnavailable as first:
                answer = await self._after(first, account_id, call, began_s)
            if answer[0] == b"fault":
                raise damage(answer[1].decode())
            if answer[0] == b"account_unknown" and call.outcome_key is None:
                raise AccountUnknown(account_id)
        except AccountStopped as error:
            self._tell(account_id, str(error))
            raise
        if self._told:
            self._told.pop(account_id, None)
        return answer

    async def ask_all(self, account_id: str, calls: Sequence[Call]) -> list[Answer]:
        """Return the answers to calls of one mode that one script runs; none is asked again.

        Raises:
            LedgerUnavailable: as ``ask``.
        """
        self._check_use()
        try:
            answers = await self._batcher.submit_all(account_id, calls)
        except RedisUnavailable as exc:
            raise ledger_error(exc) from exc
        for answer in answers:
            if answer[0] == b"fault":
                raise damage(answer[1].decode())
        return answers

    def _tell(self, account_id: str, why: str) -> None:
        if account_id not in self._told:
            _log.error("%s. Until then nothing is booked, and endings wait in the spool", why)
        self._told[account_id] = why
        if len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]

    async def _after(
        self, first: RedisUnavailable, account_id: str, call: Call, began_s: float
    ) -> Answer:
        """Send a call again after it failed, where that may help; else raise the ledger's error."""
        # Every verb can be sent again, unless the caller has already waited for the time-out.
        waited_s = asyncio.get_running_loop().time() - began_s
        may_help = isinstance(first, NotReached | UnknownOutcome)
        may_help = may_help or self._learned_zone(account_id, first)
        if not may_help or waited_s > self._ask_again_within_s:
            raise ledger_error(first) from first
        return await self._again(account_id, call, first)

    async def _again(self, account_id: str, call: Call, first: RedisUnavailable) -> Answer:
        try:
            # A server that restarts is back within moments.
            await asyncio.sleep(random.uniform(*_ASK_AGAIN_AFTER_S))  # noqa: S311 - jitter
            return await self._batcher.submit(account_id, call)
        except asyncio.CancelledError:
            # The first call may be booked, whatever happens to this one.
            call.abandon(None)
            raise
        except NotReached as second:
            raise ledger_error(first) from second
        except RedisUnavailable as second:
            raise ledger_error(second) from second

    def _learned_zone(self, account_id: str, error: RedisUnavailable) -> bool:
        """Return whether a script that wrote nothing asked for the windows of a time zone."""
        asked, _, timezone = str(error).partition(" ")
        if asked != _ASKS_FOR_WINDOWS:
            return False
        try:
            check_timezone(timezone)
        except ValueError:
            return False
        self._batcher.windows.learn(account_id, timezone)
        return True

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._batcher.drain()


@asynccontextmanager
async def plain_commands(timeout_s: float) -> AsyncIterator[None]:
    """Bound plain commands, and raise the ledger's error instead of Redis' own.

    Raises:
        LedgerUnavailable: Redis can't be reached.
    """
    try:
        async with bounded(timeout_s):
            yield
    except RedisUnavailable as error:
        raise ledger_error(error) from error


def ledger_error(error: RedisUnavailable) -> LedgerUnavailable:
    """Return the ledger's error for an error of ``runtime.redis``."""
    text = str(error)
    if isinstance(error, UnknownOutcome):
        return BookingUnknown(text)
    if text.startswith(_OURS):
        return damage(text.removeprefix(_OURS))
    return LedgerUnavailable(text)


def damage(stopped: str) -> LedgerUnavailable:
    """Return the error for a script's error reply: a word of records.lua, then the record."""
    word, _, detail = stopped.partition(" ")
    if word == _NEWER:
        return AccountDamaged(detail)
    if word in _STOPPED:
        return AccountStopped(detail)
    if word in _UNAVAILABLE:
        return LedgerUnavailable(detail)
    kind = AccountDamaged if word == _DAMAGED else LedgerUnavailable
    return kind(f"{word.lower()}: {detail}")
