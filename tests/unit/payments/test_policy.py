"""When a top-up is due, and how much is taken back: decided without SQL and Stripe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.offers import Pack
from runtime.payments.payment import Payment, State
from runtime.payments.top_up import (
    Stopped,
    TopUpSettings,
    affordable_packs,
    month_of,
    read_settings,
    wanted_packs,
)
from tests.harness.payments import payment_of

PACK = Pack(100_000, 1_000)
PACK_MC = 100_000_000
amounts = st.integers(1, 10**12)
settings = st.builds(
    TopUpSettings,
    enabled=st.booleans(),
    below_mc=amounts,
    target_mc=amounts,
    monthly_limit_cents=amounts,
    stopped=st.none() | st.builds(Stopped, st.text(max_size=9), amounts, st.none()),
)


@given(settings, st.integers(0, 10**12))
def test_a_top_up_brings_an_account_to_its_target_and_no_pack_further(
    wanted: TopUpSettings, left_mc: int
) -> None:
    wanted = replace(wanted, target_mc=wanted.below_mc + wanted.target_mc)
    packs = wanted_packs(wanted, left_mc, PACK)
    assert (packs > 0) == (left_mc <= wanted.below_mc)
    if packs:
        after_mc = left_mc + packs * PACK_MC
        assert after_mc >= wanted.target_mc > wanted.below_mc, "above the threshold again"
        assert after_mc - PACK_MC < wanted.target_mc


@given(settings, st.integers(1, 10**6), st.integers(0, 10**12))
def test_what_is_bought_stays_within_the_months_limit(
    found: TopUpSettings, wanted: int, spent_cents: int
) -> None:
    packs = affordable_packs(found, wanted, spent_cents, PACK)
    assert 0 <= packs <= wanted
    if packs:
        assert spent_cents + packs * PACK.price_cents <= found.monthly_limit_cents


@given(settings)
def test_settings_are_read_as_they_were_stored(found: TopUpSettings) -> None:
    assert read_settings(found.text()) == found


def test_settings_of_a_newer_release_are_read() -> None:
    assert read_settings('{"enabled":true,"color":"red"}') == TopUpSettings(enabled=True)


@given(st.integers(0, 3_000), st.integers(0, 3_000), st.integers(1, 50))
def test_no_more_is_due_than_the_payment_and_all_of_it_when_all_was_paid_back(
    refunded: int, disputed: int, packs: int
) -> None:
    payment: Payment = payment_of(packs, refunded_cents=refunded, disputed_cents=disputed)
    assert 0 <= payment.due_mc <= payment.amount_mc
    assert (payment.due_mc == payment.amount_mc) == (refunded + disputed >= payment.price_cents)
    # Rounded up by less than a millicredit.
    assert payment.due_mc * payment.price_cents >= payment.amount_mc * payment.back_cents
    assert payment.state_of_reversal in (State.CREDITED, State.REFUNDED, State.DISPUTED)


@pytest.mark.parametrize(
    "at_ms, zone, month",
    [
        (1_798_761_600_000, "UTC", "2027-01"),  # 2027-01-01T00:00:00Z
        (1_798_761_600_000, "America/New_York", "2026-12"),
        (1_798_761_599_999, "Europe/Berlin", "2027-01"),
    ],
)
def test_a_month_is_one_of_the_accounts_time_zone(at_ms: int, zone: str, month: str) -> None:
    name, since_ms = month_of(at_ms, zone)
    assert name == month
    assert month_of(since_ms, zone) == (month, since_ms)
    assert month_of(since_ms - 1, zone)[0] != month
