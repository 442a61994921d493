"""A process that runs executions until a queue has heard the end of each, however often it dies.

Usage: python -m tests.harness.races.worker COURSE NUMBER

It logs what it reserved, and acknowledges an execution by logging what became of it. Started
again, it is given those that it has not acknowledged, and a few that it has, as a queue would.
Ends by itself when all are acknowledged, or when stdin is closed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from fallback.reasons import FallbackReason, is_kept
from providers.pacing.deadline import Deadline
from runtime.credits.endings import Ending, Release, Settlement
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import (
    AccountDamaged,
    Existing,
    InProgress,
    LedgerUnavailable,
    Refused,
    Released,
    Reserved,
    Settled,
)
from runtime.executions.outbox import Outbox
from tests.harness.races import process
from tests.harness.races.course import ACCOUNT, LARGEST_MC, Course

AT_ONCE = 32
_DELIVERED_AGAIN = 50
_AGAIN = "delivered again"
_CLOSE_WITHIN_S = 60
_CREDITS_ARE_LOW = {
    FallbackReason.INSUFFICIENT_CREDITS,
    FallbackReason.EXECUTION_TOO_LARGE,
    FallbackReason.CREDITS_RESERVED_ELSEWHERE,
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one attempt reserves, how long its model takes, and how it ends."""

    amount_mc: int
    cost_mc: int
    ttl_ms: int
    pause_s: float
    ending: str
    patience: int

    @classmethod
    def draw(cls, chance: random.Random, ttl_ms: int, hasty: float, source: str) -> Run:
        """Draw a run. Those of previews stay within quote and deadline, so that their cap holds."""
        amount_mc = 0 if chance.random() < 0.02 else chance.randrange(500, LARGEST_MC)
        cost_mc = chance.randint(0, amount_mc)
        pause_s = 0.002 + chance.random() * 0.005
        if source != "preview":
            if chance.random() < 0.02:
                cost_mc = amount_mc + chance.randrange(1, 300)
            if chance.random() < hasty:
                ttl_ms = chance.randrange(10, 60)
                pause_s = max(0.002, ttl_ms / 1_000 + chance.uniform(-0.02, 0.04))
        endings = ("settle", "fall back", "give up", "spool", "be cancelled", "conclude")
        weights = (86, 5, 3, 0 if source == "preview" else 1, 2, 3)
        (ending,) = chance.choices(endings, weights)
        return cls(amount_mc, cost_mc, ttl_ms, pause_s, ending, chance.choice((0, 4, 8, 40)))


