"""What an earlier release left in Redis and on disk is read whole, or refused by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from creditgate import ActionRuntime, ExecutionRequest, ExecutionResult
from fallback.reasons import FallbackReason
from runtime.actions.requests import Source
from runtime.config import parse_config
from runtime.credits.journal import Kind, Part, replay
from runtime.credits.results import (
    Alert,
    ExecutionConflict,
    Existing,
    LedgerError,
    LedgerUnavailable,
    ReferenceConflict,
    Settled,
)
from runtime.learning.sharing import Learning, Topic
from tests.harness.earlier_release import (
    DUMPED_AT_MS,
    EXPECTED,
    FIXTURE,
    GoodAnswer,
    LeftBehind,
    NoCall,
    action,
    ending,
    request,
    restore_release,
    told,
)
from tests.harness.ledger.desk import connect

ACCOUNTS: list[str] = list(EXPECTED["balances"])
FIRST: dict[str, Any] = EXPECTED["executions"][0]["request"]
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# The whole sentence, so that nobody changes what a user is told without deciding to.
NEWER_SCHEMA = (
    "{key}: schema 3 was written by a newer release, this one reads up to 2: run the newer "
    "release, or point redis.key_prefix elsewhere"
)
OTHER_BUCKETS = (
    "{key}: the data has 2048 buckets, this release reads 1024: run the release that wrote it, or "
    "point redis.key_prefix elsewhere"
)


@pytest_asyncio.fixture
async def left_behind(redis_url: str, key_prefix: str, tmp_path: Path) -> AsyncIterator[LeftBehind]:
    redis = connect(redis_url)
    try:
        yield await restore_release(redis, redis_url, key_prefix, tmp_path / "data")
    finally:
        await redis.aclose()
        await asyncio.sleep(0)  # closed transports say goodbye in the next turn of the loop


def test_data_is_looked_for_where_the_earlier_release_had_it() -> None:
    config = parse_config("version: 1\nplans: {growth: {ai_credits: true}}\n")

    assert config.redis.key_prefix == EXPECTED["key_prefix"]


async def finished(runtime: ActionRuntime, request: ExecutionRequest) -> ExecutionResult:
    """Execute, and insist that the id runs nowhere else."""
    result = await runtime.execute(request)
    assert isinstance(result, ExecutionResult)
    return result


async def test_every_balance_and_grant_is_as_it_was_and_conserved(left_behind: LeftBehind) -> None:
    async with left_behind.ledger() as ledger:
        for account_id in ACCOUNTS:
            balance = await ledger.accounts.balance(account_id)

            assert balance.conserved
            found = json.loads(json.dumps(asdict(balance)))
            assert found.pop("clock_ahead_ms") == 0  # which that release did not tell
            assert found == EXPECTED["balances"][account_id]


async def test_every_cap_holds_what_it_held(left_behind: LeftBehind) -> None:
    async with left_behind.ledger() as ledger:
        for account_id in ACCOUNTS:
            found = [
                {
                    "cap": str(status.cap),
                    "field": status.cap.field,
                    "limit_mc": status.limit_mc,
                    "charged_mc": status.charged_mc,
                    "reserved_mc": status.reserved_mc,
                    "resets_in_ms": status.resets_in_ms,
                }
                for status in await ledger.accounts.caps(account_id)
            ]
            assert found == EXPECTED["caps"][account_id]


@pytest.mark.parametrize("account_id", ACCOUNTS)
async def test_the_journal_is_read_to_its_head_and_adds_up_to_the_balance(
    left_behind: LeftBehind, account_id: str
) -> None:
    entries = await left_behind.journal(account_id)
    async with left_behind.ledger() as ledger:
        balance = await ledger.accounts.balance(account_id)

    last = entries[-1]
    assert {"epoch": last.epoch, "seq": last.seq, "chain": last.chain} == (
        EXPECTED["journals"][account_id]
    )
    books = replay(entries)
    assert (books.overage_mc, books.exposure_mc) == (balance.overage_mc, balance.exposure_mc)
    assert {
        grant_id: (
            grant.amount_mc,
            grant.parts_mc[Part.AVAILABLE],
            grant.parts_mc[Part.CHARGED],
            grant.parts_mc[Part.EXPIRED],
            grant.parts_mc[Part.VOIDED],
        )
        for grant_id, grant in books.grants.items()
    } == {
        grant.grant_id: (
            grant.amount_mc,
            grant.available_mc + grant.reserved_mc,
            grant.charged_mc,
            grant.expired_mc,
            grant.voided_mc,
        )
        for grant in balance.grants
    }


async def test_an_execution_asked_again_gets_its_first_outcome_without_a_call_or_a_charge(
    left_behind: LeftBehind,
) -> None:
    before = await left_behind.contents()
    async with left_behind.runtime(NoCall()) as runtime:
        for execution in EXPECTED["executions"]:
            result = await finished(runtime, request(execution["request"]))

            assert result.replayed
            assert told(result) == execution["result"]
    assert await left_behind.contents() == before


@pytest.mark.parametrize(
    "field, value",
    [
        ("workspace_id", "another"),
        ("campaign_id", "another"),
        ("person_id", "another"),
        ("source", Source.TEST),
    ],
)
async def test_an_id_that_is_reused_for_something_else_is_still_a_conflict(
    left_behind: LeftBehind, field: str, value: Any
) -> None:
    before = await left_behind.contents()
    async with left_behind.runtime(NoCall()) as runtime:
        with pytest.raises(ExecutionConflict, match=field):
            await finished(runtime, request(FIRST, **{field: value}))
    assert await left_behind.contents() == before


@pytest.mark.parametrize(
    "name, flags",
    [
        ("open", ()),
        ("open_under_caps", ()),
        ("of_voided_grant", ()),
        ("of_closed_account", ()),
        ("expired", ("late",)),
        ("earlier_of_two_attempts", ("late",)),
        ("later_of_two_attempts", ()),
    ],
)
async def test_a_reservation_of_the_earlier_release_is_settled_once(
    left_behind: LeftBehind, name: str, flags: tuple[str, ...]
) -> None:
    settlement = ending(name)
    account_id = settlement.attempt.account_id
    async with left_behind.ledger() as ledger:
        settled = await ledger.end(settlement)
        assert isinstance(settled, Settled)
        assert (settled.charged_mc, settled.overage_mc) == (settlement.cost_mc, 0)
        assert settled.flags == flags
        again = await ledger.end(settlement)
        assert isinstance(again, Settled)
        assert again.charged_mc == settled.charged_mc
        balance = await ledger.accounts.balance(account_id)

    assert balance.conserved
    before = EXPECTED["balances"][account_id]
    assert balance.charged_mc == before["charged_mc"] + settlement.cost_mc
    # All that was open ends but for an expired one: that had gone home before.
    assert balance.open_reservations == before["open_reservations"] - (name != "expired")
    head = EXPECTED["journals"][account_id]
    *known, last = await left_behind.journal(account_id)
    assert known[head["seq"] - 1].chain == head["chain"]
    assert (last.epoch, last.kind, last.flags) == (head["epoch"], Kind.SETTLED, flags)
    assert last.execution_key == settlement.attempt.execution_key


async def test_of_two_attempts_of_the_earlier_release_one_is_charged(
    left_behind: LeftBehind,
) -> None:
    first, second = ending("earlier_of_two_attempts"), ending("later_of_two_attempts")
    async with left_behind.ledger() as ledger:
        assert isinstance(await ledger.end(first), Settled)
        assert isinstance(await ledger.end(second), Existing)
        balance = await ledger.accounts.balance("stark")

    before = EXPECTED["balances"]["stark"]
    assert balance.charged_mc == before["charged_mc"] + first.cost_mc
    assert balance.exposure_mc == before["exposure_mc"] + second.cost_mc


async def test_what_was_counted_under_caps_is_settled_under_them(left_behind: LeftBehind) -> None:
    settlement = ending("open_under_caps")
    async with left_behind.ledger() as ledger:
        await ledger.end(settlement)
        day = {str(status.cap): status for status in await ledger.accounts.caps("acme")}["day"]

    (before,) = (cap for cap in EXPECTED["caps"]["acme"] if cap["cap"] == "day")
    assert day.charged_mc == before["charged_mc"] + settlement.cost_mc
    assert day.reserved_mc == before["reserved_mc"] - settlement.reserved_mc == 0


async def test_what_the_earlier_release_spooled_is_charged_once(left_behind: LeftBehind) -> None:
    before, spooled = EXPECTED["balances"]["stark"], EXPECTED["spooled"]
    files = [json.loads(path.read_bytes()) for path in (FIXTURE / "spool").glob("*.json")]
    exposure_mc = sum(file["exposure_mc"] for file in files)
    assert sorted(file["kind"] for file in files) == ["Release", "Settlement"]
    assert exposure_mc > 0

    for _ in range(2):  # the second time as if the folder had come back from a backup
        spool = left_behind.fill_spool()
        async with left_behind.runtime(NoCall()) as runtime:
            await left_behind.until_replayed()
            result = await finished(runtime, request(spooled["request"]))
            balance = await runtime.accounts.balance("stark")

        assert not list(spool.glob("dead/*"))
        assert result.replayed
        assert told(result) == spooled["result"]
        assert balance.conserved
        assert balance.charged_mc == before["charged_mc"] + spooled["result"]["charged_mc"]
        assert balance.exposure_mc == before["exposure_mc"] + exposure_mc
        assert balance.open_reservations == before["open_reservations"] - 2
        await left_behind.journal("stark")


async def test_what_was_learned_of_answers_is_known(left_behind: LeftBehind) -> None:
    expected, spec = EXPECTED["learned"], action()
    learning = Learning(left_behind.redis, left_behind.keys, timeout_ms=1_000)

    history = await learning.history(Topic(spec.id, spec.version, "writer"))

    assert spec.version == expected["version"]
    assert (history.answers, history.charged) == (expected["answers"], expected["charged"])
    assert history.quantile(0.5) == expected["median_tokens"]
    assert history.quantile(0.995) == expected["quantile_995_tokens"]
    assert history.output_tokens_to_reserve() == expected["to_reserve_tokens"]


async def test_references_of_the_earlier_release_change_nothing_twice(
    left_behind: LeftBehind,
) -> None:
    before = await left_behind.contents()
    async with left_behind.ledger() as ledger:
        again = await ledger.accounts.purchase(
            "acme", credits=100_000, payment_reference="payment-1"
        )
        assert not again.new
        with pytest.raises(ReferenceConflict):
            await ledger.accounts.purchase("acme", credits=200_000, payment_reference="payment-1")
        assert not await ledger.accounts.open_account(
            "acme", plan="growth", timezone="Europe/Berlin", paying_since=date(2096, 9, 20)
        )
        voided = await ledger.accounts.void(
            "acme", "g6", reference="void-mistake", reason="typed twice"
        )
        assert (voided.new, voided.amount_mc) == (False, 9_000)
    assert await left_behind.contents() == before


async def test_new_executions_go_on_where_the_earlier_release_stopped(
    left_behind: LeftBehind,
) -> None:
    def new(number: int, workspace_id: str) -> ExecutionRequest:
        execution_id = f"journey-later:route:{number}"
        return request(FIRST, execution_id=execution_id, workspace_id=workspace_id)

    async with left_behind.runtime(GoodAnswer()) as runtime:
        capped = await finished(runtime, new(1, "retail"))
        switched_off = await finished(runtime, new(2, "wholesale"))
        result = await finished(runtime, new(3, "outlet"))
        balance = await runtime.accounts.balance("acme")

    assert capped.origins["reply"].reason is FallbackReason.CAP_REACHED
    assert switched_off.origins["reply"].reason is FallbackReason.SWITCHED_OFF
    assert (result.status, result.charged_mc) == ("model", 300)
    assert balance.conserved
    assert balance.charged_mc == EXPECTED["balances"]["acme"]["charged_mc"] + 300
    head = EXPECTED["journals"]["acme"]
    entries = await left_behind.journal("acme")
    assert entries[head["seq"] - 1].chain == head["chain"]
    assert entries[-1].kind is Kind.SETTLED
    assert entries[-1].dimensions is not None
    assert entries[-1].dimensions.workspace == "outlet"


async def test_time_ends_what_the_earlier_release_left_open(left_behind: LeftBehind) -> None:
    before = EXPECTED["balances"]["stark"]
    later = left_behind.ledger_at(DUMPED_AT_MS + 3 * HOUR_MS, [])
    stark = await later.accounts.balance("stark")

    assert stark.conserved
    assert (stark.reserved_mc, stark.open_reservations) == (0, 0)
    assert stark.voided_mc == before["voided_mc"] + 1_000
    assert stark.available_mc == before["available_mc"] + before["reserved_mc"] - 1_000

    (promotional,) = (grant for grant in stark.grants if grant.grant_id == "g1")
    six_days_on = left_behind.ledger_at(DUMPED_AT_MS + 6 * DAY_MS, [])
    stark = await six_days_on.accounts.balance("stark")
    assert stark.expired_mc == promotional.available_mc > 0
    caps = {
        str(status.cap): status.charged_mc for status in await six_days_on.accounts.caps("acme")
    }
    assert (caps["day"], caps["day;workspace_id=retail"]) == (0, 0)
    assert caps["month;campaign_id=welcome"] > 0
    assert caps["total;source=preview"] > 0


async def test_an_alert_that_waited_for_its_cool_down_is_told(left_behind: LeftBehind) -> None:
    alerts: list[Alert] = []
    ledger = left_behind.ledger_at(DUMPED_AT_MS + HOUR_MS, alerts)
    attempt = ledger.attempt(
        account_id="globex",
        execution_id="journey-new:route:1",
        workspace_id="retail",
        campaign_id="spring",
        person_id="person-1",
        action="route",
        source="live",
    )

    assert await ledger.conclude(attempt, FallbackReason.DEADLINE_EXCEEDED) is None

    assert [(alert.account_id, alert.mark) for alert in alerts] == [("globex", "p20")]


async def test_an_account_of_a_newer_schema_is_refused_by_its_number_and_left_as_it_is(
    left_behind: LeftBehind,
) -> None:
    key = left_behind.key("acme", "account")
    await left_behind.redis.hset(key, "schema", 3)
    before = await left_behind.contents()

    async with left_behind.runtime(NoCall()) as runtime, left_behind.ledger() as ledger:
        for verb in (
            runtime.accounts.balance("acme"),
            ledger.end(ending("open_under_caps")),
            runtime.accounts.purchase("acme", credits=100_000, payment_reference="payment-2"),
        ):
            with pytest.raises(LedgerUnavailable) as refused:
                await verb
            assert str(refused.value) == NEWER_SCHEMA.format(key=key)
        result = await finished(runtime, request(FIRST))
        assert result.origins["reply"].reason is FallbackReason.LEDGER_UNAVAILABLE
        assert (await runtime.accounts.balance("stark")).conserved

    assert await left_behind.contents() == before


async def test_an_installation_of_another_format_is_refused_at_start(
    left_behind: LeftBehind,
) -> None:
    name = left_behind.keys.installation
    await left_behind.redis.hset(name, "buckets", "2048")
    before = await left_behind.contents()

    with pytest.raises(LedgerError) as refused:
        async with left_behind.runtime(NoCall()):
            pass

    assert str(refused.value) == OTHER_BUCKETS.format(key=name)
    assert await left_behind.contents() == before


async def test_data_of_another_installation_key_is_refused_at_start(
    left_behind: LeftBehind,
) -> None:
    (left_behind.config.data_dir / "installation.key").write_text("another key, as long as it has")

    with pytest.raises(LedgerError, match="another installation key"):
        async with left_behind.runtime(NoCall()):
            pass
