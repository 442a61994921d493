"""One campaign run from the command line: checks first, then progress, results and the books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from runtime.actions.requests import ExecutionResult
from runtime.bootstrap import open_runtime
from runtime.campaigns.campaign import Campaign, Tally
from runtime.campaigns.holding import Hold, Trouble
from runtime.campaigns.people import PeopleFile, PeopleSummary, Person
from runtime.campaigns.run import PATIENCE_S, CampaignRun, Then
from runtime.cli.interruption import Interruption
from runtime.cli.reloading import ConfigReload
from runtime.cli.views.progress import UPDATE_EVERY_S, Display
from runtime.cli.views.results import ResultsFile
from runtime.config import Config
from runtime.credits.results import Alert, Balance, LedgerUnavailable
from runtime.executions.action_runtime import ActionRuntime
from runtime.executions.counters import Counters
from runtime.ledger_opening import open_ledger
from runtime.process_pool.pool import ProcessPool, open_pool
from runtime.wording.runs import holding_text, stopping_text, trouble_text

OnResult = Callable[[Person, ExecutionResult], None]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings of one run. ``people`` has been checked; ``limit`` runs only the first so many.

    ``patience_s`` and ``then`` are those of ``CampaignRun``. ``processes`` share the executions;
    with one, they run in this process.
    """

    campaign: Campaign
    people: PeopleFile
    summary: PeopleSummary
    concurrency: int
    limit: int | None = None
    out: Path | None = None
    retry_fallbacks: bool = False
    force: bool = False
    patience_s: float = PATIENCE_S
    then: Then = Then.STOP
    processes: int = 1


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The trouble that a run waited for in vain.

    Args:
        endpoint: the name of the endpoint of the action's model.
        waited_s: since when nobody got an answer.
        then: what followed.
    """

    trouble: Trouble
    endpoint: str
    waited_s: float
    then: Then

    @property
    def text(self) -> str:
        """The trouble, as one clause."""
        found = self.trouble
        return trouble_text(found.reason, found.status, found.detail, self.endpoint)


@dataclass(frozen=True, slots=True)
class RunReport:
    """The end of a run. ``failure`` is the error that cut it short, if any.

    Args:
        remaining: the people of the file who have no result.
        balance: the account's books, ``None`` if Redis could not be reached any more.
        gave_up: what the run waited for until its patience was over, if it was.
        counters: the run's own, because each run has its own runtime.
        processes: how many executed.
    """

    alerts: tuple[Alert, ...]

    tally: Tally
    seconds: float
    remaining: int
    balance: Balance | None
    interrupted: bool
    failure: Exception | None
    counters: Counters
    gave_up: GivenUp | None = None
    processes: int = 1


async def run_campaign(
    config: Config,
    settings: RunSettings,
    display: Display,
    interruption: Interruption,
    on_result: OnResult = lambda person, result: None,
    reload: ConfigReload | None = None,
) -> RunReport:
    """Run the campaign, and return how it went with the account's books at its end.

    Args:
        reload: brings an edited config file into force when asked to; the action stays that of
            ``settings``.

    Raises:
        AccountUnknown: before anything is run.
        LedgerUnavailable: Redis can't be reached.
    """
    # This ledger outlives the runtime's: it asks for the books when all else is closed.
    async with open_ledger(config) as ledger:
        await ledger.accounts.balance(settings.campaign.account_id)
        async with (
            _opened(config, settings.processes, display) as runtime,
            AsyncExitStack() as stack,
        ):
            if reload is not None:
                await stack.enter_async_context(reload.serving(runtime))
            # Not opened before all else is ready: it replaces an earlier run's results.
            results = (
                stack.enter_context(ResultsFile(settings.out, force=settings.force))
                if settings.out
                else None
            )
            run = CampaignRun(
                runtime,
                settings.campaign,
                concurrency=settings.concurrency,
                on_result=on_result if results is None else _both(results.write, on_result),
                retry_fallbacks=settings.retry_fallbacks,
                patience_s=settings.patience_s,
                then=settings.then,
            )
            since_s = time.monotonic()
            endpoint = config.models[settings.campaign.action.model].endpoint
            failure = await _run(run, settings, endpoint, display, interruption)
            seconds = time.monotonic() - since_s
        if results is not None and results.failure is not None:
            failure = results.failure
        balance: Balance | None = None
        try:
            balance = await ledger.accounts.balance(settings.campaign.account_id)
        except LedgerUnavailable as error:
            # Whoever waited for Redis in vain is told so by the summary.
            failure = failure or (error if run.gave_up is None else None)
    return RunReport(
        alerts=tuple(display.alerts),
        tally=run.tally,
        seconds=seconds,
        remaining=max(0, settings.summary.people - run.tally.people),
        balance=balance,
        interrupted=interruption.happened,
        failure=failure,
        counters=runtime.counters,
        gave_up=_given_up(run.gave_up, endpoint, settings.then),
        processes=settings.processes,
    )


def _opened(
    config: Config, processes: int, display: Display
) -> AbstractAsyncContextManager[ActionRuntime | ProcessPool]:
    if processes == 1:
        return open_runtime(config, on_alert=display.tell)
    return open_pool(config, processes, on_alert=display.tell)


def _given_up(hold: Hold | None, endpoint: str, then: Then) -> GivenUp | None:
    if hold is None:
        return None
    return GivenUp(
        hold.trouble, hold.trouble.endpoint or endpoint, hold.until_s - hold.since_s, then
    )


async def _run(
    run: CampaignRun,
    settings: RunSettings,
    endpoint: str,
    display: Display,
    interruption: Interruption,
) -> Exception | None:
    def stop() -> None:
        run.stop()
        display.say(stopping_text(run.running))

    def waiting() -> str:
        if (hold := run.hold) is None:
            return ""
        now_s = time.monotonic()
        found = hold.trouble
        trouble = trouble_text(found.reason, found.status, found.detail, found.endpoint or endpoint)
        then = Then.FALLBACK if hold.is_brief else settings.then
        return holding_text(trouble, now_s - hold.since_s, hold.until_s - now_s, then)

    async def show() -> None:
        while True:
            display.update(run.tally, waiting())
            await asyncio.sleep(UPDATE_EVERY_S)

    interruption.steps = [stop, run.cancel]
    display.begin(settings.summary.people)
    showing = asyncio.create_task(show())
    try:
        # No further: empty rows at the end would hold the event loop.
        found = settings.summary
        people = settings.people.read(limit=found.people, columns=found.columns)
        await run.run(people)
    except Exception as error:  # noqa: BLE001 - reported after the books, which it may have changed
        return error
    finally:
        interruption.steps = []
        showing.cancel()
        display.update(run.tally)
        display.finish()
    return None


def _both(first: OnResult, second: OnResult) -> OnResult:
    def hear(person: Person, result: ExecutionResult) -> None:
        first(person, result)
        second(person, result)

    return hear
