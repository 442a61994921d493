"""Laws 7 and 11: accounts, grants and amounts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC, GrantKind, Offer, PurchaseRefused
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.checks import expires_ms
from runtime.credits.journal import Kind, Part, replay, verify
from runtime.credits.ledger import LedgerSettings
from runtime.credits.results import (
    AccountConflict,
    AccountUnknown,
    GrantRefused,
    LedgerError,
    ReferenceConflict,
    Settled,
)
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk, instant


async def test_an_account_is_opened_once(desk: Desk) -> None:
    assert await desk.ledger.accounts.open_account(ACCOUNT, plan="growth", timezone="Europe/Riga")
    before = await desk.state()

    assert not await desk.ledger.accounts.open_account(
        ACCOUNT, plan="growth", timezone="Europe/Riga"
    )

    assert await desk.state() == before


@pytest.mark.parametrize(
    "field, change", [("plan", {"plan": "trial"}), ("timezone", {"timezone": "Asia/Tokyo"})]
)
async def test_an_account_is_not_opened_again_as_something_else(
    desk: Desk, field: str, change: dict[str, Any]
) -> None:
    await desk.open(100)
    before = await desk.state()

    with pytest.raises(AccountConflict, match=field):
        await desk.ledger.accounts.open_account(ACCOUNT, **({"plan": "growth"} | change))

    assert await desk.state() == before


async def test_law_11a_a_missing_balance_is_an_error_not_zero(desk: Desk) -> None:
    with pytest.raises(AccountUnknown, match="'nobody' is unknown"):
        await desk.ledger.accounts.balance("nobody")
    with pytest.raises(AccountUnknown):
        await desk.grant(100, account_id="nobody")
    assert await desk.names("*nobody*") == []


@pytest.mark.parametrize("account_id", ["", "a" * 65, "a:b", "a{b}", "ä", "a b", "a\n", "../x"])
async def test_an_account_id_that_could_leave_its_keys_is_refused_before_redis(
    desk: Desk, account_id: str
) -> None:
    for call in (
        desk.ledger.accounts.open_account(account_id, plan="growth"),
        desk.grant(1, account_id=account_id),
        desk.ledger.accounts.balance(account_id),
    ):
        with pytest.raises(ValueError, match="account_id"):
            await call
    with pytest.raises(ValueError, match="account_id"):
        desk.attempt(account_id=account_id)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"plan": "platinum"}, "plan: found 'platinum', allowed are: growth, trial"),
        ({"plan": "growth", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"plan": "growth", "actor": "line\nbreak"}, "actor"),
    ],
)
async def test_an_account_with_a_wrong_attribute_is_refused_by_name(
    desk: Desk, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await desk.ledger.accounts.open_account(ACCOUNT, **arguments)


async def test_law_3d_a_grant_is_given_once_per_reference(desk: Desk) -> None:
    await desk.open()
    first = await desk.grant(500, reference="payment-1")
    before = await desk.state()

    again = await desk.grant(500, reference="payment-1")

    assert (first.grant_id, first.new, first.available_mc) == ("g1", True, 500)
    assert (again.grant_id, again.new, again.available_mc) == ("g1", False, 500)
    assert await desk.state() == before


async def test_law_3d_a_replayed_reference_is_known_after_its_grant_is_used_up(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.grant(500, reference="payment-1")
    await desk.spend(500)

    again = await desk.grant(500, reference="payment-1")

    assert not again.new
    assert (await desk.balance()).granted_mc == 500


@pytest.mark.parametrize(
    "field, change",
    [("amount_mc", {"amount_mc": 501}), ("kind", {"kind": GrantKind.ADJUSTMENT})],
)
async def test_law_3d_a_reference_reused_for_something_else_is_refused_naming_the_field(
    desk: Desk, field: str, change: dict[str, object]
) -> None:
    await desk.open()
    await desk.grant(500, reference="payment-1")
    before = await desk.state()
    terms: dict[str, object] = {
        "amount_mc": 500,
        "kind": GrantKind.PROMOTIONAL,
        "reference": "payment-1",
    }

    with pytest.raises(ReferenceConflict, match=f"{field}.*(500|promotional)"):
        await desk.ledger.accounts.grant(ACCOUNT, **(terms | change))  # type: ignore[arg-type]  # merged

    assert await desk.state() == before


async def test_a_trial_account_is_given_and_sold_nothing(desk: Desk) -> None:
    await desk.ledger.accounts.open_account(ACCOUNT, plan="trial")
    before = await desk.state()

    for call in (
        desk.grant(100),
        desk.ledger.accounts.purchase(ACCOUNT, credits=100_000, payment_reference="payment-1"),
    ):
        with pytest.raises(GrantRefused) as refused:
            await call
        assert refused.value.reason is FallbackReason.PLAN_NOT_ELIGIBLE
    assert await desk.state() == before


async def test_law_3d_a_purchase_credits_once_and_only_whole_packs(desk: Desk) -> None:
    await desk.open()
    bought = await desk.ledger.accounts.purchase(
        ACCOUNT, credits=200_000, payment_reference="payment-1"
    )
    again = await desk.ledger.accounts.purchase(
        ACCOUNT, credits=200_000, payment_reference="payment-1"
    )

    assert (bought.available_mc, bought.new, again.new) == (200_000_000, True, False)
    (grant,) = (await desk.balance()).grants
    assert (grant.kind, grant.expires_at, grant.reference) == (
        GrantKind.PURCHASED,
        None,
        "payment-1",
    )
    with pytest.raises(PurchaseRefused):
        await desk.ledger.accounts.purchase(ACCOUNT, credits=150_000, payment_reference="payment-2")


@pytest.mark.parametrize(
    "paying_since, granted, expires_at",
    [
        (date(2026, 1, 1), True, datetime(2026, 7, 8, tzinfo=UTC)),
        (date(2026, 4, 8), True, datetime(2026, 7, 8, tzinfo=UTC)),
        (date(2026, 6, 15), True, datetime(2026, 9, 14, tzinfo=UTC)),
        (date(2026, 7, 1), False, None),
    ],
)
async def test_law_5a_opening_an_account_gives_it_its_offers_once(
    open_desk: OpenDesk, paying_since: date, granted: bool, expires_at: datetime | None
) -> None:
    introductory = Offer(
        "introductory",
        GrantKind.INTRODUCTORY,
        100_000_000,
        paying_from=date(2026, 4, 8),
        paying_until=date(2026, 6, 30),
        expires_after_days=90,
    )
    async with open_desk(offers=[introductory]) as desk:
        await desk.set_clock(expires_ms(datetime(2026, 4, 1, tzinfo=UTC)))
        for _ in range(2):
            await desk.ledger.accounts.open_account(
                ACCOUNT, plan="growth", paying_since=paying_since
            )

        grants = (await desk.balance()).grants

        assert [grant.expires_at for grant in grants] == ([expires_at] if granted else [])


async def test_an_offer_that_ended_before_the_account_came_is_granted_and_expired_at_once(
    desk: Desk,
) -> None:
    await desk.open(100)

    granted = await desk.grant(50, expires_in_ms=0)

    assert granted.available_mc == 100
    balance = await desk.balance()
    assert (balance.granted_mc, balance.expired_mc) == (150, 50)
    assert [entry.kind for entry in (await desk.journal())[-2:]] == ["granted", "grant_expired"]


async def test_a_kind_and_a_window_may_be_given_as_text(desk: Desk) -> None:
    accounts = desk.ledger.accounts
    await desk.open()

    await accounts.grant("acme", amount_mc=7, kind="promotional", reference="spring")
    await accounts.set_cap("acme", Cap("day"), limit_mc=5, reference="cap-1")

    [grant] = (await accounts.balance("acme")).grants
    assert (grant.kind, grant.priority) == (GrantKind.PROMOTIONAL, 20)
    [status] = await accounts.caps("acme")
    assert status.cap == Cap(CapWindow.DAY)


async def test_a_kind_or_window_that_does_not_exist_is_refused_with_those_that_do(
    desk: Desk,
) -> None:
    await desk.open()
    before = await desk.state()

    kinds = "kind: found 'gift', allowed are introductory, promotional, plan, purchased, adjustment"
    with pytest.raises(ValueError, match=kinds):
        await desk.ledger.accounts.grant(
            "acme",
            amount_mc=7,
            kind="gift",  # type: ignore[arg-type]  # that is the point
            reference="spring",
        )
    with pytest.raises(ValueError, match="window: found 'week', allowed are day, month, total"):
        Cap("week")  # type: ignore[arg-type]  # that is the point

    assert await desk.state() == before


# Amounts


@pytest.mark.parametrize("amount_mc", [0, -1, MAX_MC + 1, 1.5, True, "7"])
async def test_law_7a_an_amount_that_is_not_one_is_refused_before_redis(
    desk: Desk, amount_mc: object
) -> None:
    await desk.open()
    before = await desk.state()

    with pytest.raises((ValueError, TypeError), match="amount_mc"):
        await desk.grant(amount_mc)  # type: ignore[arg-type]  # that is the point

    assert await desk.state() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"cost_mc": -1},
        {"cost_mc": MAX_MC + 1},
        {"cost_mc": 1.0},
        {"reserved_mc": None},
        {"reserved_at_ms": -5},
        {"exposure_mc": MAX_MC + 1},
        {"tokens": "1\t2"},
        {"rate_card_version": "2026\n01"},
        {"flags": ("a\tb",)},
    ],
)
async def test_law_7a_a_settlement_with_a_wrong_column_is_refused_before_redis(
    desk: Desk, wrong: dict[str, object]
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(1_000)
    before = await desk.state()
    arguments: dict[str, Any] = {"cost_mc": 5} | wrong

    with pytest.raises(ValueError, match="|".join(wrong)):
        await desk.settle(attempt, reserved, **arguments)

    assert await desk.state() == before


@pytest.mark.parametrize("amount_mc, ttl_ms", [(-1, 1_000), (MAX_MC + 1, 1_000), (5, 0)])
async def test_law_7a_a_reservation_with_a_wrong_amount_or_interval_is_refused_before_redis(
    desk: Desk, amount_mc: int, ttl_ms: int
) -> None:
    await desk.open(1_000)

    with pytest.raises(ValueError, match=r"amount_mc|ttl_ms"):
        await desk.ledger.reserve(desk.attempt(), amount_mc, ttl_ms)


async def test_law_7a_the_largest_amount_is_exact_from_end_to_end(desk: Desk) -> None:
    await desk.open(MAX_MC)
    attempt, reserved = await desk.reserve(MAX_MC)
    assert (reserved.amount_mc, reserved.available_mc) == (MAX_MC, 0)

    assert await desk.settle(attempt, reserved, MAX_MC - 1) == Settled(MAX_MC - 1, 0, 1, ())

    balance = await desk.balance()
    assert (balance.granted_mc, balance.charged_mc, balance.available_mc) == (MAX_MC, MAX_MC - 1, 1)
    entries = await desk.journal()
    verify(entries)
    assert replay(entries).grants["g1"].parts_mc[Part.CHARGED] == MAX_MC - 1
    again = await desk.ledger.reserve(desk.attempt(attempt.execution_id), 1, 1_000)
    assert again.charged_mc == MAX_MC - 1  # type: ignore[union-attr]  # an Existing


async def test_law_7a_grants_that_together_exceed_the_largest_amount_are_refused(
    desk: Desk,
) -> None:
    await desk.open(MAX_MC - 10)
    before = await desk.state()

    with pytest.raises(LedgerError, match=f"was granted {MAX_MC - 10} mc so far"):
        await desk.grant(11)

    assert await desk.state() == before
    await desk.grant(10)
    assert (await desk.balance()).granted_mc == MAX_MC


async def test_law_7a_sums_beside_the_balance_stop_at_the_largest_amount_and_stop_nobody(
    desk: Desk,
) -> None:
    await desk.open(100)
    for _ in range(3):
        attempt, reserved = await desk.reserve(0)
        await desk.settle(attempt, reserved, MAX_MC, exposure_mc=MAX_MC)

    balance = await desk.balance()

    assert (balance.overage_mc, balance.exposure_mc) == (MAX_MC, MAX_MC)
    assert balance.charged_mc == 100


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(
        min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - the zone comes with `timezones`
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
    )
)
def test_law_8a_an_expiry_is_kept_to_the_millisecond_and_never_early(at: datetime) -> None:
    kept = instant(expires_ms(at))

    assert timedelta(0) <= kept - at < timedelta(milliseconds=1)


@pytest.mark.parametrize("mark", ["", "20", "p0", "p100", "a0", "x5", "p20,p10", f"a{MAX_MC + 1}"])
def test_an_alert_mark_that_is_none_is_refused_by_name(mark: str) -> None:
    with pytest.raises(ValueError, match="low_marks"):
        LedgerSettings(low_marks=(mark,))


async def test_every_grant_is_journaled_with_who_and_what(desk: Desk) -> None:
    await desk.open()
    await desk.grant(
        500, kind=GrantKind.ADJUSTMENT, reference="for execution 7 ☹ sorry", actor="csm@example.com"
    )

    opened, granted = await desk.journal()

    assert (opened.kind, opened.detail) == (Kind.OPENED, ("growth", "1", "UTC"))
    assert (granted.actor, granted.reference) == ("csm@example.com", "for execution 7 ☹ sorry")
    assert granted.detail == ("adjustment", "40", "0")
