"""Campaign runs: one action for many people, with bounded concurrency."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending, Source
from runtime.actions.spec import ActionSpec
from runtime.campaigns.people import Person
from runtime.executions.executor import ActionRuntime
from runtime.ids import MAX_ID_TEXT_LENGTH

MAX_CONCURRENCY = 1_000

_MAX_ASKS = 4
_MAX_RETRIES = 1_000
_LONGEST_WAIT_S = 60.0
_YIELD_EVERY_S = 0.02

# A test run before the campaign must not use up the execution ids of the campaign itself.
_VISITS = {Source.LIVE: "1", Source.TEST: "test1", Source.PREVIEW: "preview1"}


@dataclass(frozen=True, slots=True)
class Campaign:
    """An action, the campaign that runs it, and the account that pays."""

    account_id: str
    workspace_id: str
    campaign_id: str
    action: ActionSpec
    source: Source = Source.LIVE

    def request(self, person: Person, retry: int = 0) -> ExecutionRequest:
        """Return the request for one person, the same in every run of the campaign.

        Args:
            retry: 1 and above name further executions, for people who got fallback values.

        Raises:
            InvalidRequest: an id is not allowed in a request; ``check`` names the field.
        """
        return self._request(person, self._execution_id(person.person_id, retry))

    def check(self, person: Person) -> None:
        """Check that the campaign can run for this person.

        Raises:
            InvalidRequest: a field is wrong; the message names it.
        """
        # The execution id is made of the other ids, and is right if they are.
        self._request(person, self.action.id)

    def _request(self, person: Person, execution_id: str) -> ExecutionRequest:
        return ExecutionRequest(
            execution_id=execution_id,
            account_id=self.account_id,
            workspace_id=self.workspace_id,
            campaign_id=self.campaign_id,
            person_id=person.person_id,
            action=self.action,
            data=person.data,
            source=self.source,
        )

    def _execution_id(self, person_id: str, retry: int) -> str:
        journey_id = f"{self.campaign_id}.{person_id}"
        visit = _VISITS[self.source] + (f":r{retry}" if retry else "")
        execution_id = f"{journey_id}:{self.action.id}:{visit}"
        if len(execution_id) > MAX_ID_TEXT_LENGTH:
            digest = hashlib.sha256(journey_id.encode("utf-8", "surrogatepass")).hexdigest()
            execution_id = f"sha256-{digest}:{self.action.id}:{visit}"
        return execution_id


@dataclass(slots=True)
class Tally:
    """The counts of a run so far, by person.

    ``charged_mc`` is the charge of this run, ``charged_earlier_mc`` that of earlier runs for
    answers that were returned again (``replayed``). ``reasons`` counts the people with at least one
    fallback value, by its reason. ``unfinished`` people have no result: their executions were
    running elsewhere.
    """

    people: int = 0
    model: int = 0
    mixed: int = 0
    fallback: int = 0
    replayed: int = 0
    unfinished: int = 0
    charged_mc: int = 0
    charged_earlier_mc: int = 0
    available_mc: int | None = None
    reasons: Counter[FallbackReason] = field(default_factory=Counter)

    def add(self, result: ExecutionResult | Pending) -> None:
        """Count one person."""
        self.people += 1
        if isinstance(result, Pending):
            self.unfinished += 1
            return
        if result.replayed:
            self.replayed += 1
            self.charged_earlier_mc += result.charged_mc
        else:
            self.charged_mc += result.charged_mc
        if result.available_after_mc is not None:
            self.available_mc = result.available_after_mc
        if result.status == "model":
            self.model += 1
            return
        if result.status == "mixed":
            self.mixed += 1
        else:
            self.fallback += 1
        self.reasons.update({o.reason for o in result.origins.values() if o.reason is not None})


class CampaignRun:
    """One run of a campaign.

    A fixed number of workers takes people from one iterator, so memory holds only the people who
    are being worked on, however long the file is.

    Args:
        on_result: called with each person's result as it arrives; an exception ends the run.
        retry_fallbacks: run a new execution for people whose stored outcome is all fallback values.
    """

    def __init__(
        self,
        runtime: ActionRuntime,
        campaign: Campaign,
        *,
        concurrency: int,
        on_result: Callable[[Person, ExecutionResult], None] = lambda person, result: None,
        retry_fallbacks: bool = False,
    ) -> None:
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise ValueError(
                f"concurrency: found {concurrency}, allowed is 1 to {MAX_CONCURRENCY:,}"
            )
        self.tally = Tally()
        self.running = 0
        self._runtime = runtime
        self._campaign = campaign
        self._concurrency = concurrency
        self._on_result = on_result
        self._retry_fallbacks = retry_fallbacks
        self._stopping = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._yielded_s = 0.0

    async def run(self, people: Iterable[Person]) -> Tally:
        """Run the action for all people, and return the tally.

        An exception from an execution or from ``people`` ends the run, after the executions that
        have started are finished.

        Raises:
            ExecutionConflict: an execution id of the campaign was used for something else.
            PeopleError: a row cannot be read.
        """
        feed = iter(people)
        self._workers = [asyncio.create_task(self._work(feed)) for _ in range(self._concurrency)]
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return self.tally

    def stop(self) -> None:
        """Take no more people, and let the executions that have started finish."""
        self._stopping.set()

    def cancel(self) -> None:
        """Cancel the executions that have started, which releases their credits."""
        self.stop()
        for worker in self._workers:
            worker.cancel()

    async def _work(self, feed: Iterator[Person]) -> None:
        try:
            while not self._stopping.is_set():
                person = next(feed, None)
                if person is None:
                    return
                await self._let_others_go_on()
                self.running += 1
                try:
                    result = await self._execute(person)
                finally:
                    self.running -= 1
                self.tally.add(result)
                if isinstance(result, ExecutionResult):
                    self._on_result(person, result)
        except Exception as error:  # noqa: BLE001 - run() raises it once the others have finished
            self._failure = self._failure or error
            self.stop()

    async def _execute(self, person: Person) -> ExecutionResult | Pending:
        result = await self._ask(person, 0)
        retry = 0
        # A stored outcome without an answer is skipped for that of the next execution.
        while (
            self._retry_fallbacks
            and isinstance(result, ExecutionResult)
            and result.replayed
            and result.status == "fallback"
            and retry < _MAX_RETRIES
        ):
            retry += 1
            result = await self._ask(person, retry)
        return result

    async def _ask(self, person: Person, retry: int) -> ExecutionResult | Pending:
        request = self._campaign.request(person, retry)
        result = await self._runtime.execute(request)
        for _ in range(_MAX_ASKS - 1):
            if isinstance(result, ExecutionResult):
                break
            if not await self._wait(result.retry_after_ms / 1000):
                break
            result = await self._runtime.execute(request)
        return result

    async def _wait(self, seconds: float) -> bool:
        """Wait, and return whether the run goes on; it ends the wait if it is stopped."""
        try:
            async with asyncio.timeout(min(seconds, _LONGEST_WAIT_S)):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    async def _let_others_go_on(self) -> None:
        """Yield to the event loop now and then: an execution that fails early awaits nothing."""
        now_s = time.monotonic()
        if now_s - self._yielded_s > _YIELD_EVERY_S:
            self._yielded_s = now_s
            await asyncio.sleep(0)
