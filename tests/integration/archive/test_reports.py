"""Reports say what the ledger said, whenever it is asked about, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL

from runtime.archive.copier import Copier
from runtime.archive.reports import Reports
from runtime.archive.usage import BY
from runtime.config import Config
from runtime.credits.results import Balance
from runtime.store.database import Database, open_database
from tests.harness import configs
from tests.harness.histories import DAY_MS, MINUTE_MS, Ended, History, live
from tests.harness.ledger.desk import Desk, open_desk
from tests.harness.ledger.dice import Dice
from tests.harness.ledger.instants import ZONES

CLASSES = {"writer": "quick", "thinker": "reasoning"}
QUARTER_MS = 15 * MINUTE_MS


def config() -> Config:
    models = {
        name: {"litellm_model": "openai/x", "endpoint": "mock", "class": of}
        for name, of in CLASSES.items()
    }
    data = configs.changed("models", models)
    data["rate_cards"][0]["rates"] = {name: {"input": 1000, "output": 2000} for name in CLASSES}
    return configs.load(data)


class Stage:
    """A ledger and its archive, for one history after another."""

    def __init__(self, desk: Desk, database: Database) -> None:
        self.desk = desk
        self.copier = Copier(database, desk.client, desk.keys, timeout_ms=10_000)
        self.reports = Reports(database, config(), lambda: desk.now_ms)
        self._names = (f"account-{number}" for number in count(1))

    async def live(self, dice: Dice, steps: int) -> History:
        return await live(self.desk, next(self._names), dice, steps, self.archive)

    async def archive(self) -> None:
        archived = await self.copier.run_once()
        assert archived.left == {}


@contextmanager
def stage_of(runner: asyncio.Runner, redis_url: str, prefix: str, url: URL) -> Iterator[Stage]:
    stack = AsyncExitStack()

    async def enter() -> Stage:
        desk = await stack.enter_async_context(open_desk(redis_url, prefix))
        return Stage(desk, await stack.enter_async_context(open_database(url)))

    try:
        yield runner.run(enter())
    finally:
        runner.run(stack.aclose())


def key_of(ended: Ended, by: str, zone: ZoneInfo) -> str:
    happened = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ended.at_ms)).astimezone(
        zone
    )
    keys: dict[str, str] = {
        "day": f"{happened:%Y-%m-%d}",
        "month": f"{happened:%Y-%m}",
        "class": CLASSES[ended.dimensions.model],
        "outcome": ended.outcome,
        "reason": ended.reason,
        **ended.dimensions._asdict(),
    }
    return keys[by]


async def check_usage(stage: Stage, history: History, dice: Dice) -> None:
    """Compare the sums of a random window, by random dimensions, with what the ledger said."""
    instants = [ended.at_ms for ended in history.ended] + list(history.balances)
    around = dice.pick(sorted(instants))
    from_ms, to_ms = (
        dice.pick((instant, instant // QUARTER_MS * QUARTER_MS, instant // DAY_MS * DAY_MS))
        for instant in (around, around + dice.pick((1, MINUTE_MS, QUARTER_MS, DAY_MS, 40 * DAY_MS)))
    )
    by = sorted({dice.pick(BY) for _ in range(dice.below(4))})
    timezone = dice.pick((None, *ZONES))
    to_ms = min(max(to_ms, from_ms + 1), stage.desk.now_ms + 1)
    report = await stage.reports.usage(
        history.account_id, by=by, from_ms=from_ms, to_ms=to_ms, timezone=timezone
    )
    assert timezone is None or report.timezone == timezone
    charged_mc, executions = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    zone = ZoneInfo(report.timezone)
    for ended in history.ended:
        if from_ms <= ended.at_ms < to_ms:
            key = tuple(key_of(ended, name, zone) for name in by)
            charged_mc[key] += ended.charged_mc
            executions[key] += 1
    found = {row.keys: row.sums.charged_mc for row in report.rows if row.sums.charged_mc}
    assert found == {key: amount for key, amount in charged_mc.items() if amount}
    assert report.total.charged_mc == charged_mc.total()
    if "outcome" in by:  # expired reservations are counted too, but are no answer of the ledger
        at = by.index("outcome")
        found = {row.keys: row.sums.executions for row in report.rows if row.sums.executions}
        assert executions == {
            key: number for key, number in found.items() if key[at] in ("answered", "fell_back")
        }


def parts(balance: Balance) -> dict[str, tuple[int, ...]]:
    return {
        grant.grant_id: (
            grant.amount_mc,
            grant.available_mc + grant.reserved_mc,
            grant.charged_mc,
            grant.expired_mc,
            grant.voided_mc,
        )
        for grant in balance.grants
    }


async def check_balance(stage: Stage, history: History, at_ms: int) -> None:
    said = history.balances[at_ms]
    found = await stage.reports.balance_at(history.account_id, at_ms)
    assert {
        grant.grant_id: (
            grant.amount_mc,
            grant.left_mc,
            grant.charged_mc,
            grant.expired_mc,
            grant.voided_mc,
        )
        for grant in found.grants
    } == parts(said)
    assert (
        found.granted_mc,
        found.left_mc,
        found.charged_mc,
        found.expired_mc,
        found.voided_mc,
    ) == (
        said.granted_mc,
        said.available_mc + said.reserved_mc,
        said.charged_mc,
        said.expired_mc,
        said.voided_mc,
    )


def check_histories(
    redis_url: str, prefix: str, url: URL, *, examples: int, steps: int, questions: int
) -> None:
    with asyncio.Runner() as runner, stage_of(runner, redis_url, prefix, url) as stage:

        async def check(drawn: bytes, asked: Sequence[bytes]) -> None:
            history = await stage.live(Dice(drawn), steps)
            for dice in map(Dice, asked):
                await check_usage(stage, history, dice)
                await check_balance(stage, history, dice.pick(sorted(history.balances)))

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(
            st.binary(min_size=6 * steps, max_size=6 * steps),
            st.lists(st.binary(min_size=16, max_size=16), min_size=questions, max_size=questions),
        )
        def run(drawn: bytes, asked: Sequence[bytes]) -> None:
            runner.run(check(drawn, asked))

        run()


def test_usage_and_past_balances_are_the_ledger_s(
    redis_url: str, key_prefix: str, archive_url: URL
) -> None:
    check_histories(redis_url, key_prefix, archive_url, examples=8, steps=30, questions=8)


@pytest.mark.long
def test_usage_and_past_balances_are_the_ledger_s_in_many_histories(
    redis_url: str, key_prefix: str, archive_url: URL
) -> None:
    check_histories(redis_url, key_prefix, archive_url, examples=60, steps=60, questions=12)
