"""Campaign runs: one action for many people, with bounded concurrency."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending
from runtime.actions.spec import ActionSpec
from runtime.campaigns.campaign import Campaign, Tally
from runtime.campaigns.holding import Hold, Holding, Start, Trouble, sign_of
from runtime.campaigns.people import Person
from runtime.ids import MOST_RETRIES

MAX_CONCURRENCY = 1_000
PATIENCE_S = 600.0

_MAX_PENDING_ASKS = 4
_LONGEST_WAIT_S = 60.0
_YIELD_EVERY_S = 0.02
MOST_OWN_TROUBLES = 2
"""A person who falls back once more than this, while others get answers, keeps the fallback."""


class Then(StrEnum):
    """The ways to go on once the patience of a run is over."""

    STOP = "stop"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A person, and how often the person fell back while others got answers."""

    person: Person
    own_troubles: int = 0


@dataclass(frozen=True, slots=True)
class _SetAside:
    """A person to ask again, with the fallback values for the case that nobody can be asked.

    Args:
        starts: the starts until then: an answer to a later one explains the fallback.
        holds: the holds until then, or -1 where one explains the fallback.
    """

    asked: _Asked
    result: ExecutionResult
    trouble: Trouble
    starts: int
    holds: int


class Runner(Protocol):
    """A runtime, or a pool of processes that hold one each."""

    async def execute(self, request: ExecutionRequest) -> ExecutionResult | Pending:
        """Run the action, as ``ActionRuntime.execute`` does."""
        ...

    def resumes_in_ms(self, spec: ActionSpec) -> int:
        """Return how long calls for an action are certain to fail; 0 if that is not known."""
        ...


