"""An event loop whose clock jumps to the next timer: hours pass in no time, in a fixed order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class _Clock(selectors.SelectSelector):
    """Waits for nothing: what would be waiting time is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits, and no timer will ever wake one"
        self.now_s += max(0.0, timeout)
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run the coroutine to its end, and check that it left no task behind."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:

        async def alone() -> Answer:
            answer = await work
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"left running: {left}"
            return answer

        return runner.run(alone())


def now_s() -> float:
    """Return the time on the running loop's clock."""
    return asyncio.get_running_loop().time()