class Worker:
    def __init__(self, course: Course, number: int, ledger: CreditLedger) -> None:
        self._course = course
        self._ledger = ledger
        self._spool = course.open_spool()
        self._outbox = Outbox(ledger, self._spool, replay_every_ms=500)
        self._acknowledged = course.log("acknowledged", number)
        self._acknowledge = self._acknowledged.open()
        self._note = course.log("reserved", number).open()
        self._chance = random.Random()
        # What is delivered again comes before what has not been delivered yet.
        self._queue: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        self._left = 0
        self._done = asyncio.Event()
        self._number = number
        # Who is to die with reservations is in no haste.
        self._hasty = 0 if number == course.workers else course.hasty

    async def run(self) -> None:
        self._outbox.start()
        delivered = self._deliveries()
        self._left = len(delivered)
        for number in reversed(delivered):
            self._queue.put_nowait(number)
        workers = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]
        done = asyncio.create_task(self._done.wait())
        if not delivered:
            self._done.set()
        try:
            finished, _ = await asyncio.wait([done, *workers], return_when="FIRST_COMPLETED")
            for task in finished:
                task.result()
        finally:
            for task in [done, *workers]:
                task.cancel()
            await asyncio.gather(done, *workers, return_exceptions=True)
            await self._outbox.aclose()

    def _deliveries(self) -> list[int]:
        known: dict[int, None] = {}
        for number, state, *_ in self._acknowledged.lines():
            known.pop(number, None)
            if state != _AGAIN:
                known[number] = None
        again = list(known)[-_DELIVERED_AGAIN:]
        for number in again:
            self._acknowledge(number, _AGAIN)
        new = [number for number in self._course.delivered_to(self._number) if number not in known]
        return again + new

    async def _work(self) -> None:
        while True:
            number = await self._queue.get()
            again_in_s = await self._execute(number)
            if again_in_s is None:
                self._left -= 1
                if not self._left:
                    self._done.set()
            else:
                self._deliver_in(again_in_s, number)

    def _deliver_in(self, seconds: float, number: int) -> None:
        asyncio.get_running_loop().call_later(seconds, self._queue.put_nowait, number)

    async def _execute(self, number: int) -> float | None:
        """Run an execution; return when to deliver it again, ``None`` if it is acknowledged."""
        attempt = self._course.attempt(number)
        source = attempt.dimensions[5]
        run = Run.draw(self._chance, self._course.ttl_ms, self._hasty, source)
        try:
            if run.ending == "be cancelled":
                await self._cancelled(self._ledger.reserve(attempt, run.amount_mc, run.ttl_ms))
                return 0
            answer, final = await self._reserve(attempt, run)
        except AccountDamaged:
            raise
        except LedgerUnavailable:
            if self._chance.random() < 0.5:  # else the deadline ends what may have been reserved
                self._outbox.give_back(attempt)
            return 0.05
        match answer:
            case InProgress():
                return min(answer.remaining_ms / 1_000, self._chance.uniform(0.01, 0.1))
            case Existing():
                self._claim(number, answer.state, answer.charged_mc, answer.outcome)
            case Refused():
                return await self._refused(number, attempt, run, answer, stored=final)
            case Reserved():
                self._note(number, answer.reserved_at_ms, answer.amount_mc)
                if run.pause_s > run.ttl_ms / 1_000:
                    # So long that the queue takes the execution for lost, while it still runs.
                    self._left += 1
                    self._deliver_in(run.ttl_ms / 1_000, number)
                await asyncio.sleep(run.pause_s)
                return await self._end(number, attempt, run, answer)
        return None

    async def _reserve(
        self, attempt: ExecutionAttempt, run: Run
    ) -> tuple[Reserved | Refused | InProgress | Existing, bool]:
        """Reserve; while credits are low, wait and ask again, as the executor does.

        Returns:
            The answer, and whether a refusal is stored as the outcome.
        """
        left = run.patience
        while True:
            final = left == 0 and run.ending == "fall back"
            answer = await self._ledger.reserve(
                attempt, run.amount_mc, run.ttl_ms, final=final, outcome=_outcome(attempt)
            )
            waits = isinstance(answer, Refused) and answer.reason in _CREDITS_ARE_LOW
            if not waits or left == 0:
                kept = isinstance(answer, Refused) and is_kept(answer.reason)
                return answer, final and kept
            left -= 1
            await self._outbox.wait_for_ending(ACCOUNT, self._chance.uniform(0.01, 0.03))

    async def _refused(
        self, number: int, attempt: ExecutionAttempt, run: Run, refused: Refused, *, stored: bool
    ) -> float | None:
        if run.ending == "conclude" and is_kept(refused.reason):
            try:
                answer = await self._ledger.conclude(attempt, refused.reason, _outcome(attempt))
            except LedgerUnavailable:
                return 0.05
            if isinstance(answer, InProgress):
                return 0.05
            if isinstance(answer, Existing):
                self._claim(number, answer.state, answer.charged_mc, answer.outcome)
                return None
            stored = True
        if stored:
            self._claim(number, "refused", 0, _outcome(attempt))
        else:
            self._acknowledge(number, "fell back", refused.reason)
        return None

    async def _end(
        self, number: int, attempt: ExecutionAttempt, run: Run, reserved: Reserved
    ) -> float | None:
        ending = self._ending(attempt, run, reserved)
        if run.ending == "spool":
            await self._spool.put(ending)
            closed = None
        else:
            now_s = asyncio.get_running_loop().time()
            closed = await self._outbox.close(ending, Deadline(now_s + _CLOSE_WITHIN_S))
        match closed:
            case None if ending.outcome is not None:
                self._acknowledge(number, "spooled", type(ending).__name__)
            case None:
                return 0.05
            case Settled():
                self._claim(number, "settled", closed.charged_mc, _outcome(attempt))
            case Existing():
                self._claim(number, closed.state, closed.charged_mc, closed.outcome)
            case Released():
                if ending.outcome is None or not closed.found:
                    return 0
                self._claim(number, "released", 0, _outcome(attempt))
        return None

    @staticmethod
    def _ending(attempt: ExecutionAttempt, run: Run, reserved: Reserved) -> Ending:
        if run.ending == "fall back":
            return Release(attempt, FallbackReason.PROVIDER_ERROR, 0, _outcome(attempt))
        if run.ending == "give up":
            return Release(attempt, None, 0, None)
        return Settlement(
            attempt=attempt,
            cost_mc=run.cost_mc,
            reserved_mc=reserved.amount_mc,
            reserved_at_ms=reserved.reserved_at_ms,
            tokens="120,20,0,30,10",
            rate_card_version="2026-01",
            flags=(),
            exposure_mc=0,
            outcome=_outcome(attempt),
        )

    async def _cancelled(self, call: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(call)
        await asyncio.sleep(self._chance.random() * 0.004)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            raise error

    def _claim(self, number: int, state: str, charged_mc: int, outcome: bytes) -> None:
        """Acknowledge an execution by its outcome, which whoever asks is to be told alike."""
        self._acknowledge(number, state, charged_mc, outcome.decode())


def _outcome(attempt: ExecutionAttempt) -> bytes:
    return attempt.attempt_id.encode()


async def work(course: Course, number: int, ledger: CreditLedger) -> None:
    await Worker(course, number, ledger).run()


if __name__ == "__main__":
    process.main("worker", work)
