"""Ctrl-C, SIGTERM and a lost terminal: the first one stops gently, the second at once.

SIGHUP means a lost terminal, or a request to read the config again where there is no terminal.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Handles the signals while it is entered, within a running event loop.

    Each signal takes the next of ``steps`` and calls it. With none left it does nothing, so that
    closing is not disturbed. At first the only step cancels the task that entered.

    Args:
        on_hangup: called at each SIGHUP in place of a step, where no terminal can be lost.
    """

    def __init__(self, on_hangup: Callable[[], object] | None = None) -> None:
        self.happened = False
        self.steps: list[Callable[[], object]] = []
        self._handled: list[signal.Signals] = []
        self._on_hangup = on_hangup

    def __enter__(self) -> Self:
        if (task := asyncio.current_task()) is not None:
            self.steps = [task.cancel]
        loop = asyncio.get_running_loop()
        # What runs under nohup goes on when its terminal is lost.
        self._handled = [
            number
            for number in _SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
        ]
        for number in self._handled:
            is_hangup = number == signal.SIGHUP and self._on_hangup is not None
            loop.add_signal_handler(number, self._hang_up if is_hangup else self._on_signal)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in self._handled:
            loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        self.happened = True
        if self.steps:
            self.steps.pop(0)()

    def _hang_up(self) -> None:
        if self._on_hangup is not None:
            self._on_hangup()
