"""One campaign run from the command line: checks first, then progress, results and the books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runtime.actions.requests import ExecutionResult
from runtime.bootstrap import open_ledger, open_runtime
from runtime.campaigns.campaign import Campaign, Tally
from runtime.campaigns.people import PeopleFile, PeopleSummary, Person
from runtime.campaigns.run import CampaignRun
from runtime.cli.interruption import Interruption
from runtime.cli.views.progress import UPDATE_EVERY_S, Display
from runtime.cli.views.results import ResultsFile
from runtime.config import Config
from runtime.credits.results import Alert, Balance
from runtime.executions.counters import Counters
from runtime.wording.runs import stopping_text

OnResult = Callable[[Person, ExecutionResult], None]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings of one run. ``people`` has been checked; ``limit`` runs only the first so many."""

    campaign: Campaign
    people: PeopleFile
    summary: PeopleSummary
    concurrency: int
    limit: int | None = None
    out: Path | None = None
    retry_fallbacks: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class RunReport:
    """The end of a run. ``failure`` is the error that cut it short, if any.

    ``counters`` are the run's own, because each run has its own runtime.
    """

    alerts: tuple[Alert, ...]

    tally: Tally
    seconds: float
    balance: Balance
    interrupted: bool
    failure: Exception | None
    counters: Counters


async def run_campaign(
    config: Config,
    settings: RunSettings,
    display: Display,
    interruption: Interruption,
    on_result: OnResult = lambda person, result: None,
) -> RunReport:
    """Run the campaign, and return how it went with the account's books at its end.

    Raises:
        AccountUnknown: before anything is run.
        LedgerUnavailable: Redis can't be reached.
    """
    # This ledger outlives the runtime's: it asks for the books when all else is closed.
    async with open_ledger(config) as ledger:
        await ledger.accounts.balance(settings.campaign.account_id)
        async with open_runtime(config, on_alert=display.tell) as runtime:
            with ExitStack() as stack:
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
                )
                since_s = time.monotonic()
                failure = await _run(run, settings, display, interruption)
                seconds = time.monotonic() - since_s
        if results is not None and results.failure is not None:
            failure = results.failure
        balance = await ledger.accounts.balance(settings.campaign.account_id)
    return RunReport(
        alerts=tuple(display.alerts),
        tally=run.tally,
        seconds=seconds,
        balance=balance,
        interrupted=interruption.happened,
        failure=failure,
        counters=runtime.counters,
    )


async def _run(
    run: CampaignRun, settings: RunSettings, display: Display, interruption: Interruption
) -> Exception | None:
    def stop() -> None:
        run.stop()
        display.say(stopping_text(run.running))

    async def show() -> None:
        while True:
            display.update(run.tally)
            await asyncio.sleep(UPDATE_EVERY_S)

    interruption.steps = [stop, run.cancel]
    display.begin(settings.summary.people)
    showing = asyncio.create_task(show())
    try:
        people = settings.people.read(limit=settings.limit, columns=settings.summary.columns)
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
