"""The deadline of an execution: one timer for all that it waits for."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadline:
    """The end of an execution's time.

    ``with deadline:`` bounds what is awaited in the block, as ``asyncio.timeout_at`` does: at the
    deadline the task is cancelled there, and the block raises ``TimeoutError``. The blocks of one
    deadline share a timer, where ``timeout_at`` takes one for each, and twice the CPU. They follow
    one another in one task, and do not nest. ``stop`` ends the timer once nothing waits any more.

    Args:
        at_s: an instant of the event loop's clock.
    """

    __slots__ = ("_cancellations", "_passed", "_task", "_timer", "at_s")

    _cancellations: int

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._passed = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None or self._task is not None:
            raise RuntimeError("a deadline bounds one block at a time, in a task")
        self._task = task
        self._cancellations = task.cancelling()
        if self._timer is None:
            self._timer = loop.call_at(self.at_s, self._pass)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if not self._passed:
            return
        self._passed = False
        # Where somebody else cancelled the task too, that cancellation is the one that counts.
        was_ours = task is not None and task.uncancel() <= self._cancellations
        if was_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def _pass(self) -> None:
        self._timer = None  # the next block sets one that goes off at once
        if self._task is not None:
            self._passed = True
            self._task.cancel()

    def stop(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