class CampaignRun:
    """One run of a campaign.

    A fixed number of workers takes people from one iterator, so memory holds only the people who
    are being worked on, however long the file is. People who fall back for a passing reason are
    set aside and asked again, under the same execution id; ``Holding`` decides when.

    Args:
        on_result: called with each person's result as it arrives; an exception ends the run.
        retry_fallbacks: run a new execution for people whose stored outcome is all fallback values.
        patience_s: how long to wait while every call would fall back for a passing reason. 0 keeps
            every fallback as it comes, and gives up at the first outage.
        then: what follows when the patience is over.

    ``gave_up`` is the last hold whose patience was over, if there was one; that for one or two
    people at the end of a run does not count.
    """

    def __init__(
        self,
        runtime: Runner,
        campaign: Campaign,
        *,
        concurrency: int,
        on_result: Callable[[Person, ExecutionResult], None] = lambda person, result: None,
        retry_fallbacks: bool = False,
        patience_s: float = PATIENCE_S,
        then: Then = Then.STOP,
    ) -> None:
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise ValueError(
                f"concurrency: found {concurrency}, allowed is 1 to {MAX_CONCURRENCY:,}"
            )
        self.tally = Tally()
        self.running = 0
        self.gave_up: Hold | None = None
        self._runtime = runtime
        self._campaign = campaign
        self._concurrency = concurrency
        self._on_result = on_result
        self._retry_fallbacks = retry_fallbacks
        self._patience_s = patience_s
        self._then = then
        self._holding = Holding(patience_s=patience_s, enough=concurrency, now_s=time.monotonic)
        self._feed: Iterator[Person] = iter(())
        self._set_aside: deque[_SetAside] = deque()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._yielded_s = 0.0

    @property
    def hold(self) -> Hold | None:
        """The hold that is on, by the clock ``time.monotonic``."""
        return self._holding.hold

    async def run(self, people: Iterable[Person]) -> Tally:
        """Run the action for all people, and return the tally.

        An exception from an execution or from ``people`` ends the run, after the executions that
        have started are finished.

        Raises:
            ExecutionConflict: an execution id of the campaign was used for something else.
            PeopleError: a row cannot be read.
        """
        self._feed = iter(people)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return self.tally

    def stop(self) -> None:
        """Take no more people, and let the executions that have started finish."""
        self._stopping.set()
        self._wake()

    def cancel(self) -> None:
        """Cancel the executions that have started, which releases their credits."""
        self.stop()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        try:
            while (taken := await self._next()) is not None:
                start, asked = taken
                await self._let_others_go_on()
                self.running += 1
                try:
                    result = await self._execute(asked.person)
                    self._ended(start, asked, result)
                finally:
                    self.running -= 1
                    self._holding.unused(start)
                    self._wake()
        except Exception as error:  # noqa: BLE001 - run() raises it once the others have finished
            self._failure = self._failure or error
            self.stop()

    # Whom to ask next

    async def _next(self) -> tuple[Start, _Asked] | None:
        """Wait for the leave to ask for a person; ``None`` at the end of the run."""
        while not self._stopping.is_set():
            start = self._holding.start()
            self._heed_giving_up()
            if start is None:
                await self._wait_for_change(self._holding.wait_s())
            elif self._stopping.is_set():
                break
            elif (asked := self._take(start)) is not None:
                return start, asked
            else:
                self._holding.unused(start)
                if self.running:
                    await self._wait_for_change(math.inf)
                elif self._set_aside:
                    self._hold_the_rest()
                else:
                    break
        self._wake()
        return None

    def _take(self, start: Start) -> _Asked | None:
        """Return the next person: one who was set aside and can be asked again, or a new one."""
        if self._set_aside:
            first = self._set_aside[0]
            if start.is_probe or self._holding.has_answered_since(first.starts):
                self._set_aside.popleft()
                own = first.asked.own_troubles + (first.holds == start.holds)
                return _Asked(first.asked.person, own)
        person = next(self._feed, None)
        return None if person is None else _Asked(person)

    def _hold_the_rest(self) -> None:
        unexplained = sum(not aside.asked.own_troubles for aside in self._set_aside)
        self._holding.hold_the_rest(unexplained, self._set_aside[-1].trouble)

    def _heed_giving_up(self) -> None:
        """Do what follows when the patience is over."""
        gave_up = self._holding.gave_up
        if gave_up is None:
            return
        if not gave_up.is_brief:
            self.gave_up = gave_up
            if self._then is Then.STOP:
                self.stop()
                return
        while self._set_aside:
            aside = self._set_aside.popleft()
            self._finish(aside.asked.person, aside.result)

    # The end of an execution

    def _ended(self, start: Start, asked: _Asked, result: ExecutionResult | Pending) -> None:
        sign = sign_of(result)
        holding = self._holding
        if not isinstance(sign, Trouble) or isinstance(result, Pending):
            holding.ended(start, sign)
            self._finish(asked.person, result)
            return
        resumes_in_ms = self._runtime.resumes_in_ms(self._campaign.action)
        holding.ended(start, sign, resumes_in_ms / 1000)
        is_own = holding.hold is None and asked.own_troubles >= MOST_OWN_TROUBLES
        if is_own or not self._patience_s or self._has_given_up_for_good():
            self._finish(asked.person, result)
        else:
            holds = start.holds if holding.hold is None else -1
            self._set_aside.append(_SetAside(asked, result, sign, holding.starts, holds))
        self._heed_giving_up()

    def _has_given_up_for_good(self) -> bool:
        return self._holding.gave_up is not None and self._then is Then.FALLBACK

    def _finish(self, person: Person, result: ExecutionResult | Pending) -> None:
        self.tally.add(result)
        if isinstance(result, ExecutionResult):
            self._on_result(person, result)

    # One person

    async def _execute(self, person: Person) -> ExecutionResult | Pending:
        result = await self._ask(person, 0)
        retry = 0
        # A stored outcome without an answer is skipped for that of the next execution.
        while (
            self._retry_fallbacks
            and isinstance(result, ExecutionResult)
            and result.replayed
            and result.status == "fallback"
            and retry < MOST_RETRIES
        ):
            retry += 1
            result = await self._ask(person, retry)
        return result

    async def _ask(self, person: Person, retry: int) -> ExecutionResult | Pending:
        request = self._campaign.request(person, retry)
        result = await self._runtime.execute(request)
        for _ in range(_MAX_PENDING_ASKS - 1):
            if isinstance(result, ExecutionResult):
                break
            if not await self._wait(result.retry_after_ms / 1000):
                break
            result = await self._runtime.execute(request)
        return result

    # Waiting

    async def _wait(self, seconds: float) -> bool:
        """Wait, and return whether the run goes on; it ends the wait if it is stopped."""
        try:
            async with asyncio.timeout(min(seconds, _LONGEST_WAIT_S)):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    async def _wait_for_change(self, seconds: float) -> None:
        """Wait for the end of an execution or of the run, for so long at most."""
        changed = self._changed
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await changed.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _let_others_go_on(self) -> None:
        """Yield to the event loop now and then: an execution that fails early awaits nothing."""
        now_s = time.monotonic()
        if now_s - self._yielded_s > _YIELD_EVERY_S:
            self._yielded_s = now_s
            await asyncio.sleep(0)
