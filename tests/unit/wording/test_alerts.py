"""What alerts say: how much, until when, what then, where to buy."""

from __future__ import annotations

from datetime import date

import pytest

from runtime.wording import alerts
from runtime.wording.alerts import Outlook

BUY = "https://app.example.com/billing"
# 3 December 2026, 23:30 in UTC; it is the 4th in Berlin.
NIGHT_MS = 1_796_340_600_000


def test_a_low_balance_says_how_long_it_lasts_and_what_comes_then() -> None:
    outlook = Outlook(12_345_678, "UTC", 2_000_400, NIGHT_MS)
    subject, paragraphs = alerts.low_text("acme", "p20", 20_000_000, outlook, BUY)
    assert subject == "12,345.678 credits left"
    first, rate, then, buy = paragraphs
    assert "20,000 credits (20% of what the last top-up left)" in first
    assert rate == (
        "In the last 7 days, about 2,000 credits a day were used. At this rate they run out on "
        "3 December 2026."
    )
    assert "fallback values" in then
    assert buy == f"Buy credits: {BUY}"


def test_days_are_those_of_the_account() -> None:
    assert alerts.day_text(NIGHT_MS, "Europe/Berlin") == "4 December 2026"
    assert alerts.day_text(NIGHT_MS, "no/such zone") == "3 December 2026"
    assert alerts.date_text(date(2026, 5, 1)) == "1 May 2026"


def test_without_a_rate_nothing_is_said_of_it() -> None:
    _, paragraphs = alerts.low_text("acme", "a5000", 5_000, Outlook(5_000), "")
    assert len(paragraphs) == 3
    _, quiet = alerts.low_text("acme", "a5000", 5_000, Outlook(5_000, per_day_mc=0), "")
    assert quiet[1] == "Nothing was used in the last 7 days."


@pytest.mark.parametrize("left_mc, rest", [(0, False), (1_000, True)])
def test_used_up_says_so_even_with_dust(left_mc: int, rest: bool) -> None:
    subject, paragraphs = alerts.exhausted_text("acme", Outlook(left_mc), BUY)
    assert subject == "Credits are used up"
    assert ("What is left (1 credit) does not pay" in paragraphs[0]) is rest


def test_an_expiry_says_what_is_left_after_it() -> None:
    outlook = Outlook(30_000_000)
    subject, paragraphs = alerts.expiring_text(
        "acme", "promotional", 10_000_000, NIGHT_MS, outlook, BUY
    )
    assert subject == "10,000 credits expire on 3 December 2026"
    assert paragraphs[1] == "20,000 credits are left after that."


def test_a_cap_says_when_it_counts_anew() -> None:
    subject, paragraphs = alerts.cap_text("acme", "C", 100, 2_000, 1_900, NIGHT_MS, "UTC")
    assert subject == "A cap is reached: C"
    assert paragraphs[1] == "Its count starts again on 3 December 2026."
    assert "Everything else goes on." in paragraphs[2]
    _, forever = alerts.cap_text("acme", "C", 80, 2_000, 1_600, 0, "UTC")
    assert forever[1] == "It counts in total and does not start again."
