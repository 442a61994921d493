"""Work beside the callers: sets of tasks, and rounds of periodic work."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger("creditgate.background")

CLOSE_WITHIN_S = 10.0
"""The longest that one step of closing may take; work that has not ended by then is left behind."""

_CANCEL_AGAIN_S = 1.0


def cancellations() -> int:
    """Return how often the current task was told to cancel.

    More than before some work that ended without ``CancelledError``, and the work lost one.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def finish(name: str, work: Coroutine[Any, Any, Any]) -> bool:
    """Run a step of closing for ``CLOSE_WITHIN_S`` at most; return whether it ended in time.

    Work that takes longer is cancelled. If it does not end then, because a library lost the
    cancellation, it is left behind with a warning. So is work whose caller is cancelled, without a
    wait. An error of the work is raised.

    Args:
        name: what the log calls the work.
    """
    task = asyncio.create_task(work)
    try:
        _, left = await asyncio.wait([task], timeout=CLOSE_WITHIN_S)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not left:
        task.result()
        return True
    _log.warning("%s did not end within %g s", name, CLOSE_WITHIN_S)
    await _end(task, name)
    return False


async def _end(task: asyncio.Task[Any], name: str) -> None:
    """Cancel a task until it ends, for ``CLOSE_WITHIN_S`` at most.

    Once is not enough: on Python 3.11, redis-py loses a cancellation that comes together with the
    answer it waits for.
    """
    loop_time = asyncio.get_running_loop().time
    until_s = loop_time() + CLOSE_WITHIN_S
    while not task.done() and (left_s := until_s - loop_time()) > 0:
        task.cancel()
        await asyncio.wait([task], timeout=min(left_s, _CANCEL_AGAIN_S))
    if not task.done():
        _log.warning("%s did not end within %g s of its cancellation", name, CLOSE_WITHIN_S)
    elif not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("%s ended with %s", name, type(error).__name__)


class TaskSet:
    """Tasks that nobody awaits, each kept from the garbage collector until it ends.

    A task bounds its own time and handles its own errors.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self,
        work: Coroutine[Any, Any, Any],
        on_done: Callable[[asyncio.Task[Any]], object] | None = None,
    ) -> None:
        """Start a task; ``on_done`` is called when it has ended, however it did."""
        task = self.create(work)
        if on_done is not None:
            task.add_done_callback(on_done)

    def create(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task whose end somebody may wait for, and return it.

        Wait with ``asyncio.shield`` or ``asyncio.wait``: it goes on when they are cancelled.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self) -> None:
        """Wait until no task runs, those that were started meanwhile included."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancel the tasks that still run, and give them a second to end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CANCEL_AGAIN_S)


class Periodic:
    """Rounds of work, with a pause between the end of one and the beginning of the next.

    A round handles the errors that it expects. Any other error is logged, and the next round
    takes place all the same.

    Args:
        name: what the log calls the work.
        work: one round.
        spread: the share by which each pause is longer or shorter, at random.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[Any]],
        pause_s: float,
        *,
        spread: float = 0,
    ) -> None:
        self._name = name
        self._work = work
        self._pause_s = pause_s
        self._spread = spread
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self, *, after_s: float = 0) -> None:
        """Begin the first round after so many seconds."""
        self._task = asyncio.create_task(self._rounds(after_s))

    async def aclose(self) -> None:
        """Cancel the round that runs and begin no other one.

        Waits ``CLOSE_WITHIN_S`` at most. A cancellation of the caller is not swallowed.
        """
        self._closing = True
        if self._task is None:
            return
        await _end(self._task, self._name)

    async def _rounds(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        while not self._closing:  # redis-py may lose a cancellation
            try:
                await self._work()
            except Exception:  # noqa: BLE001 - one round that fails must not be the last
                _log.exception("%s failed this time", self._name)
            if not self._closing:
                jitter = random.uniform(-self._spread, self._spread)  # noqa: S311 - no cryptography
                await asyncio.sleep(self._pause_s * (1 + jitter))
