"""Refuses the use of a runtime from where it can't work: another event loop, or a fork."""

from __future__ import annotations

import asyncio
import os

from pricing.errors import CreditgateError


class WrongEventLoop(CreditgateError, RuntimeError):
    """A runtime, estimator or ledger was used from another event loop, or after a fork.

    It belongs to the event loop that opened it. Nothing was reserved or changed.
    """


class RuntimeClosed(CreditgateError, RuntimeError):
    """A runtime, estimator or ledger was used after its block had ended.

    Nothing was reserved or changed.
    """


class LoopGuard:
    """Remembers the event loop and the process that opened something.

    Args:
        what: what is guarded, for messages, such as ``runtime``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._is_closed = False

    def open(self) -> None:
        """Bind to the running event loop and to this process. Until then, any may check."""
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()

    def close(self) -> None:
        """Refuse any further use."""
        self._is_closed = True

    def check(self) -> None:
        """Raise if this is not where the guard was opened, or if it is closed.

        Raises:
            WrongEventLoop: another event loop runs, or another process.
            RuntimeClosed: the guard was closed.
        """
        if self._loop is None:
            return
        if os.getpid() != self._pid:
            raise WrongEventLoop(
                f"this {self._what} was opened in process {self._pid}, before a fork: open one in "
                f"process {os.getpid()} (docs/embedding.md)"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise WrongEventLoop(
                f"this {self._what} belongs to the event loop that opened it, and another one "
                "runs here: use asyncio.run_coroutine_threadsafe (docs/embedding.md)"
            )
        if self._is_closed:
            raise RuntimeClosed(f"this {self._what} is closed: use it inside its `async with`")
