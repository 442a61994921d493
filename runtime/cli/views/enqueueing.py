"""Progress of an import on stderr: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from runtime.cli.terminal import harmless, terminal

_LINE_EVERY_S = 5.0
_FULL = "The queue is full: waiting for workers to make room."


class EnqueueDisplay:
    """Shows how many of so many rows are in the queue, with messages above."""

    def __init__(self, total: int) -> None:
        self._console = Console(file=terminal(sys.stderr), highlight=False, soft_wrap=True)
        self._total = total
        self._is_full = False
        self._started_s = self._line_s = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                MofNCompleteColumn(),
                TextColumn("people"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[rate]:,.0f}/s"),
                TextColumn("{task.fields[waiting]}", style="bold yellow"),
                TimeRemainingColumn(compact=True),
                console=self._console,
                auto_refresh=False,
                expand=True,
            )
            self._task = self._bar.add_task("", total=self._total, rate=0.0, waiting="")
            self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Show a message."""
        self._console.print(harmless(text), markup=False)

    def update(self, position: int, accepted: int, *, is_full: bool) -> None:
        """Show how far the import is.

        Args:
            position: rows that are in the queue.
            accepted: those of them that were added now.
        """
        now_s = time.monotonic()
        rate = accepted / max(now_s - self._started_s, 0.001)
        if is_full and not self._is_full:
            self.say(_FULL)
        self._is_full = is_full
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=position,
                rate=rate,
                waiting="queue full" if is_full else "",
                refresh=True,
            )
        elif now_s - self._line_s >= _LINE_EVERY_S:
            self._line_s = now_s
            self.say(
                f"{position:,} of {self._total:,} people in the queue, {rate:,.0f} a second"
                + (". " + _FULL if is_full else "")
            )
