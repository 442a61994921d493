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
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL

from fallback.reasons import FallbackReason
from runtime.archive.copier import Copier
from runtime.archive.errors import NotArchived
from runtime.archive.reports import Reports
from runtime.archive.usage import BY
from runtime.config import Config
from runtime.credits.clock import own_clock_ms
from runtime.credits.endings import Release
from runtime.credits.results import Balance
from runtime.redis.keys import Keys
from runtime.store.database import Database, open_database
from tests.harness import configs
from tests.harness.archive import fill
from tests.harness.histories import DAY_MS, MINUTE_MS, Ended, History, live
from tests.harness.ledger.desk import ACCOUNT, Desk, connect, make_ledger, open_desk
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
            # A smaller history says no more, and takes minutes to find.
            phases=[Phase.generate],
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
    check_histories(redis_url, key_prefix, archive_url, examples=4, steps=30, questions=10)


@pytest.mark.long
def test_usage_and_past_balances_are_the_ledger_s_in_many_histories(
    redis_url: str, key_prefix: str, archive_url: URL
) -> None:
    check_histories(redis_url, key_prefix, archive_url, examples=40, steps=60, questions=12)


@pytest.fixture
def reports_of(database: Database, desk: Desk) -> Stage:
    """A ledger, its archive and reports."""
    return Stage(desk, database)


async def test_an_expiry_that_nothing_has_written_yet_is_in_the_balance(reports_of: Stage) -> None:
    desk = reports_of.desk
    await desk.open(700)
    await desk.grant(300, expires_in_ms=10_000)
    await desk.spend(50)
    await reports_of.archive()
    opened_ms = desk.now_ms
    for passed_ms, left_mc, expired_mc in ((0, 950, 0), (9_999, 950, 0), (10_000, 700, 250)):
        await desk.set_clock(opened_ms + passed_ms)
        said = await desk.balance()
        found = await reports_of.reports.balance_at(ACCOUNT, desk.now_ms)
        assert (found.left_mc, found.expired_mc) == (left_mc, expired_mc)
        assert (said.available_mc, said.expired_mc) == (left_mc, expired_mc)
        assert found.complete_to_ms == (opened_ms if passed_ms else None)
    entries = await desk.journal()
    assert "grant_expired" not in [entry.kind for entry in entries]


async def test_what_expired_counts_from_then_on_though_it_was_written_later(
    reports_of: Stage,
) -> None:
    desk = reports_of.desk
    await desk.open()
    begun_ms = desk.now_ms
    await desk.grant(500, expires_in_ms=3_000)
    await desk.reserve(200, ttl_ms=5_000)
    await desk.pass_time(60_000)
    await desk.write_what_is_due()
    await reports_of.archive()
    for passed_ms, left_mc in ((2_999, 500), (3_000, 200), (4_999, 200), (5_000, 0), (60_000, 0)):
        found = await reports_of.reports.balance_at(ACCOUNT, begun_ms + passed_ms)
        assert (found.left_mc, found.expired_mc) == (left_mc, 500 - left_mc), passed_ms


