"""Ctrl-C and SIGTERM: the first one ends things gently, the second at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Hears the signals while it is entered, within a running event loop.

    ``steps`` are what the next signals do, one each; with none left, a signal does nothing,
    since something is being closed that must not be disturbed. At first a signal cancels the
    task that entered.
    """

    def __init__(self) -> None:
        self.happened = False
        self.steps: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        if (task := asyncio.current_task()) is not None:
            self.steps = [task.cancel]
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._hear)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def _hear(self) -> None:
        self.happened = True
        if self.steps:
            self.steps.pop(0)()
