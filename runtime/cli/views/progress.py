"""Progress of a run on stderr: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from runtime.campaigns.campaign import Tally
from runtime.cli.terminal import harmless, terminal
from runtime.credits.results import Alert
from runtime.wording.accounts import alert_text
from runtime.wording.amounts import credits_text
from runtime.wording.caps import cap_mark_text

UPDATE_EVERY_S = 0.2
_LINE_EVERY_S = 5.0
_NOTHING_YET: Mapping[str, Any] = MappingProxyType(
    {"rate": 0.0, "left": "...", "fallbacks": 0, "mixed": 0, "waiting": ""}
)


class Display:
    """Shows a growing tally, with messages above it.

    Inside ``with``, warnings of the logger ``creditgate`` are shown as messages too.
    """

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        # The console drops colours if stderr is not a terminal or NO_COLOR is set.
        self._console = Console(file=terminal(sys.stderr), highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._total = 0
        self._waiting = ""
        self._started_s = 0.0
        self._line_s = 0.0
        self._handler = _Handler(self)

    def __enter__(self) -> Self:
        logging.getLogger("creditgate").addHandler(self._handler)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish()
        logging.getLogger("creditgate").removeHandler(self._handler)

    def say(self, text: str, style: str = "") -> None:
        """Show a message."""
        self._console.print(harmless(text), style=style, markup=False)

    def tell(self, alert: Alert) -> None:
        """Show an alert of the ledger, and keep it."""
        self.alerts.append(alert)
        if alert.cap is not None:
            text = cap_mark_text(
                alert.account_id,
                alert.cap,
                int(alert.mark[1:]),
                alert.cap_limit_mc,
                alert.cap_charged_mc,
            )
        else:
            text = alert_text(
                alert.account_id, alert.mark, alert.left_mc, alert.threshold_mc, alert.lag_entries
            )
        self.say(text, style="bold yellow")

    def begin(self, total: int) -> None:
        """Start to show progress towards ``total`` people."""
        self._total = total
        self._started_s = self._line_s = time.monotonic()
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            MofNCompleteColumn(),
            TextColumn("people"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TextColumn("credits left {task.fields[left]}", style="green"),
            TextColumn("fallbacks {task.fields[fallbacks]:,}", style="yellow"),
            TextColumn("in part {task.fields[mixed]:,}", style="yellow"),
            TextColumn("{task.fields[waiting]}", style="bold yellow"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bar.add_task("", total=total, **_NOTHING_YET)
        self._bar.start()

    def update(self, tally: Tally, waiting: str = "") -> None:
        """Show the tally; cheap enough to call every ``UPDATE_EVERY_S``.

        Args:
            waiting: what the run waits for, if it does.
        """
        now_s = time.monotonic()
        rate = tally.people / max(now_s - self._started_s, 0.001)
        left = (
            "..." if tally.available_mc is None else credits_text(tally.available_mc // 1000 * 1000)
        )
        if waiting and not self._waiting:
            self._line_s = now_s
            self.say(waiting, style="bold yellow")
        elif self._waiting and not waiting:
            self.say("The wait is over.")
        self._waiting = waiting
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=tally.people,
                rate=rate,
                left=left,
                fallbacks=tally.fallback,
                mixed=tally.mixed,
                waiting="waiting" if waiting else "",
                refresh=True,
            )
        elif now_s - self._line_s >= _LINE_EVERY_S:
            self._line_s = now_s
            self.say(
                f"{tally.people:,} of {self._total:,} people, {rate:,.0f} a second, "
                f"credits left {left}, fallbacks {tally.fallback:,}, in part {tally.mixed:,}"
                + (f". {waiting}" if waiting else "")
            )

    def finish(self) -> None:
        """Leave the bar as it is and go on below it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Handler(logging.Handler):
    """Shows log records above the bar, instead of through it."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None:
            self._display.say(f"{record.levelname.lower()}: {record.getMessage()}", style="dim")