async def test_actions_are_measured_by_version_and_model(reports_of: Stage) -> None:
    desk = reports_of.desk
    version = config().actions["greet"].version
    await desk.open(100_000)
    begun_ms = desk.now_ms
    for number in range(20):
        attempt = desk.attempt(action="greet", action_version=version)
        _, reserved = await desk.reserve(1_000, attempt)
        await desk.pass_time(100 if number < 15 else 2_000)
        reason = FallbackReason.OUTPUT_INVALID if number == 0 else None
        await desk.settle(attempt, reserved, 300, reason=reason, choices=((0, number % 2),))
    for number in range(3):
        other = desk.attempt(action="greet", action_version=version, model="thinker")
        await desk.reserve(1_000, other)
        await desk.ledger.release(Release(other, reason=FallbackReason.PROVIDER_ERROR))
        if number == 0:
            await desk.ledger.reserve(desk.attempt(action="greet"), 10**9, 1, final=True)
    await reports_of.archive()
    await desk.pass_time(1)
    report = await reports_of.reports.performance(ACCOUNT, from_ms=begun_ms)
    by_key = {(one.action_version, one.model): one for one in report.actions}
    assert set(by_key) == {(version, "writer"), (version, "thinker"), ("v1", "writer")}
    answered = by_key[version, "writer"]
    assert (answered.runs, answered.answered, answered.fell_back) == (20, 19, {"output_invalid": 1})
    assert answered.charged_mc_per_answer == 20 * 300 / 19
    assert answered.latency_p50_ms == pytest.approx(100, rel=0.05)
    assert answered.latency_p95_ms == pytest.approx(2_000, rel=0.05)
    assert [(one.option, one.count, one.output_name) for one in answered.options] == [
        (0, 10, "text"),
        (1, 10, "text"),
    ]
    assert by_key[version, "thinker"].fell_back == {"provider_error": 3}
    assert by_key[version, "thinker"].charged_mc_per_answer is None
    assert by_key["v1", "writer"].fell_back == {"execution_too_large": 1}
    # Parts of a day are read from entries, and say the same.
    half = await reports_of.reports.performance(
        ACCOUNT, from_ms=begun_ms, to_ms=begun_ms + 15 * 100 + 1
    )
    rest = await reports_of.reports.performance(ACCOUNT, from_ms=half.to_ms)
    parts = [one for each in (half, rest) for one in each.actions if one.options]
    assert [one.runs for one in parts] == [15, 5]
    assert sum(count.count for one in parts for count in one.options) == 20
    assert parts[0].latency_p95_ms == pytest.approx(100, rel=0.05)


async def test_a_report_says_up_to_when_it_is_complete(reports_of: Stage) -> None:
    desk = reports_of.desk
    await desk.open(1_000)
    await desk.spend(10)
    await reports_of.archive()
    last_ms = desk.now_ms
    await desk.pass_time(5_000)
    await desk.spend(20)
    report = await reports_of.reports.usage(ACCOUNT, from_ms=0)
    assert (report.total.charged_mc, report.complete_to_ms) == (10, last_ms)
    within = await reports_of.reports.usage(ACCOUNT, from_ms=0, to_ms=last_ms)
    assert (within.total.charged_mc, within.complete_to_ms) == (0, None)
    await reports_of.archive()
    report = await reports_of.reports.usage(ACCOUNT, from_ms=0, to_ms=desk.now_ms)
    assert report.complete_to_ms is None


async def test_a_quiet_account_is_complete_up_to_when_an_archiver_looked(
    database: Database, redis_url: str, key_prefix: str
) -> None:
    client = connect(redis_url)
    ledger = make_ledger(client, key_prefix)
    await fill(ledger, ACCOUNT, 1)
    copier = Copier(database, client, Keys(key_prefix), timeout_ms=10_000)
    await copier.run_once()
    begun_ms = own_clock_ms()
    await asyncio.sleep(0.02)
    await Copier(database, client, Keys(key_prefix), timeout_ms=10_000).run_once()
    report = await Reports(database, config()).usage(ACCOUNT, from_ms=0, to_ms=begun_ms)
    assert (report.complete_to_ms, report.total.executions) == (None, 1)
    await client.aclose()


async def test_what_can_t_be_reported_is_refused(reports_of: Stage) -> None:
    desk, reports = reports_of.desk, reports_of.reports
    await desk.open(1)
    await reports_of.archive()
    now_ms = desk.now_ms
    for asked, why in (
        (reports.usage(ACCOUNT, by=["person"], from_ms=0), "by: found 'person'"),
        (reports.usage(ACCOUNT, from_ms=5, to_ms=5), "to_ms: 5 is not after"),
        (reports.usage(ACCOUNT, from_ms=now_ms + 1), "is in the future"),
        (reports.performance(ACCOUNT, from_ms=9, to_ms=8), "to_ms: 8 is not after"),
        (reports.usage(ACCOUNT, from_ms=0, timezone="Mars/X"), "Mars/X"),
        (reports.balance_at(ACCOUNT, now_ms + 1), "is in the future"),
    ):
        with pytest.raises(ValueError, match=why):
            await asked
    with pytest.raises(NotArchived, match="no account 'nobody'"):
        await reports.usage("nobody", from_ms=0)
    with pytest.raises(NotArchived, match="was opened later"):
        await reports.balance_at(ACCOUNT, now_ms - 1)
