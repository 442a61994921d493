"""Long prompts and answers are counted in threads, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

_THREADS = 2
"""The tokenizer lets other threads run while it counts; more threads would gain little."""


class LongCounts:
    """A few threads that count, for each account one text at a time.

    So an account with many long texts waits for itself, and others for one of its counts at most.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="creditgate-count")
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, account_id: str, count: Callable[[], T]) -> T:
        """Return what ``count`` returns, called in a thread.

        A caller that is cancelled gets away at once. A count that has begun goes on, and the
        account's next one waits for it.
        """
        lock = self._locks.get(account_id)
        if lock is None:
            lock = self._locks[account_id] = asyncio.Lock()
        await lock.acquire()
        try:
            future = self._pool.submit(count)
        except BaseException:
            lock.release()
            raise
        counted = asyncio.wrap_future(future)
        counted.add_done_callback(lambda _: lock.release())
        return await asyncio.shield(counted)

    def close(self) -> None:
        """Begin no more counts. Those that have begun end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)
