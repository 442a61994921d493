"""The callers: 64 at a time, over two processes, one of which is killed."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable

import aiohttp

from tests.peers.accounting import Calls, Ended, Kind
from tests.peers.scenario import ATTEMPTS, CALLERS, KILL_AFTER_SHARE, Plan
from tests.peers.system import Running

_TIMEOUT_S = 90.0
_KEPT_ALIVE_S = 2.0
"""Shorter than any server's own, which would close a connection just as it is used again."""
_PENDING_PATIENCE_S = 150.0
_POLL_S = 0.05


class Callers:
    """Sends each call until it has an end, and kills a process in the middle.

    A call whose connection was cut is sent again to the process that lives, with the same id. One
    that still runs elsewhere is put aside for as long as the answer says.
    """

    def __init__(
        self,
        running: Running,
        plan: Plan,
        kill: Callable[[], None],
        at_mark: Callable[[], None],
    ) -> None:
        self._running = running
        self._plan = plan
        self._kill = kill
        self._at_mark = at_mark
        self._urls = list(running.urls)
        self._turns = itertools.count()
        self._fresh = deque(plan.ids)
        self._again: list[tuple[float, str]] = []
        self._sent: Counter[str] = Counter()
        self._in_flight = 0
        self._killed_s: float | None = None
        self._since_s = 0.0
        self.calls = Calls()

    async def run(self) -> Calls:
        """Send all calls; return what became of them."""
        connector = aiohttp.TCPConnector(limit=CALLERS, keepalive_timeout=_KEPT_ALIVE_S)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        headers = dict(self._running.headers)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers
        ) as session:
            self._since_s = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLERS):
                    group.create_task(self._work(session))
        return self.calls

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while (call_id := await self._next()) is not None:
            self._in_flight += 1
            self._sent[call_id] += 1
            try:
                ended = await self._send(session, call_id)
            finally:
                self._in_flight -= 1
            self._note(call_id, ended)
            self._kill_if_due()

    async def _next(self) -> str | None:
        """Return the next call to send; wait while only calls that were put aside are left."""
        while True:
            if self._again and self._again[0][0] <= time.perf_counter():
                return heapq.heappop(self._again)[1]
            if self._fresh:
                return self._fresh.popleft()
            if not self._again and not self._in_flight:
                return None
            await asyncio.sleep(_POLL_S)

    async def _send(self, session: aiohttp.ClientSession, call_id: str) -> Ended:
        url = self._urls[next(self._turns) % len(self._urls)]
        body = self._running.body(call_id)
        try:
            async with session.post(url + self._running.path, json=body) as response:
                return self._running.read(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            return Ended(Kind.CUT, detail=type(error).__name__)

    def _note(self, call_id: str, ended: Ended) -> None:
        now_s = time.perf_counter() - self._since_s
        if ended.kind is Kind.CUT and self._sent[call_id] < ATTEMPTS:
            self.calls.cut[call_id] += 1
            heapq.heappush(self._again, (time.perf_counter() + 0.1, call_id))
            return
        if ended.kind is Kind.PENDING and now_s < _PENDING_PATIENCE_S:
            again_s = max(0.1, ended.retry_after_s)
            heapq.heappush(self._again, (time.perf_counter() + again_s, call_id))
            return
        self.calls.ended[call_id] = ended
        if ended.kind is Kind.ANSWERED:
            self.calls.answered_s.append(now_s)
            if len(self.calls.answered_s) == self._plan.marked:
                self._at_mark()
        if self.calls.cut[call_id] and self._killed_s is not None:
            self.calls.cut_settled_s = round(now_s - self._killed_s, 1)

    def _kill_if_due(self) -> None:
        due = len(self.calls.ended) >= self._plan.calls * KILL_AFTER_SHARE
        if self._plan.kills and due and self._killed_s is None:
            self._killed_s = time.perf_counter() - self._since_s
            self._kill()
            del self._urls[0]
