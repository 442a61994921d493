"""Runs slices of the queue, and heeds what becomes of their campaigns meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from runtime.queue.entries import CampaignState, Ended, Entry, Slice
from runtime.queue.errors import CampaignUnknown, QueueUnavailable
from runtime.queue.queue import RequestQueue
from runtime.worker.course import Courses, GivenBack

_log = logging.getLogger("creditgate.worker")

_FINISH_EVERY_S = 0.25
"""The time that a request which ended waits at most for others to be acknowledged with it."""
_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""The pauses between tries to acknowledge; after the last one the slice is left to others."""


@dataclass(frozen=True, slots=True)
class SliceEnd:
    """The end of a slice: how many requests ended, how many wait for a hold, and if more wait."""

    ended: int
    held: int
    more: bool


@dataclass(eq=False, slots=True)
class _Running:
    """A slice that runs: a task for each request, and those whose execution has begun."""

    taken: Slice
    tasks: dict[asyncio.Task[Ended | GivenBack], Entry] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    kept_s: float = 0.0

    def hold_back(self) -> None:
        """Give back the requests whose execution has not begun."""
        for task, entry in self.tasks.items():
            if entry.entry_id not in self.begun:
                task.cancel()

    def cancel(self) -> None:
        """Cancel all executions, which releases their credits."""
        for task in self.tasks:
            task.cancel()


class Slices:
    """The slices that this process runs.

    Args:
        consumer: the name of this process.
        lease_ms: how long nobody else takes its requests; they are kept while they run.
        on_end: hears of each request that ended, once it is acknowledged.
    """

    def __init__(
        self,
        queue: RequestQueue,
        courses: Courses,
        *,
        consumer: str,
        lease_ms: int,
        on_end: Callable[[Ended], object] = lambda ended: None,
    ) -> None:
        self._queue = queue
        self._courses = courses
        self._consumer = consumer
        self._lease_ms = lease_ms
        self._on_end = on_end
        self._running: set[_Running] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._running)

    @property
    def in_flight(self) -> int:
        """The executions that have begun and not ended."""
        return sum(len(each.begun) for each in self._running)

    async def run(
        self, account_id: str, size: int, on_more: Callable[[], object]
    ) -> SliceEnd | None:
        """Take a slice of an account and run it; return its end, ``None`` if there was nothing.

        Args:
            on_more: called at once if there is more to take beside this slice.

        Raises:
            QueueUnavailable: before anything was taken.
        """
        if self._stopping:
            return None
        taken = await self._queue.take(account_id, self._consumer, size, self._lease_ms)
        if taken is None:
            return None
        if taken.more:
            on_more()
        running = _Running(taken)
        self._running.add(running)
        try:
            return await self._run(running)
        finally:
            self._running.discard(running)

    def stop(self) -> None:
        """Take no more slices, and give back what has not begun."""
        self._stopping = True
        for each in self._running:
            each.hold_back()

    def cancel(self) -> None:
        """Cancel what runs; it is given back."""
        self.stop()
        for each in self._running:
            each.cancel()

    async def heed(self) -> None:
        """Give back what has not begun of campaigns that were paused or stopped."""
        campaigns = {(each.taken.account_id, each.taken.campaign_id) for each in self._running}
        for account_id, campaign_id in campaigns:
            try:
                state = (await self._queue.status(account_id, campaign_id)).state
            except (CampaignUnknown, QueueUnavailable):
                continue
            if state is not CampaignState.RUNNING:
                for each in self._running:
                    if (each.taken.account_id, each.taken.campaign_id) == (account_id, campaign_id):
                        each.hold_back()

    async def _run(self, running: _Running) -> SliceEnd:
        now_s = asyncio.get_running_loop().time
        running.kept_s = now_s()
        for entry in running.taken.entries:
            begun = partial(running.begun.add, entry.entry_id)
            task = asyncio.create_task(self._courses.run(entry, begun))
            running.tasks[task] = entry
        if self._stopping:
            running.hold_back()
        count, held = 0, 0
        try:
            while running.tasks:
                done, _ = await asyncio.wait(running.tasks, timeout=_FINISH_EVERY_S)
                ended, given = _sorted(running, done)
                count += len(ended)
                held += sum(len(them) for back, them in given.items() if back.is_held)
                await self._acknowledge(running.taken, ended, given)
                if running.tasks and now_s() - running.kept_s > self._lease_ms / 3000:
                    running.kept_s = now_s()
                    await self._keep(running)
        finally:
            for task in running.tasks:
                task.cancel()
        return SliceEnd(count, held, running.taken.more)

    async def _acknowledge(
        self, taken: Slice, ended: Sequence[Ended], given: dict[GivenBack, list[Entry]]
    ) -> None:
        """Tell the queue; while it is away, try again, and in the end leave it to the lease."""
        for pause_s in (*_PAUSES_S, None):
            try:
                if ended:
                    await self._queue.finish(taken, ended)
                    for each in ended:
                        self._on_end(each)
                    ended = ()
                while given:
                    back, entries = next(iter(given.items()))
                    await self._queue.give_back(
                        taken,
                        entries,
                        round(back.after_s * 1000),
                        counts=back.counts,
                        reason=back.reason,
                    )
                    del given[back]
            except QueueUnavailable as error:
                if pause_s is None:
                    break
                _log.debug("requests can't be acknowledged now: %s", error)
                await asyncio.sleep(pause_s)
            else:
                return
        left = len(ended) + sum(map(len, given.values()))
        _log.warning("%d requests were not acknowledged; they are taken again", left)

    async def _keep(self, running: _Running) -> None:
        try:
            entries = list(running.tasks.values())
            await self._queue.keep(running.taken, entries, self._lease_ms)
        except QueueUnavailable as error:
            _log.debug("requests that run can't be kept now: %s", error)


def _sorted(
    running: _Running, done: set[asyncio.Task[Ended | GivenBack]]
) -> tuple[list[Ended], dict[GivenBack, list[Entry]]]:
    """Take tasks that are done off a slice; return what ended, and what is given back how."""
    ended: list[Ended] = []
    given: dict[GivenBack, list[Entry]] = defaultdict(list)
    for task in done:
        entry = running.tasks.pop(task)
        running.begun.discard(entry.entry_id)
        end = GivenBack() if task.cancelled() else task.result()
        if isinstance(end, Ended):
            ended.append(end)
        else:
            given[end].append(entry)
    return ended, given
