"""What no script notices: what expires or runs out soon, models that retire, rates that change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from pricing.offers import GrantKind
from runtime.archive.copier import Copier
from runtime.credits.endings import Settlement
from runtime.credits.results import Reserved
from runtime.redis.keys import Keys
from tests.harness.alerts import AlertBench, open_alert_bench

pytestmark = pytest.mark.asyncio(loop_scope="module")
TODAY = datetime.now(UTC).date()


def with_news(config: dict[str, Any]) -> None:
    """A model that retires in ten days, and rates that rise by half in five."""
    config["models"]["writer"]["retires_on"] = (TODAY + timedelta(10)).isoformat()
    (card,) = config["rate_cards"]
    rates = {name: {**each} for name, each in card["rates"].items()}
    rates["writer"]["output"] = rates["writer"]["output"] * 3 // 2
    config["rate_cards"].append(
        {
            "version": "next",
            "effective_from": (TODAY + timedelta(5)).isoformat(),
            "rates": rates,
        }
    )
    config["alerts"]["operator"] = {"emails": ["ops@example.com"]}
    config["alerts"]["forecast_days"] = 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Alerts of an account that used 70 credits today, and has 50 that expire and 20 that don't."""
    folder = tmp_path_factory.mktemp("ahead") / "data"
    async with open_alert_bench(folder, redis_server.url, "ahead", with_news) as bench:
        await bench.open_account(90_000)
        await bench.ledger.accounts.grant(
            bench.account,
            amount_mc=50_000,
            kind=GrantKind.PROMOTIONAL,
            priority=999,
            reference="soon",
            expires_at=datetime.now(UTC) + timedelta(days=3),
        )
        await charge(bench, 70_000)
        await archive(bench)
        await bench.contacts("ana@example.com")
        yield bench


async def charge(bench: AlertBench, amount_mc: int) -> None:
    attempt = bench.ledger.attempt(
        account_id=bench.account,
        execution_id=f"j-{amount_mc}",
        workspace_id="retail",
        campaign_id="welcome",
        person_id="p",
        action="route",
        source="live",
        action_version="v1",
        model="writer",
    )
    reserved = await bench.ledger.reserve(attempt, amount_mc, 60_000)
    assert isinstance(reserved, Reserved)
    await bench.ledger.settle(
        Settlement(
            attempt,
            cost_mc=amount_mc,
            reserved_mc=amount_mc,
            reserved_at_ms=reserved.reserved_at_ms,
            tokens="1,,,1",
            rate_card_version="v",
            outcome=b"{}",
        )
    )


async def archive(bench: AlertBench) -> None:
    keys = Keys(bench.config.redis.key_prefix)
    copier = Copier(await bench.store.database(), bench.client, keys, timeout_ms=1_000)
    await copier.run_once()


async def test_each_is_told_once_to_whom_it_concerns(told: AlertBench) -> None:
    for _ in range(2):
        await told.alerts.watch.run_once()
        await told.send()

    subjects = {
        who: sorted(m["Subject"].strip() for m in told.mailbox.mails if m["To"] == who)
        for who in ("ana@example.com", "ops@example.com")
    }
    retires = (TODAY + timedelta(10)).day
    changes = (TODAY + timedelta(5)).day
    expires, runs_out, retiring, rates = subjects["ana@example.com"]
    assert expires.startswith("50 credits expire on ")
    assert rates.startswith(f"The rates of model writer change on {changes} ")
    assert retiring.startswith(f"Model writer retires on {retires} ")
    assert runs_out.startswith("Credits run out on ")
    assert len(subjects["ops@example.com"]) == 2, "the models and the rates"
    assert {each.state for each in await told.listed()} == {"delivered"}


async def test_a_forecast_is_told_again_after_the_day_had_moved_away(told: AlertBench) -> None:
    await told.alerts.watch.run_once()
    await told.begin(told.account)
    accounts = told.ledger.accounts
    bought = await accounts.purchase(told.account, credits=100_000, payment_reference="much")
    await told.alerts.watch.run_once()
    await accounts.void(told.account, bought.grant_id, reference="back", reason="a test")
    await told.alerts.reader.run_once()
    await told.begin(told.account)

    for _ in range(2):
        await told.alerts.watch.run_once()

    events = [each.event for each in await told.listed()]
    assert events.count("credits.forecast") == 1
