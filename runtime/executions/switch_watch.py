"""Lets no call begin later than a second after something was switched off.

A reservation is proof that nothing was off when it was asked for, so the first call, right after
it, needs no other. For calls that come later, the switches of the accounts that run in this process
are read more than twice a second. Where they can't be read, no call begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from fallback.reasons import FallbackReason
from runtime.background import Periodic, TaskSet
from runtime.credits.identity import Dimensions
from runtime.credits.results import LedgerUnavailable
from runtime.credits.switches import MOST_AT_ONCE

_log = logging.getLogger("creditgate.executor")

READ_EVERY_S = 0.4
PROOF_LASTS_S = 0.7
"""A call may begin for so long after the last proof. The rest of the second is for its way out."""

_NOTHING: frozenset[str] = frozenset()


class Reader(Protocol):
    """Reads switches; ``SwitchReader`` implements it."""

    def server_of(self, account_id: str) -> str:
        """Return the name of the account's server."""

    async def read(self, account_ids: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """Return what is off in each account, as ``SwitchReader.read`` does."""


class CallHeld(Exception):
    """No call may begin: something is switched off, or nobody can tell."""

    def __init__(self, reason: FallbackReason) -> None:
        super().__init__(reason)
        self.reason = reason


class _Account:
    """An account that runs here: what was off at ``read_s``, and who waits for the next reading."""

    __slots__ = ("account_id", "executions", "off", "read_s", "waiting")

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id
        self.executions = 0
        self.off = _NOTHING
        self.read_s = float("-inf")
        self.waiting: list[asyncio.Future[None]] = []

    def note(self, off: frozenset[str], read_s: float) -> None:
        self.off, self.read_s = off, read_s
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class SwitchWatch:
    """Reads the switches of all accounts that run in this process.

    Args:
        patience_s: how long a call waits at most until its account can be read.
    """

    def __init__(self, reader: Reader, patience_s: float) -> None:
        self.patience_s = patience_s
        self._reader = reader
        self._running: dict[str, _Account] = {}
        self._being_read: set[str] = set()
        self._readings = TaskSet()
        self._rounds = Periodic("reading switches", self._round, READ_EVERY_S)

    def start(self) -> None:
        """Begin to read, until ``aclose``."""
        self._rounds.start(after_s=READ_EVERY_S)

    async def aclose(self) -> None:
        """Stop reading."""
        await self._rounds.aclose()
        await self._readings.cancel()

    def gate(self, account_id: str, dimensions: Dimensions, proven_s: float) -> CallGate:
        """Return the gate of an execution's calls, for a ``with`` block.

        Args:
            proven_s: the instant, by the event loop's clock, after which nothing was off.
        """
        return CallGate(self, account_id, dimensions, proven_s)

    def enter(self, account_id: str) -> _Account:
        """Read this account too from now on."""
        account = self._running.get(account_id)
        if account is None:
            account = self._running[account_id] = _Account(account_id)
        account.executions += 1
        return account

    def leave(self, account: _Account) -> None:
        """End what ``enter`` began; the last one to leave ends the reading."""
        account.executions -= 1
        if not account.executions:
            del self._running[account.account_id]

    async def _round(self) -> None:
        # A server that does not answer must not hold up the accounts of the others.
        by_server: dict[str, list[_Account]] = {}
        for account in self._running.values():
            server = self._reader.server_of(account.account_id)
            by_server.setdefault(server, []).append(account)
        for server, accounts in by_server.items():
            if server not in self._being_read:
                self._being_read.add(server)
                self._readings.start(self._read_server(server, accounts))

    async def _read_server(self, server: str, accounts: Sequence[_Account]) -> None:
        try:
            await self._read(accounts)
        finally:
            self._being_read.discard(server)

    async def _read(self, accounts: Sequence[_Account]) -> None:
        loop_time = asyncio.get_running_loop().time
        for at in range(0, len(accounts), MOST_AT_ONCE):
            asked = accounts[at : at + MOST_AT_ONCE]
            read_s = loop_time()
            try:
                off = await self._reader.read([account.account_id for account in asked])
            except LedgerUnavailable as error:
                _log.debug("reading switches: %s", error)  # a call that needs them says so
                return
            except Exception as error:  # noqa: BLE001 - calls wait until somebody can read
                _log.error("switches can't be read: %s", type(error).__name__)
                return
            for account in asked:
                if account.account_id in off:
                    account.note(off[account.account_id], read_s)


class CallGate:
    """Says of an execution whether a call may begin now."""

    __slots__ = ("_account", "_account_id", "_dimensions", "_proven_s", "_watch")

    _account: _Account

    def __init__(
        self, watch: SwitchWatch, account_id: str, dimensions: Dimensions, proven_s: float
    ) -> None:
        self._watch = watch
        self._account_id = account_id
        self._dimensions = dimensions
        self._proven_s = proven_s

    def __enter__(self) -> Self:
        self._account = self._watch.enter(self._account_id)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.leave(self._account)

    def is_open(self) -> bool:
        """Return whether a call may begin at this instant; false if that is not known.

        Raises:
            CallHeld: something is switched off.
        """
        account = self._account
        proven_s = self._proven_s
        if account.read_s > proven_s:
            proven_s = account.read_s
            if account.off and self._is_off(account.off):
                raise CallHeld(FallbackReason.SWITCHED_OFF)
        return asyncio.get_running_loop().time() - proven_s <= PROOF_LASTS_S

    async def wait(self, deadline_s: float) -> None:
        """Wait until a call may begin.

        Raises:
            CallHeld: something is switched off, or it could not be read in time.
        """
        until_s = asyncio.get_running_loop().time() + self._watch.patience_s
        try:
            async with asyncio.timeout_at(min(until_s, deadline_s)):
                while not self.is_open():
                    waiter = asyncio.get_running_loop().create_future()
                    self._account.waiting.append(waiter)
                    await waiter
        except TimeoutError:
            raise CallHeld(FallbackReason.LEDGER_UNAVAILABLE) from None

    def _is_off(self, off: frozenset[str]) -> bool:
        of = self._dimensions
        return not off.isdisjoint(
            (
                "account",
                f"workspace {of.workspace}",
                f"campaign {of.campaign}",
                f"action {of.action}",
            )
        )
